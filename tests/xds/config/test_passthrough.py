"""MeshPassthrough and direct access: what leaves the mesh, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.envoy_check import validate
from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, node, policy, rendered, view_of
from xds.config.policies.passthrough import Match, matches_of
from xds.config.source import Source
from xds.types import CLUSTER, LISTENER

OUTBOUND = "outbound:passthrough:ipv4"
PLACES = [
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
    found = config(restricted("None"))
    assert OUTBOUND not in found[LISTENER]
    assert OUTBOUND not in found[CLUSTER]
    assert "inbound:passthrough:ipv4" in found[LISTENER]


def test_matched_makes_a_chain_per_place_the_most_precise_first() -> None:
    listener = config(restricted("Matched", *PLACES))[LISTENER][OUTBOUND]
    assert [chain["name"] for chain in listener["filterChains"]] == [
        "meshpassthrough_tls_api.example.com_443",
        "meshpassthrough_tls_*.example.com_443",
        "meshpassthrough_tcp_192.0.2.7_*",
        "meshpassthrough_tcp_10.1.0.0/16_5432",
        "meshpassthrough_tcp_10.0.0.0/8_5432",
        "meshpassthrough_http_80",
    ]
    names = [found["name"] for found in listener["listenerFilters"]]
    assert names == ["envoy.filters.listener.tls_inspector", "envoy.filters.listener.http_inspector"]


def test_a_family_without_a_place_has_no_way_out() -> None:
    """Envoy refuses a listener without chains, and would leave the open one before it in place."""
    address = {"type": "IP", "value": "192.0.2.7", "protocol": "tcp"}
    found = config(restricted("Matched", address))
    assert OUTBOUND in found[LISTENER]
    assert "outbound:passthrough:ipv6" not in found[LISTENER]


def test_addresses_of_the_other_family_are_in_the_other_listener() -> None:
    found = config(restricted("Matched", *PLACES))[LISTENER]["outbound:passthrough:ipv6"]["filterChains"]
    ranges = [chain["filterChainMatch"].get("prefixRanges") for chain in found]
    assert [{"addressPrefix": "2001:db8::7", "prefixLen": 128}] in ranges


def test_a_mesh_without_passthrough_may_still_allow_places() -> None:
    closed = {"networking": {"outbound": {"passthrough": False}}}
    assert OUTBOUND not in config(settings=closed)[LISTENER]
    assert OUTBOUND in config(restricted("Matched", *PLACES), settings=closed)[LISTENER]


def test_hosts_that_nobody_allowed_are_refused() -> None:
    chains = config(restricted("Matched", *PLACES))[LISTENER][OUTBOUND]["filterChains"]
    hosts = chains[-1]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"]
    assert hosts[0]["domains"] == ["www.example.com", "www.example.com:80"]
    assert hosts[-1]["routes"][0]["directResponse"] == {"status": 503}


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    validate(config(restricted("Matched", *PLACES)), tmp_path)


def test_a_match_without_policy_is_no_restriction() -> None:
    assert matches_of(()) is None
    assert Match("IP", "192.0.2.1", 0, "mysql").cluster == "meshpassthrough_mysql_192.0.2.1_*"


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
