"""A sidecar under policies: one HTTP and one TCP inbound, one HTTP, one TCP and one gRPC destination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.xds.config.envoy_check import validate
from tests.xds.config.worlds import (
    MTLS,
    TRANSPARENT,
    dataplane,
    mesh,
    mesh_service,
    node,
    policy,
    rendered,
    view_of,
)
from xds.config.source import Source
from xds.types import CLUSTER, LISTENER

Json = dict[str, Any]

HTTP_IN, TCP_IN = "inbound:192.168.0.1:8080", "inbound:192.168.0.1:5432"
HTTP_OUT, TCP_OUT, GRPC_OUT = "outbound:241.0.0.1:80", "outbound:241.0.0.2:5432", "outbound:241.0.0.3:9000"
HTTP_CLUSTER, TCP_CLUSTER = "default_api___msvc_80", "default_db___msvc_5432"
HTTP_APP, TCP_APP = "localhost:8080", "localhost:5432"


def client() -> Json:
    document = dataplane("web", 8080, tags={"kuma.io/protocol": "http", "team": "a"}, networking=TRANSPARENT)
    tcp = {"port": 5432, "tags": {"kuma.io/service": "web-db"}}
    document["networking"]["inbound"].append(tcp)
    return document


class Sidecar:
    """What `web` gets with some policies (and the mesh's settings)."""

    def __init__(self, *policies: Json, settings: Json | None = None, **metadata: Any) -> None:
        services = [
            mesh_service("api", 80, "http", vip="241.0.0.1"),
            mesh_service("db", 5432, "tcp", vip="241.0.0.2"),
            mesh_service("rpc", 9000, "grpc", vip="241.0.0.3"),
        ]
        documents = [mesh(**(settings or {"mtls": MTLS})), client(), *services, *policies]
        self.source = Source(view_of(documents))
        stream = self.source.connect(node("web", **metadata), lambda deltas: None)
        self.failures = self.source.failures
        self.config = rendered(stream.snapshot())

    def listener(self, name: str) -> Json:
        found: Json = self.config[LISTENER][name]
        return found

    def cluster(self, name: str) -> Json:
        found: Json = self.config[CLUSTER][name]
        return found

    def manager(self, name: str) -> Json:
        """The HTTP connection manager of a listener."""
        found: Json = self.listener(name)["filterChains"][0]["filters"][-1]["typedConfig"]
        return found

    def filters(self, name: str) -> list[str]:
        """Last parts of the names of the HTTP or network filters of a listener."""
        chain = self.listener(name)["filterChains"][0]["filters"]
        inner = chain[-1]["typedConfig"].get("httpFilters", chain)
        return [found["name"].rpartition(".")[2] for found in inner]

    def http_filter(self, listener: str, name: str) -> Json:
        found: Json = next(f for f in self.manager(listener)["httpFilters"] if f["name"].endswith(name))
        return found

    def routes(self, name: str) -> list[Json]:
        found: list[Json] = self.manager(name)["routeConfig"]["virtualHosts"][0]["routes"]
        return found

    def validate(self, directory: Path) -> None:
        """Ask a real Envoy."""
        assert not self.failures
        validate(self.config, directory)


def to(kind: str, default: Json, target: Json | None = None, name: str = "p", **top: Any) -> Json:
    """A policy for outbound traffic, by default for all destinations."""
    entry = {"targetRef": target or {"kind": "Mesh"}, "default": default}
    return policy(kind, name, to=[entry], **top)


def rules(kind: str, default: Json, matches: list[Json] | None = None, name: str = "p", **top: Any) -> Json:
    """A policy for inbound traffic."""
    rule: Json = {"default": default}
    if matches is not None:
        rule["matches"] = matches
    return policy(kind, name, rules=[rule], **top)


def route(name: str, *entries: Json, service: str = "api") -> Json:
    """A MeshHTTPRoute of a service."""
    target = {"kind": "MeshService", "name": service}
    return policy("MeshHTTPRoute", name, to=[{"targetRef": target, "rules": list(entries)}])


def prefix(path: str, **default: Any) -> Json:
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "default": default}
