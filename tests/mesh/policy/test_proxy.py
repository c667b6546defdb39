"""What policies see of a proxy."""

from __future__ import annotations

import pytest

from mesh.policy.meta import Meta
from mesh.policy.proxy import Endpoint, has_tags, item_of, proxy_of, same_zone
from mesh.resource import Resource
from tests.mesh.policy.resources import Recorder, one, parse


def test_endpoints_are_inbounds_and_listeners() -> None:
    dataplane = one(
        """
        type: Dataplane
        name: d
        networking:
          address: 10.0.0.1
          inbound:
            - {port: 80, name: http, tags: {kuma.io/service: web}}
            - {port: 81, address: 10.0.0.2, tags: {kuma.io/service: web}}
          listeners:
            - {type: ZoneEgress, address: 10.0.0.3, port: 82, name: egress}
        """
    )
    proxy = proxy_of(Recorder(), item_of(dataplane))
    assert [(e.address, e.port, e.section) for e in proxy.endpoints] == [
        ("10.0.0.1", 80, "http"),
        ("10.0.0.2", 81, "81"),
        ("10.0.0.3", 82, "egress"),
    ]
    assert proxy.proxy_type == "Sidecar"


def test_sections_are_names_or_ports() -> None:
    endpoint = Endpoint("10.0.0.1", 80, "http")
    assert endpoint.named("http")
    assert endpoint.named("80")
    assert not endpoint.named("grpc")


EDGE = "{type: Dataplane, name: d, networking: {address: 10.0.0.1, gateway: {type: BUILTIN, tags: TAGS}}}"


def _served(tags: str, *gateways: Resource) -> str:
    dataplane = one(EDGE.replace("TAGS", tags))
    meta = proxy_of(Recorder([dataplane, *gateways]), item_of(dataplane)).gateway_meta
    return meta.name if meta else ""


def test_a_builtin_gateway_serves_what_selects_it_most_precisely() -> None:
    gateways = parse(
        """
        {type: MeshGateway, name: b, selectors: [{match: {kuma.io/service: edge}}]}
        ---
        {type: MeshGateway, name: a, selectors: [{match: {kuma.io/service: edge}}]}
        ---
        {type: MeshGateway, name: c, selectors: [{match: {kuma.io/service: edge, tier: front}}]}
        """
    )
    assert _served("{kuma.io/service: edge}", *gateways) == "a"
    assert _served("{kuma.io/service: edge, tier: front}", *gateways) == "c"
    assert _served("{kuma.io/service: other}", *gateways) == ""


@pytest.mark.parametrize(
    ("wanted", "given", "result"),
    [
        ({}, {}, True),
        ({"a": "b"}, {"a": "b", "c": "d"}, True),
        ({"a": "*"}, {"a": "b"}, True),
        ({"a": "*"}, {}, False),
        ({"a": "b"}, {"a": "c"}, False),
    ],
)
def test_tags(wanted: dict[str, str], given: dict[str, str], result: bool) -> None:
    assert has_tags(wanted, given) is result


def test_what_one_zone_wrote_is_for_that_zone() -> None:
    east = Meta("MeshTimeout", "default", "t", {"kuma.io/origin": "zone", "kuma.io/zone": "east"})
    unlabelled = Meta("Dataplane", "default", "d")
    west = Meta("Dataplane", "default", "d", {"kuma.io/origin": "zone", "kuma.io/zone": "west"})
    assert same_zone(east, unlabelled)
    assert not same_zone(east, west)
    assert same_zone(Meta("MeshTimeout", "default", "t", {"kuma.io/origin": "global"}), west)


def test_plain_forms_are_kept() -> None:
    dataplane = one(EDGE.replace("TAGS", "{kuma.io/service: edge}"))
    assert item_of(dataplane) is item_of(dataplane)
