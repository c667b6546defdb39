"""Which policies select a proxy, where, and why the others do not."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.policy.targetref import MatchedPolicies, matched
from mesh.resource import Resource
from tests.mesh.policy.resources import Recorder, one, policy

TO = [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1s"}}]
WEB = one(
    """
    type: Dataplane
    name: web-1
    labels: {app: web, kuma.io/origin: zone, kuma.io/zone: east}
    networking:
      address: 10.0.0.1
      inbound:
        - {port: 80, name: http, tags: {kuma.io/service: web, version: v1}}
        - {port: 81, tags: {kuma.io/service: admin, version: v2}}
    """
)
KONG = one(
    """
    type: Dataplane
    name: kong
    networking: {address: 10.0.0.2, gateway: {tags: {kuma.io/service: kong}}}
    """
)


def _timeout(top: dict[str, Any] | None, name: str = "t", **labels: str) -> Resource:
    spec: dict[str, Any] = {"to": TO}
    return policy("MeshTimeout", name, spec | ({"targetRef": top} if top else {}), **labels)


def _match(dataplane: Resource, *resources: Resource, shadow: bool = False) -> MatchedPolicies:
    return matched(Recorder([dataplane, *resources]), dataplane, "MeshTimeout", shadow=shadow)


@pytest.mark.parametrize(
    ("top", "sections"),
    [
        (None, ["http", "81"]),
        ({"kind": "Mesh"}, ["http", "81"]),
        ({"kind": "Mesh", "proxyTypes": ["Sidecar"]}, ["http", "81"]),
        ({"kind": "Dataplane"}, ["http", "81"]),
        ({"kind": "Dataplane", "labels": {"app": "web"}}, ["http", "81"]),
        ({"kind": "Dataplane", "labels": {"app": "web"}, "sectionName": "http"}, ["http"]),
        ({"kind": "Dataplane", "labels": {"app": "web"}, "sectionName": "81"}, ["81"]),
        ({"kind": "MeshSubset", "tags": {"version": "v1"}}, ["http"]),
        ({"kind": "MeshSubset", "tags": {"version": "*"}}, ["http", "81"]),
        ({"kind": "MeshService", "name": "admin"}, ["81"]),
        ({"kind": "MeshServiceSubset", "name": "web", "tags": {"version": "v1"}}, ["http"]),
    ],
)
def test_selected_inbounds(top: dict[str, Any] | None, sections: list[str]) -> None:
    found = _match(WEB, _timeout(top))
    assert found.key == ("t",)
    assert [endpoint.section for endpoint in found.by_endpoint] == sections


@pytest.mark.parametrize(
    ("top", "labels", "reason"),
    [
        ({"kind": "Mesh", "proxyTypes": ["Gateway"]}, {}, "is for proxies of type Gateway"),
        ({"kind": "Dataplane", "labels": {"app": "db"}}, {}, "selects proxies with labels app=db"),
        (
            {"kind": "Dataplane", "sectionName": "grpc"},
            {},
            "selects the inbound 'grpc', which the proxy lacks",
        ),
        ({"kind": "MeshSubset", "tags": {"version": "v3"}}, {}, "selects proxies with tags version=v3"),
        (
            {"kind": "MeshServiceSubset", "name": "web", "tags": {"version": "v2"}},
            {},
            "selects proxies with tags kuma.io/service=web, version=v2",
        ),
        ({"kind": "MeshGateway", "name": "edge"}, {}, "selects the gateway 'edge'"),
        (
            {"kind": "MeshHTTPRoute", "name": "r"},
            {},
            "selects the MeshHTTPRoute 'r', which does not exist",
        ),
        (None, {"effect": "shadow"}, "is a shadow policy"),
        (None, {"origin": "zone", "zone": "west"}, "belongs to zone 'west', the proxy is in 'east'"),
    ],
)
def test_why_a_policy_is_passed_over(top: dict[str, Any] | None, labels: dict[str, str], reason: str) -> None:
    found = _match(WEB, _timeout(top, **labels))
    assert found.policies == ()
    assert [text for _, text in found.passed_over] == [reason]


def test_a_name_means_the_proxy_of_the_authors_zone() -> None:
    top = {"kind": "Dataplane", "name": "web-1"}
    assert _match(WEB, _timeout(top, origin="zone", zone="east")).key == ("t",)
    assert _match(WEB, _timeout(top, origin="global")).key == ()


def test_producers_reach_into_other_zones() -> None:
    found = _match(WEB, _timeout(None, origin="zone", zone="west", policy_role="producer"))
    assert found.key == ("t",)


def test_consumers_stay_in_their_namespace() -> None:
    consumer = policy("MeshTimeout", "c", {"to": TO}, policy_role="consumer")
    consumer = Resource(
        consumer.kind,
        consumer.mesh,
        consumer.name,
        {**consumer.labels, "k8s.kuma.io/namespace": "shop"},
        consumer.spec,
    )
    assert _match(WEB, consumer).passed_over[0][1] == "applies in its own namespace 'shop' only"


def test_shadow_policies_take_part_when_asked() -> None:
    assert _match(WEB, _timeout(None, effect="shadow"), shadow=True).key == ("t",)


def test_a_delegated_gateway_has_no_inbound_but_tags() -> None:
    found = _match(
        KONG,
        _timeout({"kind": "MeshService", "name": "kong"}, "by-tag"),
        _timeout({"kind": "Mesh", "proxyTypes": ["Gateway"]}, "by-type"),
        _timeout({"kind": "MeshService", "name": "web"}, "other"),
    )
    assert set(found.key) == {"by-tag", "by-type"}
    assert found.by_endpoint == {}


def test_a_policy_for_a_route_goes_where_the_route_goes() -> None:
    route = policy(
        "MeshHTTPRoute",
        "r-hash",
        {
            "targetRef": {"kind": "MeshService", "name": "admin"},
            "to": [{"targetRef": {"kind": "MeshService", "name": "db"}, "rules": []}],
        },
        display_name="r",
    )
    found = _match(WEB, route, _timeout({"kind": "MeshHTTPRoute", "name": "r"}))
    assert [endpoint.section for endpoint in found.by_endpoint] == ["81"]
    elsewhere = _match(KONG, route, _timeout({"kind": "MeshHTTPRoute", "name": "r"}))
    assert "its MeshHTTPRoute selects proxies with tags" in elsewhere.passed_over[0][1]


GATEWAY = one(
    """
    type: MeshGateway
    name: edge
    selectors: [{match: {kuma.io/service: edge}}]
    tags: {tier: front}
    conf:
      listeners:
        - {port: 80, protocol: HTTP, hostname: a.example, tags: {listener: a}}
        - {port: 80, protocol: HTTP, hostname: b.example, tags: {listener: b}}
        - {port: 81, protocol: HTTP, tags: {listener: c}}
    """
)
EDGE = one(
    """
    type: Dataplane
    name: edge-1
    networking: {address: 10.0.0.3, gateway: {type: BUILTIN, tags: {kuma.io/service: edge}}}
    """
)


def test_listeners_of_a_gateway_are_selected_by_their_tags() -> None:
    found = _match(
        EDGE,
        GATEWAY,
        _timeout({"kind": "MeshGateway", "name": "edge"}, "whole"),
        _timeout({"kind": "MeshGateway", "name": "edge", "tags": {"listener": "b"}}, "one"),
        _timeout({"kind": "MeshGateway", "name": "edge", "tags": {"listener": "x"}}, "none"),
        _timeout({"kind": "MeshSubset", "tags": {"tier": "front", "listener": "c"}}, "tagged"),
    )
    by_socket = {port: [item.meta.name for item in found] for (_, port), found in found.by_socket().items()}
    assert by_socket == {80: ["whole", "one"], 81: ["tagged", "whole"]}
    by_hostname = {e.hostname: found.endpoint_key(e) for e in found.by_endpoint}
    assert by_hostname == {"a.example": ("whole",), "b.example": ("whole", "one"), "*": ("tagged", "whole")}
    assert [reason for _, reason in found.passed_over] == ["selects listeners with tags listener=x"]


def test_a_gateway_that_nothing_defines_has_no_listener() -> None:
    found = _match(EDGE, _timeout(None))
    assert found.key == ("t",)
    assert found.by_endpoint == {}


def test_equal_proxies_share_their_key() -> None:
    other = Resource("Dataplane", "default", "web-2", WEB.labels, WEB.spec)
    policies = [_timeout({"kind": "MeshService", "name": "web"}, "a"), _timeout(None, "b")]
    assert _match(WEB, *policies).key == _match(other, *policies).key == ("b", "a")
