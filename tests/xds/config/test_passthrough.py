"""MeshPassthrough and direct access: what leaves the mesh, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.envoy_check import validate
from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, node, policy, rendered, view_of
from xds.config.policies.passthrough import Allowed, Match, allowed_of
from xds.config.source import Source
from xds.types import CLUSTER, LISTENER

OUTBOUND = "outbound:passthrough:ipv4"
PLACES: list[dict[str, Any]] = [
    {"type": "CIDR", "value": "10.0.0.0/8", "port": 5432, "protocol": "tcp"},
    {"type": "CIDR", "value": "10.1.0.0/16", "port": 5432, "protocol": "tcp"},
    {"type": "Domain", "value": "*.example.com", "port": 443, "protocol": "tls"},
    {"type": "Domain", "value": "api.example.com", "port": 443, "protocol": "tls"},
    {"type": "Domain", "value": "www.example.com", "port": 80, "protocol": "http"},
    {"type": "IP", "value": "192.0.2.7", "protocol": "tcp"},
    {"type": "IP", "value": "2001:db8::7", "protocol": "tcp"},
]


def config(*documents: dict[str, Any], settings: dict[str, Any] | None = None) -> dict[str, Any]:
    client = dataplane("web", 8080, networking=TRANSPARENT)
    source = Source(view_of([mesh(**(settings or {})), client, *documents]))
    stream = source.connect(node("web"), lambda deltas: None)
    assert not source.failures
    return rendered(stream.snapshot())


def restricted(mode: str, *places: dict[str, Any]) -> dict[str, Any]:
    default: dict[str, Any] = {"passthroughMode": mode}
    if places:
        default["appendMatch"] = list(places)
    return policy("MeshPassthrough", "mp", targetRef={"kind": "Mesh"}, default=default)


def test_without_a_policy_everything_passes() -> None:
    chains = config()[LISTENER][OUTBOUND]["filterChains"]
    assert [chain.get("filterChainMatch") for chain in chains] == [None]


def test_all_is_the_same_as_no_policy() -> None:
    assert config(restricted("All")) == config()


def test_none_takes_the_way_out_away() -> None:
    """The listener stays: what goes to services of the mesh arrives there as well."""
    found = config(restricted("None"))
    [chain] = found[LISTENER][OUTBOUND]["filterChains"]
    assert chain["filters"][0]["typedConfig"]["cluster"] == OUTBOUND
    assert OUTBOUND not in found[CLUSTER]
    assert "inbound:passthrough:ipv4" in found[CLUSTER]


def test_matched_makes_chains_by_port_and_precision() -> None:
    listener = config(restricted("Matched", *PLACES))[LISTENER][OUTBOUND]
    assert [chain["name"] for chain in listener["filterChains"]] == [
        "meshpassthrough_tls_api.example.com_443",
        "meshpassthrough_tls_*.example.com_443",
        "meshpassthrough_tcp_192.0.2.7_5432",
        "meshpassthrough_tcp_10.1.0.0/16_5432",
        "meshpassthrough_tcp_10.0.0.0/8_5432",
        "meshpassthrough_tcp_192.0.2.7_443",
        "meshpassthrough_tcp_192.0.2.7_80",
        "meshpassthrough_tcp_192.0.2.7_*",
        "meshpassthrough_http_80",
    ]
    names = [found["name"] for found in listener["listenerFilters"]]
    assert names == ["envoy.filters.listener.tls_inspector", "envoy.filters.listener.http_inspector"]


def test_places_have_clusters_of_their_own() -> None:
    shop = {"type": "Domain", "value": "shop.example.com", "port": 80, "protocol": "grpc"}
    found = config(restricted("Matched", *PLACES[:4], shop))[CLUSTER]
    names = {name for name in found if name.startswith("meshpassthrough")}
    assert names == {
        "meshpassthrough_10.0.0.0/8_5432",
        "meshpassthrough_10.1.0.0/16_5432",
        "meshpassthrough_*.example.com_443",
        "meshpassthrough_api.example.com_443",
        "meshpassthrough_shop.example.com_80",
    }
    assert OUTBOUND not in found
    spoken = [name for name in names if "typedExtensionProtocolOptions" in found[name]]
    assert spoken == ["meshpassthrough_shop.example.com_80"]


def test_a_family_without_a_place_leads_nowhere() -> None:
    address = {"type": "IP", "value": "192.0.2.7", "protocol": "tcp"}
    found = config(restricted("Matched", address))
    [chain] = found[LISTENER]["outbound:passthrough:ipv6"]["filterChains"]
    assert chain["filters"][0]["typedConfig"]["cluster"] == "outbound:passthrough:ipv6"
    assert "outbound:passthrough:ipv6" not in found[CLUSTER]


def test_addresses_of_the_other_family_are_in_the_other_listener() -> None:
    found = config(restricted("Matched", *PLACES))[LISTENER]["outbound:passthrough:ipv6"]["filterChains"]
    ranges = [chain["filterChainMatch"].get("prefixRanges") for chain in found]
    assert [{"addressPrefix": "2001:db8::7", "prefixLen": 128}] in ranges


def test_a_mesh_without_passthrough_may_still_allow_places() -> None:
    closed = {"networking": {"outbound": {"passthrough": False}}}
    found = config(settings=closed)
    assert OUTBOUND in found[LISTENER]
    assert OUTBOUND not in found[CLUSTER]
    assert OUTBOUND in config(restricted("All"), settings=closed)[CLUSTER]
    matched = config(restricted("Matched", *PLACES), settings=closed)
    assert len(matched[LISTENER][OUTBOUND]["filterChains"]) > 1


def hosts_of(chain: dict[str, Any]) -> list[dict[str, Any]]:
    hosts: list[dict[str, Any]] = chain["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"]
    return hosts


def test_hosts_that_nobody_allowed_are_refused() -> None:
    chains = config(restricted("Matched", *PLACES))[LISTENER][OUTBOUND]["filterChains"]
    hosts = hosts_of(chains[-1])
    assert hosts[0]["domains"] == ["www.example.com", "www.example.com:80"]
    assert hosts[0]["routes"][0]["route"]["cluster"] == "meshpassthrough_www.example.com_80"
    assert hosts[-1]["routes"][0]["directResponse"]["status"] == 503


def test_a_host_at_any_port_adopts_the_dialect_of_a_port() -> None:
    anywhere = {"type": "Domain", "value": "any.example.com", "protocol": "http"}
    fixed = {"type": "Domain", "value": "*.example.org", "port": 8443, "protocol": "http2"}
    chains = config(restricted("Matched", anywhere, fixed))[LISTENER][OUTBOUND]["filterChains"]
    assert {chain["name"]: [host["name"] for host in hosts_of(chain)] for chain in chains} == {
        "meshpassthrough_http_*": ["any.example.com", "no_match"],
        "meshpassthrough_http2_8443": ["any.example.com", "*.example.org", "no_match"],
    }
    assert hosts_of(chains[0])[0]["domains"] == ["any.example.com", "any.example.com:*"]


def test_requests_to_an_address_need_no_host() -> None:
    address = {"type": "CIDR", "value": "10.0.0.0/8", "port": 80, "protocol": "http"}
    [chain] = config(restricted("Matched", address))[LISTENER][OUTBOUND]["filterChains"]
    assert chain["name"] == "meshpassthrough_http_10.0.0.0/8_80"
    assert [host["domains"] for host in hosts_of(chain)] == [["*"]]
    assert chain["filterChainMatch"]["prefixRanges"] == [{"addressPrefix": "10.0.0.0", "prefixLen": 8}]


def test_one_network_written_twice_is_one_chain() -> None:
    """Envoy refuses a listener of which two chains have the same conditions."""
    place = {"type": "CIDR", "port": 80, "protocol": "tcp"}
    written: list[dict[str, Any]] = [place | {"value": f"10.0.0.{i}/8"} for i in (0, 1)]
    [chain] = config(restricted("Matched", *written))[LISTENER][OUTBOUND]["filterChains"]
    assert chain["name"] == "meshpassthrough_tcp_10.0.0.0/8_80"


SPEAKS_FIRST: list[dict[str, Any]] = [
    {"type": "IP", "value": "192.0.2.7", "port": port, "protocol": "mysql"} for port in (3306, 3307)
]


def test_nobody_waits_for_clients_of_servers_that_speak_first() -> None:
    listener = config(restricted("Matched", SPEAKS_FIRST[0]))[LISTENER][OUTBOUND]
    assert [found["filterDisabled"] for found in listener["listenerFilters"]] == [
        {"destinationPortRange": {"start": 3306, "end": 3307}}
    ] * 2
    assert listener["filterChains"][0]["name"] == "meshpassthrough_tcp_192.0.2.7_3306"


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    validate(config(restricted("Matched", *PLACES, *SPEAKS_FIRST)), tmp_path)


@pytest.mark.envoy
def test_envoy_accepts_a_closed_mesh(tmp_path: Path) -> None:
    validate(config(restricted("None")), tmp_path)


def test_without_policy_the_mesh_decides() -> None:
    assert allowed_of((), True) == Allowed(True)
    assert allowed_of((), False) == Allowed(False)
    assert Match("IP", "192.0.2.1", 0, "mysql").chain == "meshpassthrough_tcp_192.0.2.1_*"


def test_direct_access_reaches_every_proxy_of_a_service_as_a_member() -> None:
    direct = {"transparentProxying": TRANSPARENT["transparentProxying"] | {"directAccessServices": ["db"]}}
    client = dataplane("web", 8080, networking=direct)
    databases = [dataplane(f"db-{i}", 5432, service="db", address=f"10.0.0.{i}") for i in (1, 2)]
    source = Source(view_of([mesh(mtls=MTLS), client, *databases, dataplane("other", address="10.0.0.9")]))
    found = rendered(source.connect(node("web"), lambda deltas: None).snapshot())
    names = {name for name in found[LISTENER] if name.startswith("direct_access")}
    assert names == {"direct_access_10.0.0.1:5432", "direct_access_10.0.0.2:5432"}
    assert found[CLUSTER]["direct_access"]["type"] == "ORIGINAL_DST"
    assert "transportSocket" in found[CLUSTER]["direct_access"]
