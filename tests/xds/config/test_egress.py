"""Zone egresses of all meshes: on to other zones by server name, out to external services as a member."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.envoy_check import validate
from tests.xds.config.test_remote import ADDRESS, far_service, ingress
from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, node, policy, rendered, view_of
from xds.config.identity import Identity, authority_secret, certificate_secret
from xds.config.source import Source
from xds.source import NodeInfo
from xds.types import CLUSTER, ENDPOINT, LISTENER, SECRET, Delta

EGRESS: dict[str, Any] = {
    "type": "ZoneEgress",
    "name": "ze-1",
    "zone": "near",
    "networking": {"address": "10.0.0.9", "port": 10002},
}
NAME = "inbound:10.0.0.9:10002"
EXTERNAL: dict[str, Any] = {
    "type": "MeshExternalService",
    "mesh": "default",
    "name": "httpbin",
    "labels": {"kuma.io/display-name": "httpbin"},
    "spec": {
        "match": {"type": "HostnameGenerator", "port": 80, "protocol": "http"},
        "endpoints": [{"address": "192.0.2.1", "port": 8080}],
    },
    "status": {"vip": {"ip": "242.0.0.1"}},
}
WANTED = {"mtls": MTLS, "routing": {"zoneEgress": True}}
CLIENT = dataplane(
    "web",
    8080,
    networking=TRANSPARENT | {"outbound": [{"port": 10001, "tags": {"kuma.io/service": "api"}}]},
)
FAR = [far_service(), ADDRESS, ingress("zi-1")]


class Provider:
    """Secrets with nothing in them. Implements xds.config.identity.IdentityProvider."""

    def __init__(self) -> None:
        self.asked: list[Identity] = []

    def open(self, identity: Identity, on_change: Any) -> Any:
        self.asked.append(identity)

        class Handle:
            def secrets(self) -> Any:
                own, ca = identity.identity_secret, identity.ca_secret
                return {own: certificate_secret(own, b"", b""), ca: authority_secret(ca, b"")}

            def close(self) -> None:
                return

        return Handle()


def config(
    *documents: dict[str, Any], of: NodeInfo | None = None, settings: dict[str, Any] | None = None
) -> tuple[dict[str, Any], list[Identity]]:
    provider = Provider()
    view = view_of([mesh(**(WANTED if settings is None else settings)), EGRESS, CLIENT, *documents], "near")
    source = Source(view, zone="near", identities=provider)
    told: list[Delta] = []
    egress = NodeInfo(".ze-1", metadata={"dataplane.proxyType": "egress"})
    stream = source.connect(of or egress, told.extend)
    assert not source.failures
    return rendered(stream.snapshot()), provider.asked


def names(found: dict[str, Any]) -> list[str]:
    chains = found[LISTENER][NAME]["filterChains"]
    return [name for chain in chains for name in chain.get("filterChainMatch", {}).get("serverNames", ())]


def addresses(assignment: dict[str, Any]) -> list[tuple[str, str, int]]:
    """(zone, address, port) of each endpoint."""
    return [
        (part["locality"]["zone"], address["address"], address["portValue"])
        for part in assignment.get("endpoints", ())
        for endpoint in part["lbEndpoints"]
        for address in [endpoint["endpoint"]["address"]["socketAddress"]]
    ]


def test_what_other_zones_have_is_passed_on() -> None:
    found, _ = config(*FAR)
    assert "api{mesh=default}" in names(found)
    assert len(names(found)) == 3  # The service by its tag, and the resource by its old name and its new one.
    assert addresses(found[ENDPOINT]["default:api"]) == [("far", "203.0.113.2", 30001)]
    [service] = [name for name in found[CLUSTER] if name.startswith("kri_msvc")]
    assert addresses(found[ENDPOINT][service]) == [("far", "203.0.113.1", 10001)]
    assert "transportSocket" not in found[CLUSTER]["default:api"]


def test_an_external_service_is_reached_as_a_member_of_the_mesh() -> None:
    found, asked = config(EXTERNAL)
    [chain] = found[LISTENER][NAME]["filterChains"]
    assert "transportSocket" in chain
    assert [(identity.mesh, identity.services) for identity in asked] == [("default", ("zone-egress",))]
    assert set(found[SECRET]) == {asked[0].identity_secret, asked[0].ca_secret}
    [cluster] = [value for name, value in found[CLUSTER].items() if name.startswith("kri_extsvc")]
    assert "transportSocket" not in cluster
    [rbac] = [
        part["typedConfig"]["rules"]
        for part in chain["filters"][0]["typedConfig"]["httpFilters"]
        if part["name"] == "envoy.filters.http.rbac"
    ]
    assert rbac["policies"]["MeshTrafficPermission"]["principals"] == [{"any": True}]


def test_a_mesh_may_forbid_external_services() -> None:
    routing = {"zoneEgress": True, "defaultForbidMeshExternalServiceAccess": True}
    found, _ = config(EXTERNAL, settings={"mtls": MTLS, "routing": routing})
    [chain] = found[LISTENER][NAME]["filterChains"]
    [rbac] = [
        part["typedConfig"]["rules"]
        for part in chain["filters"][0]["typedConfig"]["httpFilters"]
        if part["name"] == "envoy.filters.http.rbac"
    ]
    assert rbac == {}


@pytest.mark.parametrize("settings", [{"mtls": MTLS}, {"routing": {"zoneEgress": True}}])
def test_only_meshes_that_want_it_leave_through_it(settings: dict[str, Any]) -> None:
    found, asked = config(EXTERNAL, *FAR, settings=settings)
    assert not asked and not names(found)


def test_each_mesh_has_a_certificate_of_its_own() -> None:
    other = mesh("other", **WANTED)
    _, asked = config(other)
    assert sorted(identity.mesh for identity in asked) == ["default", "other"]
    assert len({identity.identity_secret for identity in asked}) == 2


def test_clients_leave_through_it() -> None:
    found, _ = config(*FAR, EXTERNAL, of=node("web"))
    assert addresses(found[ENDPOINT]["api"]) == [("far", "10.0.0.9", 10002)]
    [external] = [name for name in found[CLUSTER] if "_extsvc_" in name]
    assert addresses(found[ENDPOINT][external])[0][1:] == ("10.0.0.9", 10002)
    socket = found[CLUSTER][external]["transportSocket"]["typedConfig"]
    validation = socket["commonTlsContext"]["combinedValidationContext"]["defaultValidationContext"]
    [san] = validation["matchTypedSubjectAltNames"]
    assert san["matcher"] == {"exact": "spiffe://default/zone-egress"}
    egress, _ = config(*FAR, EXTERNAL)
    assert socket["sni"] in names(egress)


def test_without_it_clients_go_straight() -> None:
    found, _ = config(*FAR, EXTERNAL, of=node("web"), settings={"mtls": MTLS})
    assert addresses(found[ENDPOINT]["api"]) == [("far", "203.0.113.2", 30001)]


def test_all_server_names_of_clients_are_known_at_it() -> None:
    found, _ = config(*FAR, of=node("web"))
    asked = {
        value["transportSocket"]["typedConfig"]["sni"]
        for value in found[CLUSTER].values()
        if "transportSocket" in value
    }
    egress, _ = config(*FAR)
    assert {name for name in asked if "api" in name} <= set(names(egress))


def breaker(limit: int, **top: Any) -> dict[str, Any]:
    """Limits for the external service."""
    target = {"kind": "MeshExternalService", "name": "httpbin"}
    default = {"connectionLimits": {"maxConnections": limit}}
    return policy("MeshCircuitBreaker", f"p{limit}", to=[{"targetRef": target, "default": default}], **top)


SOME = {"kind": "MeshSubset", "tags": {"team": "a"}}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([breaker(7)], 7),
        ([breaker(7), breaker(9, targetRef=SOME)], 7),
        ([breaker(9, targetRef=SOME)], None),
    ],
)
def test_policies_for_anybody_hold_for_what_leaves(
    policies: list[dict[str, Any]], expected: int | None
) -> None:
    found, _ = config(EXTERNAL, *policies)
    [cluster] = [value for name, value in found[CLUSTER].items() if name.startswith("kri_extsvc")]
    limits = cluster.get("circuitBreakers", {}).get("thresholds", [{}])[0]
    assert limits.get("maxConnections") == expected


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    validate(config(*FAR, EXTERNAL)[0], tmp_path)
