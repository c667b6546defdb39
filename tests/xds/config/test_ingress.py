"""Zone ingresses of all meshes: a filter chain per server name, endpoints of the own zone only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.envoy_check import validate
from tests.xds.config.worlds import MTLS, dataplane, mesh, mesh_service, policy, rendered, resource, view_of
from xds.config.source import Source
from xds.source import NodeInfo
from xds.types import CLUSTER, ENDPOINT, LISTENER, Delta

NAME = "inbound:10.0.0.9:10001"
INGRESS: dict[str, Any] = {
    "type": "ZoneIngress",
    "name": "zi-1",
    "zone": "z1",
    "networking": {"address": "10.0.0.9", "port": 10001},
}
DOCUMENTS = [mesh(mtls=MTLS), mesh("other", mtls=MTLS), INGRESS, dataplane("web", 80, tags={"version": "v1"})]


def subset_route() -> dict[str, Any]:
    ref = {"kind": "MeshServiceSubset", "name": "web", "tags": {"version": "v1"}}
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "default": {"backendRefs": [ref]}}
    return policy(
        "MeshHTTPRoute", "r", to=[{"targetRef": {"kind": "MeshService", "name": "web"}, "rules": [rule]}]
    )


def connect(source: Source, deltas: list[Delta]) -> Any:
    node = NodeInfo(".zi-1", metadata={"dataplane.proxyType": "ingress"})
    return source.connect(node, deltas.extend)


def config(*documents: dict[str, Any]) -> dict[str, Any]:
    source = Source(view_of([*DOCUMENTS, *documents], "z1"), zone="z1")
    stream = connect(source, [])
    assert not source.failures
    return rendered(stream.snapshot())


def names(found: dict[str, Any]) -> list[str]:
    chains = found[LISTENER][NAME]["filterChains"]
    return [name for chain in chains for name in chain["filterChainMatch"]["serverNames"]]


def test_services_by_their_tags() -> None:
    found = config()
    assert names(found) == ["web{mesh=default}"]
    assert set(found[CLUSTER]) == set(found[ENDPOINT]) == {"default:web"}
    assert "transportSocket" not in found[CLUSTER]["default:web"]


def test_parts_of_services_that_routes_name() -> None:
    found = names(config(subset_route()))
    assert found == ["web{mesh=default,version=v1}", "web{mesh=default}"]


def test_resources_by_both_forms_of_server_names() -> None:
    found = names(config(mesh_service("web", 80)))
    assert "sni.msvc.default.z1.web.80" in found
    assert any(name.endswith(".web.80.default.ms") for name in found)


def test_a_new_service_is_one_more_chain() -> None:
    view = view_of(DOCUMENTS, "z1")
    source = Source(view, zone="z1")
    deltas: list[Delta] = []
    connect(source, deltas)
    new = resource(dataplane("db", 5432), "z1")
    view, changes = view.with_changes(2, [(new.key, new)])
    source.advance(view, changes)
    told = {(delta.type_url, found.name) for delta in deltas for found in delta.upserts}
    assert {(LISTENER, NAME), (CLUSTER, "default:db"), (ENDPOINT, "default:db")} == told


def test_an_unknown_ingress_has_no_snapshot() -> None:
    source = Source(view_of([mesh()]))
    assert connect(source, []).snapshot() is None


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    validate(config(subset_route(), mesh_service("web", 80)), tmp_path)
