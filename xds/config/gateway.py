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
from mesh.policy.proxy import gateway_for, item_of
from xds.config import confs, crossmesh, hcm, policies, routes, tls
from xds.config.backends import GATEWAY_BUFFER_BYTES, Backends, Item, Profile
from xds.config.confs import KindConfs, Matched, Names
from xds.config.destinations import mirrors_of
from xds.config.draft import ADS, Draft, Fields, duration_ns, named, seconds, serialized, wrapped
from xds.config.facts import Client, DataplaneFacts, Pairs
from xds.config.outbound import Outbound, Source
from xds.config.policies import GATEWAY_KINDS, GATEWAY_ROUTE_KINDS, LISTENER_KINDS, ROUTE_KINDS
from xds.config.policies.faultinjection import TAGS_HEADER, tags_header
from xds.config.secrets import Certificate, certificate_name, certificates_of, secret_items
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


Selected = tuple[tuple[str, Names], ...]
"""Names of policies per kind."""


class Entry(NamedTuple):
    """One element of a MeshGateway's listeners: a host name on a port."""

    hostname: str
    port: int
    protocol: str
    certificates: tuple[Certificate, ...] = ()
    connection_limit: int = 0
    cross_mesh: bool = False


class Host(NamedTuple):
    """A virtual host: its routes, most specific first. confs: of policies for what goes to them."""

    name: str
    routes: tuple[routes.Route, ...]
    confs: KindConfs = ()


@dataclass(frozen=True, slots=True)
class Routes:
    """Everything that a route configuration of a gateway depends on. tags: of the gateway."""

    name: str
    hosts: tuple[Host, ...]
    tags: Pairs


