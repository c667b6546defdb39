"""A source whose configuration a test sets by hand, and small resources that Envoy accepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xds.encode import LocalityEndpoints, encode, encode_assignment, socket_endpoint_frame
from xds.proto import msg, pack_any
from xds.source import NodeInfo, OnChange
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, Delta, Encoded, Snapshot

ADS = {"ads": {}, "resource_api_version": "V3"}
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


@dataclass
class Handle:
    source: StaticSource
    on_change: OnChange
    node: NodeInfo
    closed: bool = False

    def snapshot(self) -> Snapshot | None:
        return self.source.state if self.source.known else None

    def close(self) -> None:
        self.closed = True


@dataclass
class StaticSource:
    """The same configuration for every proxy. With known=False no snapshot exists yet."""

    state: dict[str, dict[str, Encoded]] = field(default_factory=dict)
    known: bool = True
    handles: list[Handle] = field(default_factory=list)

    def connect(self, node: NodeInfo, on_change: OnChange) -> Handle:
        handle = Handle(self, on_change, node)
        self.handles.append(handle)
        return handle

    def put(self, *resources: tuple[str, Encoded]) -> None:
        for type_url, resource in resources:
            self.state.setdefault(type_url, {})[resource.name] = resource
        self.announce(Delta(type_url, (resource,), ()) for type_url, resource in resources)

    def drop(self, type_url: str, name: str) -> None:
        del self.state[type_url][name]
        self.announce([Delta(type_url, (), (name,))])

    def announce_all(self, puts: Iterable[tuple[str, Encoded]], drops: Iterable[tuple[str, str]]) -> None:
        """Announce at once what was changed in `state`."""
        upserts = [Delta(type_url, (resource,), ()) for type_url, resource in puts]
        self.announce([*upserts, *(Delta(type_url, (), (name,)) for type_url, name in drops)])

    def announce(self, deltas: Iterable[Delta]) -> None:
        changes = tuple(deltas)
        for handle in self.handles:
            if not handle.closed:
                handle.on_change(changes)


def cluster(name: str, connect_timeout: int = 1) -> tuple[str, Encoded]:
    message = msg("envoy.config.cluster.v3.Cluster")(
        name=name,
        type="EDS",
        connect_timeout={"seconds": connect_timeout},
        eds_cluster_config={"eds_config": ADS},
    )
    return CLUSTER, encode(CLUSTER, name, message)


def endpoints(name: str, *ports: int) -> tuple[str, Encoded]:
    frames = tuple(socket_endpoint_frame("127.0.0.1", port) for port in ports)
    return ENDPOINT, encode_assignment(name, (LocalityEndpoints(frames, "zone-1"),) if ports else ())


def listener(
    name: str, port: int, route: str, filters: Iterable[Mapping[str, Any]] = ()
) -> tuple[str, Encoded]:
    router = msg("envoy.extensions.filters.http.router.v3.Router")()
    manager = msg(HCM)(
        stat_prefix=name,
        rds={"config_source": ADS, "route_config_name": route},
        http_filters=[*filters, {"name": "envoy.filters.http.router", "typed_config": pack_any(router)}],
    )
    message = msg("envoy.config.listener.v3.Listener")(
        name=name,
        address={"socket_address": {"address": "127.0.0.1", "port_value": port}},
        filter_chains=[
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": pack_any(manager),
                    }
                ]
            }
        ],
    )
    return LISTENER, encode(LISTENER, name, message)


def route(name: str, to_cluster: str) -> tuple[str, Encoded]:
    message = msg("envoy.config.route.v3.RouteConfiguration")(
        name=name,
        virtual_hosts=[
            {
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": to_cluster}}],
            }
        ],
    )
    return ROUTE, encode(ROUTE, name, message)
