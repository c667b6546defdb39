"""Builtin gateways: Dataplanes that let traffic into the mesh, as a MeshGateway says.

Each port is a listener. Plain HTTP serves all host names of a port with one set of routes; HTTPS has a
filter chain per host name, chosen by server name, with its certificate and its routes; TCP and TLS
passthrough carry bytes. Routes come from MeshHTTPRoute and MeshTCPRoute that select the gateway, and
are always resources of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from mesh.policy.merge import hash_matches
from mesh.policy.meta import kri
from mesh.policy.proxy import gateway_for, item_of
from xds.config import confs, hcm, policies, routes, tls
from xds.config.backends import GATEWAY_BUFFER_BYTES, Backends, Item, Profile
from xds.config.confs import KindConfs, Matched, Names
from xds.config.destinations import mirrors_of
from xds.config.draft import ADS, Draft, Fields, duration_ns, named, seconds, serialized, wrapped
from xds.config.facts import Client, DataplaneFacts, Pairs
from xds.config.outbound import Outbound, Source
from xds.config.policies import GATEWAY_KINDS, GATEWAY_ROUTE_KINDS, LISTENER_KINDS
from xds.config.policies.faultinjection import TAGS_HEADER, tags_header
from xds.config.secrets import secret_items, secret_name
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import LISTENER, ROUTE, RUNTIME, Encoded

COMPRESSOR = "envoy.extensions.filters.http.compressor.v3.Compressor"
GZIP = "envoy.extensions.compression.gzip.compressor.v3.Gzip"
LOCAL_LIMIT = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
RUNTIME_LAYER = "gateway.listeners"
ANY_HOST = "*"
STREAM_IDLE_S = 5
IDLE_S = 300
REQUEST_HEADERS_NS = 500_000_000


class Entry(NamedTuple):
    """One element of a MeshGateway's listeners: a host name on a port."""

    hostname: str
    port: int
    protocol: str
    certificates: tuple[str, ...] = ()
    connection_limit: int = 0


class Host(NamedTuple):
    """A virtual host: its routes, most specific first."""

    name: str
    routes: tuple[routes.Route, ...]


@dataclass(frozen=True, slots=True)
class Routes:
    """Everything that a route configuration of a gateway depends on. tags: of the gateway."""

    name: str
    hosts: tuple[Host, ...]
    tags: Pairs
    confs: KindConfs = ()


@dataclass(frozen=True, slots=True)
class GatewayListener:
    """Everything that the listener of one port depends on.

    route_configs: (host name, name) pairs. certificates: secrets per host name. splits: where
    bytes go. confs: of policies for what comes in here; to_confs: for what goes out of it.
    proxy, source: as for any proxy that logs or traces.
    """

    name: str
    address: str
    port: int
    protocol: str
    reuse_port: bool
    route_configs: tuple[tuple[str, str], ...] = ()
    certificates: tuple[tuple[str, tuple[str, ...]], ...] = ()
    splits: tuple[tuple[str, tuple[routes.Split, ...]], ...] = ()
    confs: KindConfs = ()
    to_confs: KindConfs = ()
    proxy: KindConfs = ()
    source: Source | None = None


@derivation
def gateway_entries(ctx: Context, mesh: str, name: str) -> tuple[str, tuple[Entry, ...]] | None:
    """Name and listeners of the MeshGateway that a gateway Dataplane serves; None without one."""
    resource = ctx.get("Dataplane", mesh, name)
    if resource is None or not resource.spec.is_builtin_gateway:
        return None
    item = item_of(resource)
    tags = item.spec["networking"]["gateway"].get("tags") or {}
    found = gateway_for(ctx, item.meta, tags)
    if found is None:
        return None
    listeners = (found.spec.get("conf") or {}).get("listeners") or ()
    return found.meta.display_name, tuple(_entry(listener) for listener in listeners)


