"""Services known by tags are reached at addresses of their own, as `<service>.mesh`."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from tests.xds.config.test_remote import ingress
from tests.xds.config.worlds import (
    MTLS,
    TRANSPARENT,
    dataplane,
    mesh,
    mesh_service,
    node,
    rendered,
    view_of,
)
from xds.config.source import Source
from xds.config.vips import hostnames, numbers_of, service_vips
from xds.engine import Engine
from xds.types import CLUSTER, ENDPOINT, LISTENER

Json = dict[str, Any]
HTTP = {"kuma.io/protocol": "http"}


def config(*documents: Json, mode: str = "", proxying: Json | None = None, **metadata: Any) -> Json:
    """What `web` gets, with transparent proxying, in zone `near`."""
    redirect = TRANSPARENT["transparentProxying"] | (proxying or {})
    settings: Json = {"meshServices": {"mode": mode}} if mode else {}
    client = dataplane("web", 8080, networking={"transparentProxying": redirect})
    source = Source(view_of([mesh(mtls=MTLS, **settings), client, *documents], "near"), zone="near")
    found = rendered(source.connect(node("web", **metadata), lambda deltas: None).snapshot())
    assert not source.failures
    return found


def vip_of(service: str, *documents: Json) -> str:
    view = view_of([mesh(), dataplane("web", 8080), *documents], "near")
    found = Engine(view).get(service_vips, "default", "near")
    return dict(found)[service]


def outbounds(found: Json) -> set[str]:
    """What the listeners on virtual addresses lead to, by their virtual host or statistics."""
    listeners = (listener for name, listener in found[LISTENER].items() if name.startswith("outbound:2"))
    return {listener["metadata"]["filterMetadata"]["io.kuma.tags"].get("kuma.io/service", "resource")
            for listener in listeners}  # fmt: skip


def test_each_service_has_a_listener_a_cluster_and_endpoints() -> None:
    api = dataplane("api-1", 9001, service="api", tags=HTTP, address="10.0.0.1")
    found = config(api)
    vip = vip_of("api", api)
    listener = found[LISTENER][f"outbound:{vip}:80"]
    assert listener["address"]["socketAddress"] == {"address": vip, "portValue": 80}
    assert listener["bindToPort"] is False
    assert listener["metadata"]["filterMetadata"]["io.kuma.tags"] == {"kuma.io/service": "api"}
    (manager,) = listener["filterChains"][0]["filters"]
    assert manager["typedConfig"]["routeConfig"]["name"] == "outbound:api"
    tls = found[CLUSTER]["api"]["transportSocket"]["typedConfig"]
    assert tls["sni"] == "api{mesh=default}"
    (locality,) = found[ENDPOINT]["api"]["endpoints"]
    address = locality["lbEndpoints"][0]["endpoint"]["address"]["socketAddress"]
    assert address == {"address": "10.0.0.1", "portValue": 9001}
    assert outbounds(found) == {"api", "web"}


def test_addresses_lie_in_the_range_beside_those_of_resources() -> None:
    found = [IPv4Address(vip_of(f"s{n}", dataplane(f"s{n}"))) for n in range(40)]
    assert all(address in IPv4Network("240.0.0.0/4") for address in found)
    taken = [IPv4Network(f"{first}.0.0.0/8") for first in (241, 242, 243)]
    assert not any(address in network for address in found for network in taken)


def test_of_two_names_that_want_one_address_the_later_moves_on() -> None:
    names = [f"s{n}" for n in range(16)]
    found = numbers_of(names, 16)
    assert sorted(found.values()) == list(range(16))
    assert list(found) == sorted(names)
    assert found["s0"] == numbers_of(["s0"], 16)["s0"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("Disabled", {"web", "api", "resource"}),
        ("Everywhere", {"web", "api", "resource"}),
        ("ReachableBackends", {"web", "api"}),
        ("Exclusive", {"resource"}),
    ],
)
def test_the_mode_of_a_mesh_says_what_its_proxies_are_sent_to(mode: str, expected: set[str]) -> None:
    found = config(dataplane("api-1", service="api"), mesh_service("api", vip="241.0.0.1"), mode=mode)
    assert outbounds(found) == expected


@pytest.mark.parametrize("mode", ["Everywhere", "ReachableBackends", "Exclusive"])
def test_backends_that_a_proxy_names_are_sent_in_any_mode(mode: str) -> None:
    services = [mesh_service("api", vip="241.0.0.1"), mesh_service("other", vip="241.0.0.2")]
    refs = {"refs": [{"kind": "MeshService", "name": "api", "port": 80}]}
    found = config(*services, mode=mode, proxying={"reachableBackends": refs})
    assert "outbound:241.0.0.1:80" in found[LISTENER]
    assert "outbound:241.0.0.2:80" not in found[LISTENER]


def test_a_proxy_may_name_the_services_that_it_uses() -> None:
    documents = [dataplane(f"{name}-1", service=name) for name in ("api", "db", "mail")]
    found = config(*documents, proxying={"reachableServices": ["api", "mail", "nowhere"]})
    assert outbounds(found) == {"api", "mail"}


def test_services_of_other_zones_have_addresses_and_the_protocol_they_offer() -> None:
    tags = {"kuma.io/service": "api", "kuma.io/protocol": "http", "kuma.io/zone": "far"}
    offer = ingress("far", tags=tags)
    found = config(offer)
    listener = found[LISTENER][f"outbound:{vip_of('api', offer)}:80"]
    assert listener["filterChains"][0]["filters"][0]["name"].endswith("http_connection_manager")


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [
        (["grpc", "grpc"], "grpc"),
        (["grpc", "http2"], "http2"),
        (["grpc", "http"], "http"),
        (["http2", "http"], "http"),
        (["http", None], "tcp"),
        (["kafka", "http"], "tcp"),
    ],
)
def test_a_service_speaks_what_all_its_proxies_speak(protocols: list[str | None], expected: str) -> None:
    documents = [
        dataplane(f"api-{n}", service="api", tags={"kuma.io/protocol": protocol} if protocol else {})
        for n, protocol in enumerate(protocols)
    ]
    found = config(*documents)
    listener = found[LISTENER][f"outbound:{vip_of('api', *documents)}:80"]
    names = json.dumps(listener)
    assert ("http_connection_manager" in names) is (expected != "tcp")
    assert ("grpc_stats" in names) is (expected == "grpc")


def test_names_with_underscores_have_a_twin_with_dots() -> None:
    assert hostnames("api") == ("api.mesh",)
    assert hostnames("api_ns_svc_80") == ("api_ns_svc_80.mesh", "api.ns.svc.80.mesh")


def test_the_runner_resolves_them() -> None:
    api = dataplane("api_v1", service="api_v1")
    listener = config(api, features=["feature-embedded-dns"])[LISTENER]["_kuma:dynamicconfig"]
    (manager,) = listener["filterChains"][0]["filters"]
    routes = manager["typedConfig"]["routeConfig"]["virtualHosts"][0]["routes"]
    records = json.loads(routes[1]["directResponse"]["body"]["inlineString"])["records"]
    vip = vip_of("api_v1", api)
    assert [record for record in records if record["name"].startswith("api")] == [
        {"name": "api.v1.mesh", "ips": [vip]},
        {"name": "api_v1.mesh", "ips": [vip]},
    ]