@dataclass(frozen=True, slots=True)
class GatewayListener:
    """Everything that the listener of one port depends on.

    route_configs: (host name, name) pairs. certificates: secrets per host name. splits: where
    bytes go. confs: of policies for what comes in here; to_confs: for what goes out of it.
    proxy, source: as for any proxy that logs or traces. security: who may come, if not anybody: members
    of any mesh (`crossMesh`).
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
    security: tls.Security | None = None

    @property
    def leads_somewhere(self) -> bool:
        """Whether it has a filter chain: Envoy refuses a listener without any."""
        return bool(self.route_configs) or any(splits for _, splits in self.splits)


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
    secrets = tuple(certificates_of(sources))
    limit = (listener.get("resources") or {}).get("connectionLimit") or 0
    hostname = listener.get("hostname") or ANY_HOST
    crossing = bool(listener.get("crossMesh"))
    return Entry(hostname, listener["port"], listener.get("protocol") or "HTTP", secrets, limit, crossing)


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
    backends: dict[Selected, Backends] = {}
    for port, on_port in sorted(by_port.items()):
        if on_port[0].cross_mesh and not _may_cross(profile):
            continue
        shape = _Shape(ctx, gateway, facts, client, profile, matched, backends)
        listener, items = shape.listener(port, on_port, proxy, source)
        if not listener.leads_somewhere:
            continue
        yield Item(LISTENER, listener.name, gateway_listener.query(listener))
        yield from items
    seen: set[tuple[str, str]] = set()
    for each in backends.values():
        fresh = [item for item in each.items() if (item.type_url, item.name) not in seen]
        seen.update((item.type_url, item.name) for item in fresh)
        yield from fresh
    limits = tuple(
        (f"{gateway}:{on_port[0].protocol}:{port}", limit)
        for port, on_port in sorted(by_port.items())
        if (limit := max(entry.connection_limit for entry in on_port))
    )
    yield Item(RUNTIME, RUNTIME_LAYER, runtime_layer.query(limits))


def _may_cross(profile: Profile) -> bool:
    """Whether a gateway can show members of other meshes who it is, and tell who they are."""
    return profile.security is not None and not profile.security.spiffe


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the listener of one port is made from. backends: of all ports, by the policies that hold for them; a
    cluster to which several lead is as the first has it."""

    ctx: Context
    gateway: str
    facts: DataplaneFacts
    client: Client
    profile: Profile
    matched: Matched
    backends: dict[Selected, Backends]

    def listener(
        self, port: int, entries: Sequence[Entry], proxy: KindConfs, source: Source | None
    ) -> tuple[GatewayListener, list[Item]]:
        """The listener of a port, and the resources that only it needs."""
        protocol = entries[0].protocol
        name = f"{self.gateway}:{protocol}:{port}"
        names = self.matched.of_inbound(self.facts.address, port)
        listener = GatewayListener(
            name=name,
            address=self.facts.address,
            port=port,
            protocol=protocol,
            reuse_port=self.client.reuse_port,
            confs=confs.inbound_confs(self.ctx, self.facts.mesh, names),
            to_confs=confs.only(confs.mesh_confs(self.ctx, self.facts.mesh, names), GATEWAY_KINDS),
            proxy=proxy,
            source=source,
        )
        certificates = tuple(
            (
                entry.hostname,
                tuple(certificate_name(self.ctx, self.facts.mesh, found) for found in entry.certificates),
            )
            for entry in entries
        )
        secrets = [
            item for entry in entries for item in secret_items(self.ctx, self.facts.mesh, entry.certificates)
        ]
        if entries[0].cross_mesh and self.profile.security is not None:
            unified = self.profile.unified
            opened, all_roots = crossmesh.open_to_all(self.ctx, self.profile.security, unified=unified)
            listener = replace(listener, security=opened)
            secrets.append(all_roots)
        if protocol in ("TCP", "TLS"):
            splits = tuple((entry.hostname, self._splits(entry)) for entry in entries)
            return replace(listener, splits=splits, certificates=certificates), secrets
        shared = protocol == "HTTP" or listener.security is not None
        groups = {ANY_HOST: entries} if shared else {e.hostname: [e] for e in entries}
        items = secrets
        for hostname, group in groups.items():
            value = self._routes(f"{name}:{hostname}", group)
            items.append(Item(ROUTE, value.name, gateway_routes.query(value)))
        pairs = tuple((hostname, f"{name}:{hostname}") for hostname in groups)
        return replace(listener, route_configs=pairs, certificates=certificates), items

    def _routes(self, name: str, entries: Sequence[Entry]) -> Routes:
        hosts: dict[str, list[routes.Rule]] = {}
        of_hosts: dict[str, KindConfs] = {}
        for entry in entries:
            names = self._names(entry)
            of_mesh = confs.mesh_confs(self.ctx, self.facts.mesh, names)
            text = dict(of_mesh).get("MeshHTTPRoute", "")
            found = msgspec.json.decode(text) if text else {"confs": (), "origins": {}}
            for conf in found["confs"]:
                rules = list(self._rules(conf, found["origins"], names, of_mesh))
                for host in _hosts(conf.get("hostnames") or (), entry):
                    hosts.setdefault(host, []).extend(rule for rule in rules if rule not in hosts[host])
                    of_hosts.setdefault(host, confs.only(of_mesh, LISTENER_KINDS | GATEWAY_ROUTE_KINDS))
        return Routes(
            name=name,
            hosts=tuple(
                Host(host, routes.sorted_routes(hosts[host]), of_hosts[host]) for host in sorted(hosts)
            ),
            tags=self.facts.tags,
        )

    def _names(self, entry: Entry) -> Selected:
        """The policies for a host name on a port."""
        return self.matched.of_inbound(self.facts.address, entry.port, entry.hostname)

    def _backends(self, names: Selected) -> Backends:
        """What listeners lead to for which these policies hold."""
        if names not in self.backends:
            profile = replace(self.profile, matched=names)
            self.backends[names] = Backends(self.ctx, profile, legacy=False)
        return self.backends[names]

    def _rules(
        self,
        conf: Mapping[str, Any],
        origins: Mapping[str, str],
        names: Selected,
        of_mesh: KindConfs,
    ) -> Iterator[routes.Rule]:
        backends = self._backends(names)
        for rule in conf["rules"]:
            matches = rule.get("matches") or []
            default = rule.get("default") or {}
            origin = origins.get(hash_matches(matches), "")
            splits = _shares(backends, origin, default.get("backendRefs") or ())
            filters = default.get("filters") or []
            mirrors = tuple(mirrors_of(backends, origin, filters))
            own = tuple(self._confs_of_route(origin, names, of_mesh))
            yield routes.Rule(matches, filters, splits, mirrors, "", own)

    def _confs_of_route(self, kri: str, names: Selected, of_mesh: KindConfs) -> Iterator[tuple[str, str]]:
        """What policies say of one MeshHTTPRoute."""
        for kind, selected in names:
            if kri and kind in ROUTE_KINDS | GATEWAY_ROUTE_KINDS:
                base = dict(of_mesh).get(kind, "")
                text = confs.conf_of_route(self.ctx, kind, self.facts.mesh, selected, kri, base)
                if text:
                    yield kind, text

    def _splits(self, entry: Entry) -> tuple[routes.Split, ...]:
        names = self._names(entry)
        of_mesh = confs.mesh_confs(self.ctx, self.facts.mesh, names)
        found = confs.raw_conf("MeshTCPRoute", of_mesh) or {"conf": {}, "origin": ""}
        refs = (found["conf"].get("default") or {}).get("backendRefs") or ()
        return _shares(self._backends(names), found["origin"], refs)


def _shares(backends: Backends, origin: str, refs: Sequence[Mapping[str, Any]]) -> tuple[routes.Split, ...]:
    found = [(backends.add_ref(origin, ref), int(ref.get("weight", 1))) for ref in refs]
    return routes.merged_splits(routes.Split(name, weight) for name, weight in found if name)


def _hosts(hostnames: Sequence[str], entry: Entry) -> Iterator[str]:
    """The hosts of a route on a listener: its own as far as they fit, else the listener's."""
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
    hosts = [
        {
            "name": host.name,
            "domains": [host.name],
            "routes": [
                _route(route, draft, value, host) for route, draft in routes.route_drafts(host.routes)
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


def _route(route: routes.Route, draft: Draft, value: Routes, host: Host) -> Draft:
    action = draft.get("route")
    if action is None:
        return draft
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
    outbound = Outbound(value.name, "", 0, "http", "", "", "", value.name, (), True, confs=host.confs)
    policies.edit_route(draft, route, outbound)
    policies.edit_gateway_route(draft, (*route.confs, *host.confs))
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
        if value.security is not None:
            chain["transport_socket"] = tls.downstream_socket(value.security)
        elif value.protocol == "HTTPS":
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
