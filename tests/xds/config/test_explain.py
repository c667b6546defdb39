"""Explanations: the events behind a resource, and no others."""

from __future__ import annotations

from tests.xds.config.worlds import TRANSPARENT, dataplane, mesh, mesh_service, policy, view_of
from xds.config.source import Source
from xds.types import CLUSTER, ENDPOINT, LISTENER

TIMEOUT = policy(
    "MeshTimeout",
    "slow",
    to=[{"targetRef": {"kind": "MeshService", "name": "api"}, "default": {"connectionTimeout": "7s"}}],
)
SOURCE = Source(
    view_of(
        [
            mesh(),
            dataplane("web", 8080, networking=TRANSPARENT),
            dataplane("api-1", 80, service="api"),
            dataplane("db-1", 5432, service="db"),
            mesh_service("api", vip="241.0.0.1"),
            mesh_service("db", 5432, vip="241.0.0.2"),
            TIMEOUT,
        ]
    )
)


def names(type_url: str, resource: str) -> set[tuple[str, str]]:
    found = SOURCE.explain("default", "web", type_url, resource)
    assert found is not None
    return {(kind, name) for kind, _, name in found.keys}


def test_endpoints_come_from_their_service_and_its_proxies() -> None:
    found = names(ENDPOINT, "default_api___msvc_80")
    assert {("MeshService", "api"), ("Dataplane", "api-1")} <= found
    assert ("Dataplane", "db-1") not in found


def test_a_cluster_comes_from_its_service_and_policies() -> None:
    explanation = SOURCE.explain("default", "web", CLUSTER, "default_api___msvc_80")
    assert explanation is not None
    assert ("MeshService", "default", "api") in explanation.keys
    assert ("MeshTimeout", "default", "slow") in explanation.keys
    assert ("MeshService", "default", "db") not in explanation.keys
    assert explanation.derivations[0] == "plan.sidecar_plan"
    assert explanation.derivations[-1] == "outbound.backend_cluster"


def test_an_inbound_comes_from_the_own_dataplane() -> None:
    assert ("Dataplane", "web") in names(LISTENER, "inbound:192.168.0.1:8080")


def test_what_a_proxy_lacks_has_no_explanation() -> None:
    assert SOURCE.explain("default", "web", CLUSTER, "nothing") is None
    assert SOURCE.explain("default", "nobody", CLUSTER, "default_api___msvc_80") is None
