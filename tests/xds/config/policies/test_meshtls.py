"""MeshTLS: plain traffic next to mTLS, versions and ciphers in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import HTTP_CLUSTER, HTTP_IN, TCP_IN, Sidecar, rules
from tests.xds.config.worlds import MTLS, policy

PERMISSIVE_MESH = {"mtls": {**MTLS, "backends": [{**MTLS["backends"][0], "mode": "PERMISSIVE"}]}}  # type: ignore[dict-item]


def chains(sidecar: Sidecar, listener: str) -> list[Any]:
    return [chain.get("filterChainMatch") for chain in sidecar.listener(listener)["filterChains"]]


MIXED = [
    {"transportProtocol": "raw_buffer"},
    {"transportProtocol": "tls"},
    {"transportProtocol": "tls", "applicationProtocols": ["kuma"]},
]


def test_strict_is_the_default() -> None:
    assert chains(Sidecar(), HTTP_IN) == [None]


@pytest.mark.parametrize(
    "sidecar",
    [Sidecar(rules("MeshTLS", {"mode": "Permissive"})), Sidecar(settings=PERMISSIVE_MESH)],
)
def test_permissive_takes_plain_tls_and_mesh_traffic(sidecar: Sidecar) -> None:
    assert chains(sidecar, HTTP_IN) == chains(sidecar, TCP_IN) == MIXED
    secured = [chain for chain in sidecar.listener(HTTP_IN)["filterChains"] if "transportSocket" in chain]
    assert len(secured) == 1
    assert secured[0]["filters"][0]["typedConfig"]["httpFilters"][0]["name"] == "envoy.filters.http.rbac"


def test_a_policy_is_stricter_than_its_mesh() -> None:
    sidecar = Sidecar(rules("MeshTLS", {"mode": "Strict"}), settings=PERMISSIVE_MESH)
    assert chains(sidecar, HTTP_IN) == [None]


def test_one_inbound_only() -> None:
    target = {"kind": "Dataplane", "name": "web", "sectionName": "8080"}
    document = policy("MeshTLS", "p", targetRef=target, rules=[{"default": {"mode": "Permissive"}}])
    sidecar = Sidecar(document)
    assert chains(sidecar, HTTP_IN) == MIXED
    assert chains(sidecar, TCP_IN) == [None]


def test_undeclared_ports_are_open_while_plain_traffic_is() -> None:
    strict = {"features": ["feature-strict-inbound-ports"]}
    name = "inbound:passthrough:ipv4"
    assert chains(Sidecar(**strict), name) == [{"destinationPort": 5432}, {"destinationPort": 8080}]
    assert chains(Sidecar(rules("MeshTLS", {"mode": "Permissive"}), **strict), name) == [None]


def test_versions_and_ciphers_hold_for_both_directions() -> None:
    ciphers = ["ECDHE-RSA-AES256-GCM-SHA384"]
    conf = {"tlsVersion": {"min": "TLS12", "max": "TLS13"}, "tlsCiphers": ciphers}
    sidecar = Sidecar(rules("MeshTLS", conf))
    expected = {
        "tlsMinimumProtocolVersion": "TLSv1_2",
        "tlsMaximumProtocolVersion": "TLSv1_3",
        "cipherSuites": ciphers,
    }
    inbound = sidecar.listener(HTTP_IN)["filterChains"][0]["transportSocket"]
    outbound = sidecar.cluster(HTTP_CLUSTER)["transportSocket"]
    for socket in (inbound, outbound):
        assert socket["typedConfig"]["commonTlsContext"]["tlsParams"] == expected


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    conf = {"mode": "Permissive", "tlsVersion": {"min": "TLS12", "max": "TLSAuto"}}
    Sidecar(rules("MeshTLS", conf)).validate(tmp_path)
