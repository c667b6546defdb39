"""Transparent proxying: the listeners that redirected traffic arrives at, and who says that it is redirected."""

from __future__ import annotations

from typing import Any

import pytest

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service, node, rendered, view_of
from xds.config.source import Source
from xds.types import CLUSTER, LISTENER

Json = dict[str, Any]
STRICT = {"features": ["feature-strict-inbound-ports"]}
NOWHERE = "self_transparentproxy_no_destination_inbound"
TOLD = {
    "ipFamilyMode": "ipv4",
    "redirect": {"inbound": {"enabled": True, "port": 25006}, "outbound": {"enabled": True, "port": 25001}},
}


def config(proxying: Json | None, settings: Json | None = None, **metadata: Any) -> Json:
    networking = {} if proxying is None else {"transparentProxying": proxying}
    documents = [mesh(**(settings or {})), dataplane("web", 8080, networking=networking)]
    source = Source(view_of([*documents, mesh_service("api", vip="241.0.0.1")]))
    found = rendered(source.connect(node("web", **metadata), lambda deltas: None).snapshot())
    assert not source.failures
    return found


def passthrough(found: Json) -> dict[str, tuple[str, int]]:
    """Address and port of each listener for redirected traffic."""
    at = {
        name: each["address"]["socketAddress"]
        for name, each in found[LISTENER].items()
        if "passthrough" in name
    }
    return {name: (address["address"], address["portValue"]) for name, address in at.items()}


BOTH = {
    "inbound:passthrough:ipv4": ("0.0.0.0", 15006),
    "inbound:passthrough:ipv6": ("::", 15006),
    "outbound:passthrough:ipv4": ("0.0.0.0", 15001),
    "outbound:passthrough:ipv6": ("::", 15001),
}
ONLY_4 = {name: at for name, at in BOTH.items() if name.endswith("4")}


@pytest.mark.parametrize(
    ("proxying", "expected"),
    [
        ({}, BOTH),
        ({"ipFamilyMode": "DualStack"}, BOTH),
        ({"ipFamilyMode": "IPv4"}, ONLY_4),
        ({"redirectPortInbound": 0}, {name: at for name, at in BOTH.items() if name.startswith("out")}),
        ({"redirectPortOutbound": 0}, {}),
    ],
)
def test_listeners_by_direction_and_family(proxying: Json, expected: dict[str, tuple[str, int]]) -> None:
    found = config(TRANSPARENT["transparentProxying"] | proxying)
    assert passthrough(found) == expected
    assert {name for name in found[CLUSTER] if "passthrough" in name} == set(expected)
    for name in expected:
        assert found[LISTENER][name]["useOriginalDst"] is True
        assert found[CLUSTER][name]["type"] == "ORIGINAL_DST"
        bound = found[CLUSTER][name].get("upstreamBindConfig", {}).get("sourceAddress", {}).get("address")
        family = "127.0.0.6" if name.endswith("4") else "::6"
        assert bound == (family if name.startswith("inbound") else None)


def test_unified_names() -> None:
    found = config(TRANSPARENT["transparentProxying"], features=["feature-unified-resource-naming"])
    names = {
        f"self_transparentproxy_passthrough_{way}_ipv{n}" for way in ("inbound", "outbound") for n in (4, 6)
    }
    assert set(passthrough(found)) == names
    assert names <= set(found[CLUSTER])


def test_without_a_way_out_only_the_clusters_of_outbound_traffic_are_missing() -> None:
    closed = {"networking": {"outbound": {"passthrough": False}}}
    found = config(TRANSPARENT["transparentProxying"], closed)
    assert passthrough(found) == BOTH
    assert {name for name in found[CLUSTER] if "passthrough" in name} == {
        "inbound:passthrough:ipv4",
        "inbound:passthrough:ipv6",
    }


def test_strict_ports_let_traffic_pass_to_those_of_inbounds_only() -> None:
    found = config(TRANSPARENT["transparentProxying"], {"mtls": MTLS}, **STRICT)
    (chain,) = found[LISTENER]["inbound:passthrough:ipv4"]["filterChains"]
    assert chain["filterChainMatch"] == {"destinationPort": 8080}
    assert found[CLUSTER][NOWHERE]["type"] == "STATIC"


def test_strict_ports_do_not_hold_where_plain_traffic_may_come_in() -> None:
    backend = MTLS["backends"][0] | {"mode": "PERMISSIVE"}
    found = config(TRANSPARENT["transparentProxying"], {"mtls": MTLS | {"backends": [backend]}}, **STRICT)
    (chain,) = found[LISTENER]["inbound:passthrough:ipv4"]["filterChains"]
    assert "filterChainMatch" not in chain


def test_what_the_runner_tells_of_its_host_counts_without_a_word_in_the_dataplane() -> None:
    found = config(None, transparentProxy=TOLD)
    assert passthrough(found) == {
        "inbound:passthrough:ipv4": ("0.0.0.0", 25006),
        "outbound:passthrough:ipv4": ("0.0.0.0", 25001),
    }
    assert found[LISTENER]["outbound:241.0.0.1:80"]["bindToPort"] is False
    assert found[LISTENER]["inbound:192.168.0.1:8080"]["bindToPort"] is False


def test_and_before_what_the_dataplane_says() -> None:
    refs = {"reachableBackends": {"refs": []}}
    found = config(TRANSPARENT["transparentProxying"] | refs, transparentProxy=TOLD)
    assert {port for _, port in passthrough(found).values()} == {25001, 25006}
    assert "outbound:241.0.0.1:80" not in found[LISTENER]  # what is reachable is still the Dataplane's to say
    off = {"redirect": {"outbound": {"enabled": False}}}
    assert passthrough(config(TRANSPARENT["transparentProxying"], transparentProxy=off)) == {}


def test_without_redirection_there_is_nothing_of_it() -> None:
    found = config(None)
    assert passthrough(found) == {}
    assert "outbound:241.0.0.1:80" not in found[LISTENER]