def _entry(listener: Mapping[str, Any]) -> Entry:
    sources = (listener.get("tls") or {}).get("certificates") or ()
    secrets = tuple(source["secret"] for source in sources if source.get("secret"))
    limit = (listener.get("resources") or {}).get("connectionLimit") or 0
    hostname = listener.get("hostname") or ANY_HOST
    return Entry(hostname, listener["port"], listener.get("protocol") or "HTTP", secrets, limit)


# --- what a gateway gets -------------------------------------------------------------------------


def gateway_items(
    ctx: Context,
    facts: DataplaneFacts,
    client: Client,
    profile: Profile,
    matched: Matched,
    proxy: KindConfs,
    source: Source | None,
) -> Iterator[Item]:
    """Everything that belongs to the listeners of a gateway."""
    found = gateway_entries(ctx, facts.mesh, facts.name)
    if found is None:
        return
    gateway, entries = found
    by_port: dict[int, list[Entry]] = {}
    for entry in entries:
        by_port.setdefault(entry.port, []).append(entry)
    backends = Backends(ctx, profile, legacy=False)
    for port, on_port in sorted(by_port.items()):
        names = matched.of_inbound(facts.address, port)
        shape = _Shape(ctx, gateway, facts, client, profile, names, backends)
        listener, items = shape.listener(port, on_port, proxy, source)
        yield Item(LISTENER, listener.name, gateway_listener.query(listener))
        yield from items
    yield from backends.items()
    limits = tuple(
        (f"{gateway}:{on_port[0].protocol}:{port}", limit)
        for port, on_port in sorted(by_port.items())
        if (limit := max(entry.connection_limit for entry in on_port))
    )
    yield Item(RUNTIME, RUNTIME_LAYER, runtime_layer.query(limits))


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the listener of one port is made from."""

    ctx: Context
    gateway: str
    facts: DataplaneFacts
    client: Client
    profile: Profile
    names: tuple[tuple[str, Names], ...]
    backends: Backends

    def listener(
        self, port: int, entries: Sequence[Entry], proxy: KindConfs, source: Source | None
    ) -> tuple[GatewayListener, list[Item]]:
        """The listener of a port, and the resources that only it needs."""
        protocol = entries[0].protocol
        name = f"{self.gateway}:{protocol}:{port}"
        listener = GatewayListener(
            name=name,
            address=self.facts.address,
            port=port,
            protocol=protocol,
            reuse_port=self.client.reuse_port,
            confs=confs.inbound_confs(self.ctx, self.facts.mesh, self.names),
            to_confs=confs.only(self._of_mesh(), GATEWAY_KINDS),
            proxy=proxy,
            source=source,
        )
        certificates = tuple(
            (entry.hostname, tuple(secret_name(secret) for secret in entry.certificates)) for entry in entries
        )
        secrets = [item for entry in entries for item in secret_items(self.facts.mesh, entry.certificates)]
        if protocol in ("TCP", "TLS"):
            splits = tuple((entry.hostname, self._splits()) for entry in entries)
            return replace(listener, splits=splits, certificates=certificates), secrets
        groups = {ANY_HOST: entries} if protocol == "HTTP" else {e.hostname: [e] for e in entries}
        items = secrets
        for hostname, group in groups.items():
            value = self._routes(f"{name}:{hostname}", group)
            items.append(Item(ROUTE, value.name, gateway_routes.query(value)))
        pairs = tuple((hostname, f"{name}:{hostname}") for hostname in groups)
        return replace(listener, route_configs=pairs, certificates=certificates), items

    def _routes(self, name: str, entries: Sequence[Entry]) -> Routes:
        hosts: dict[str, list[routes.Rule]] = {}
        text = self._to_conf("MeshHTTPRoute")
        found = msgspec.json.decode(text) if text else {"confs": (), "origins": {}}
        for conf in found["confs"]:
            for host in _hosts(conf.get("hostnames") or (), entries):
                hosts.setdefault(host, []).extend(self._rules(conf, found["origins"]))
        return Routes(
            name=name,
            hosts=tuple(Host(host, routes.sorted_routes(hosts[host])) for host in sorted(hosts)),
            tags=self.facts.tags,
            confs=confs.only(self._of_mesh(), LISTENER_KINDS | GATEWAY_ROUTE_KINDS),
        )

    def _of_mesh(self) -> KindConfs:
        """What policies say of any traffic that the gateway sends into the mesh."""
        return confs.mesh_confs(self.ctx, self.facts.mesh, self.profile.matched)

    def _to_conf(self, kind: str) -> str:
        names = dict(self.names).get(kind)
        if not names:
            return ""
        destination = kri("Mesh", "", "", "", self.facts.mesh)
        return confs.to_conf(self.ctx, kind, self.facts.mesh, names, destination, "")

    def _rules(self, conf: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[routes.Rule]:
        for rule in conf["rules"]:
            matches = rule.get("matches") or []
            default = rule.get("default") or {}
            splits = self._shares(origins.get(hash_matches(matches), ""), default.get("backendRefs") or ())
            filters = default.get("filters") or []
            origin = origins.get(hash_matches(matches), "")
            mirrors = tuple(mirrors_of(self.backends, origin, filters))
            yield routes.Rule(matches, filters, splits, mirrors, "")

    def _splits(self) -> tuple[routes.Split, ...]:
        text = self._to_conf("MeshTCPRoute")
        found: dict[str, Any] = msgspec.json.decode(text) if text else {"conf": {}, "origin": ""}
        return self._shares(found["origin"], (found["conf"].get("default") or {}).get("backendRefs") or ())

    def _shares(self, origin: str, refs: Sequence[Mapping[str, Any]]) -> tuple[routes.Split, ...]:
        found = [(self.backends.add_ref(origin, ref), int(ref.get("weight", 1))) for ref in refs]
        return routes.merged_splits(routes.Split(name, weight) for name, weight in found if name)


def _hosts(hostnames: Sequence[str], entries: Sequence[Entry]) -> Iterator[str]:
    """The hosts of a route on listeners: its own as far as they fit, else those of the listeners."""
    for entry in entries:
        if not hostnames:
            yield entry.hostname
        for hostname in hostnames:
            if fits(hostname, entry.hostname):
                yield hostname


def fits(hostname: str, pattern: str) -> bool:
    """Whether a host name is one that a listener serves."""
    if pattern in (ANY_HOST, hostname):
        return True
    return pattern.startswith("*.") and hostname.endswith(pattern[1:])


# --- drafts --------------------------------------------------------------------------------------


@derivation
def runtime_layer(ctx: Context, limits: tuple[tuple[str, int], ...]) -> Encoded:
    """The runtime layer that gateways ask for: how many connections a listener takes, where that is limited."""
    layer = {f"envoy.resource_limits.listener.{name}.connection_limit": limit for name, limit in limits}
    draft = {"name": RUNTIME_LAYER, "layer": Fields(layer)}
    return encode(RUNTIME, RUNTIME_LAYER, serialized(RUNTIME.rpartition("/")[2], draft))


@derivation
def gateway_routes(ctx: Context, value: Routes) -> Encoded:
    """The routes of a gateway."""
    outbound = Outbound(value.name, "", 0, "http", "", "", "", value.name, (), True, confs=value.confs)
    hosts = [
        {
            "name": host.name,
            "domains": [host.name],
            "routes": [
                _route(route, draft, value, outbound) for route, draft in routes.route_drafts(host.routes)
            ],
        }
        for host in value.hosts
    ]
    draft = {
        "name": value.name,
        "virtual_hosts": hosts,
        "request_headers_to_remove": [TAGS_HEADER],
        "ignore_port_in_host_matching": True,
        "validate_clusters": wrapped(False),
    }
    return encode(ROUTE, value.name, serialized(hcm.ROUTES, draft))


def _route(route: routes.Route, draft: Draft, value: Routes, outbound: Outbound) -> Draft:
    action = draft.get("route")
    if action is None:
        return draft
    if not route.splits:
        return {key: inner for key, inner in draft.items() if key != "route"} | {
            "direct_response": {"status": 500}
        }
    action.pop("timeout", None)
    action.pop("cluster", None)
    action["idle_timeout"] = seconds(STREAM_IDLE_S)
    action["cluster_not_found_response_code"] = "INTERNAL_SERVER_ERROR"
    header = {"header": {"key": TAGS_HEADER, "value": tags_header(value.tags)}}
    clusters = [
        {"name": split.cluster, "weight": wrapped(split.weight), "request_headers_to_add": [header]}
        for split in route.splits
    ]
    action["weighted_clusters"] = {"clusters": clusters}
    policies.edit_route(draft, route, outbound)
    policies.edit_gateway_route(draft, value.confs)
    return draft


@derivation
def gateway_listener(ctx: Context, value: GatewayListener) -> Encoded:
    """The listener of one port."""
    draft = hcm.listener(value.name, value.address, value.port, "INBOUND")
    draft["enable_reuse_port"] = wrapped(value.reuse_port)
    draft["per_connection_buffer_limit_bytes"] = wrapped(GATEWAY_BUFFER_BYTES)
    hcm.add_tls_inspector(draft)
    draft["filter_chains"] = list(_chains(value))
    policies.edit_gateway_listener(draft, value)
    return encode(LISTENER, value.name, serialized(hcm.LISTENER, draft))


def _chains(value: GatewayListener) -> Iterator[Draft]:
    certificates = dict(value.certificates)
    for hostname, splits in value.splits:
        if splits:
            proxy = hcm.tcp_proxy(value.name, splits[0].cluster)
            if len(splits) > 1:
                hcm.split_tcp(proxy, [(split.cluster, split.weight) for split in splits])
            carried: Draft = _matching(value, hostname) | {"filters": [proxy]}
            if certificates.get(hostname):
                carried["transport_socket"] = tls.server_socket(certificates[hostname])
            yield carried
    for hostname, route_config in value.route_configs:
        chain: Draft = {"filters": [_manager(value.name, route_config)]}
        if value.protocol == "HTTPS":
            chain |= _matching(value, hostname)
            chain["transport_socket"] = tls.server_socket(certificates.get(hostname, ()))
        yield chain


def _matching(value: GatewayListener, hostname: str) -> Draft:
    if value.protocol == "TCP":
        return {}
    match: Draft = {"transport_protocol": "tls"}
    if hostname != ANY_HOST:
        match["server_names"] = [hostname]
    return {"filter_chain_match": match}


def _manager(name: str, route_config: str) -> Draft:
    manager = hcm.http_manager(name, {})
    config = manager["typed_config"]
    del config["route_config"]
    config |= {
        "rds": {"config_source": ADS, "route_config_name": route_config},
        "common_http_protocol_options": {
            "idle_timeout": seconds(IDLE_S),
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "allow_connect": True,
            "initial_connection_window_size": wrapped(1_048_576),
            "initial_stream_window_size": wrapped(65_536),
            "max_concurrent_streams": wrapped(100),
        },
        "merge_slashes": True,
        "normalize_path": wrapped(True),
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        "request_headers_timeout": duration_ns(REQUEST_HEADERS_NS),
        "server_name": "Kuma Gateway",
        "stream_idle_timeout": seconds(STREAM_IDLE_S),
        "use_remote_address": wrapped(True),
    }
    compression = {
        "compressor_library": named("gzip", GZIP),
        "response_direction_config": {"disable_on_etag_header": True},
    }
    limit = {"stat_prefix": "rate_limit"}
    hcm.insert_http_filter(config, named("envoy.filters.http.local_ratelimit", LOCAL_LIMIT, limit))
    hcm.insert_http_filter(config, named("gzip-compress", COMPRESSOR, compression))
    return manager
