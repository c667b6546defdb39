"""A small mesh, and explanations of its proxy `web`."""

from __future__ import annotations

from typing import Any

from mesh.policy.proxy import item_of, proxy_of
from mesh.view import View
from tests.xds.config.worlds import (
    TRANSPARENT,
    dataplane,
    mesh,
    mesh_service,
    node,
    policy,
    view_of,
)
from xds.config.causes import Probe
from xds.config.client import client_of
from xds.config.paths import parse
from xds.config.source import plan_of
from xds.config.why import Why, why

API = "default_api___msvc_80"
TO_API = {"kind": "MeshService", "name": "api"}
TO_MESH = {"kind": "Mesh"}


def world(*policies: Any) -> View:
    return view_of(
        [
            mesh(),
            mesh("elsewhere"),
            dataplane("web", 8080, networking=TRANSPARENT),
            dataplane("api-1", 80, service="api", address="192.168.0.2"),
            dataplane("api-2", 80, service="api", address="192.168.0.3"),
            dataplane("db-1", 5432, service="db", address="192.168.0.4"),
            mesh_service("api", vip="241.0.0.1"),
            mesh_service("db", 5432, vip="241.0.0.2"),
            *policies,
        ]
    )


def timeout(name: str, *to: tuple[Any, str], **spec: Any) -> Any:
    elements = [{"targetRef": ref, "default": {"connectionTimeout": value}} for ref, value in to]
    return policy("MeshTimeout", name, to=elements, **spec)


def probe(view: View, type_url: str, name: str, path: str = "") -> Probe:
    web = node("web")
    return Probe(view, plan_of(web)("default", "web", client_of(web)), type_url, name, parse(path))


def explained(view: View, type_url: str, name: str, path: str = "", past: Any = ()) -> Why:
    web = view.get("Dataplane", "default", "web")
    assert web is not None
    return why(view, probe(view, type_url, name, path), proxy_of(view, item_of(web)), past)


def causes(found: Why) -> dict[str, tuple[str, ...]]:
    return {cause.resource.name: cause.rules for cause in found.causes}


def reasons(found: Why) -> dict[str, str]:
    return {f"{each.policy.name} {each.rule}".strip(): each.reason for each in found.passed_over}
