"""Zone proxies inside a mesh: Dataplanes with listeners that let traffic into a zone, or out of it.

An ingress looks at the server name and passes the bytes on to a proxy of its zone: it ends no TLS, so
the two ends know each other. An egress ends TLS, since beyond it there is no mesh: it checks who
asks for which external service, and opens the connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from mesh import naming
from mesh.policy.meta import with_section
from xds.config import assignments, cluster, confs, external, hcm, policies, tls
from xds.config.backends import Item
from xds.config.confs import KindConfs, Matched
from xds.config.draft import ADS, Draft, named, seconds, serialized, wrapped
from xds.config.facts import (
    Client,
    DataplaneFacts,
    Destination,
    ListenerFacts,
    Port,
    destination,
    destinations,
    is_http,
)
from xds.config.localities import Place
from xds.config.outbound import Source
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, ENDPOINT, LISTENER, Encoded

DIRECT_RESPONSE = "envoy.extensions.filters.network.direct_response.v3.Config"


@dataclass(frozen=True, slots=True)
class Chain:
    """What happens to traffic that asks for one server name.

    security: set when TLS ends here. confs, permissions: of policies for this server name. rules: of
    those, what depends on who calls. service: display name of where it leads.
    """

    sni: str
    cluster: str
    protocol: str = "tcp"
    security: tls.Security | None = None
    confs: KindConfs = ()
    permissions: str = ""
    rules: KindConfs = ()
    service: str = ""


@dataclass(frozen=True, slots=True)
class ZoneListener:
    """Everything that the listener of a zone proxy depends on."""

    name: str
    address: str
    port: int
    mesh: str
    proxy_name: str
    zone: str
    reuse_port: bool
    chains: tuple[Chain, ...]
    proxy: KindConfs = ()
    source: Source | None = None


@derivation
def zone_listener(ctx: Context, value: ZoneListener) -> Encoded:
    """The listener of an ingress or egress. Envoy refuses one without chains, so there is always one."""
    draft = hcm.listener(value.name, value.address, value.port, "INBOUND")
    draft["enable_reuse_port"] = wrapped(value.reuse_port)
    draft["stat_prefix"] = value.name
    hcm.add_tls_inspector(draft)
    draft["filter_chains"] = [_chain(value, chain) for chain in value.chains] or [_nothing(value)]
    return encode(LISTENER, value.name, serialized(hcm.LISTENER, draft))


def _nothing(value: ZoneListener) -> Draft:
    text = json.dumps({"proxy": value.proxy_name, "zone": value.zone}, separators=(",", ":"))
    config = {"response": {"inline_string": text}}
    return {"filters": [named("envoy.filters.network.direct_response", DIRECT_RESPONSE, config)]}


def _chain(value: ZoneListener, chain: Chain) -> Draft:
    match = {"transport_protocol": "tls", "server_names": [chain.sni]}
    draft: Draft = {"filter_chain_match": match}
    if chain.security is None:
        draft["filters"] = [hcm.tcp_proxy(chain.cluster, chain.cluster)]
        policies.edit_passed_chain(draft, chain, value)
        return draft
    draft |= {
        "name": chain.cluster,
        "filters": [_filter(chain)],
        "transport_socket": tls.downstream_socket(chain.security),
    }
    policies.edit_zone_chain(draft, chain, value)
    return draft


def _filter(chain: Chain) -> Draft:
    if not is_http(chain.protocol):
        return hcm.tcp_proxy(chain.cluster, chain.cluster)
    action = {"cluster": chain.cluster, "timeout": seconds(0), "auto_host_rewrite": wrapped(True)}
    routes = hcm.route_config(chain.cluster, chain.cluster, [{"match": {"prefix": "/"}, "route": action}])
    return hcm.http_manager(chain.cluster, routes)


@derivation
def passed_cluster(ctx: Context, name: str) -> Encoded:
    """A cluster towards proxies of the zone; the bytes are TLS already."""
    draft = cluster.base(name, "EDS") | {"eds_cluster_config": {"eds_config": ADS}}
    return encode(CLUSTER, name, serialized(cluster.CLUSTER, draft))


# --- what a zone proxy gets ----------------------------------------------------------------------


def zone_proxy_items(
    ctx: Context,
    facts: DataplaneFacts,
    client: Client,
    security: tls.Security | None,
    matched: Matched,
    proxy: KindConfs,
    source: Source | None,
) -> Iterator[Item]:
    """Listeners, clusters and assignments of a Dataplane's ingress and egress listeners."""
    for found in facts.listeners:
        if found.kind == "ZoneIngress":
            chains, items = _ingress(ctx, facts, matched, found)
        else:
            chains, items = _egress(ctx, facts, client, security, matched, found)
        part = "zoneingress" if found.kind == "ZoneIngress" else "zoneegress"
        value = ZoneListener(
            name=naming.contextual(part, found.section),
            address=found.address,
            port=found.port,
            mesh=facts.mesh,
            proxy_name=facts.name,
            zone=facts.zone or client.zone,
            reuse_port=client.reuse_port,
            chains=tuple(sorted(chains, key=lambda chain: chain.sni)),
            proxy=proxy,
            source=source,
        )
        yield Item(LISTENER, value.name, zone_listener.query(value))
        yield from items


def _ports(ctx: Context, mesh: str, *kinds: str) -> Iterator[tuple[Destination, Port, str]]:
    """(destination, port, cluster name) of all destinations of some kinds."""
    for kind, name in destinations(ctx, mesh):
        facts = destination(ctx, kind, mesh, name) if kind in kinds else None
        if facts is not None:
            for port in facts.ports:
                yield facts, port, with_section(facts.kri, port.section)


def _ingress(
    ctx: Context, facts: DataplaneFacts, matched: Matched, listener: ListenerFacts
) -> tuple[list[Chain], list[Item]]:
    chains: list[Chain] = []
    items: list[Item] = []
    names = matched.of_inbound(listener.address, listener.port)
    for target, port, name in _ports(ctx, facts.mesh, "MeshService", "MeshMultiZoneService"):
        if target.kind == "MeshService" and target.zone not in ("", facts.zone):
            continue
        sni = tls.sni_of(None, target, port)
        of_name = confs.sni_confs(ctx, facts.mesh, names, sni)
        rules = confs.sni_rules_by_client(ctx, facts.mesh, names, sni)
        chains.append(Chain(sni, name, confs=of_name, rules=rules, service=target.display_name))
        query = assignments.assignment.query(
            name, target.kind, target.mesh, target.name, port.number, Place(facts.zone)
        )
        items += [Item(CLUSTER, name, passed_cluster.query(name)), Item(ENDPOINT, name, query)]
    return chains, items


def _egress(
    ctx: Context,
    facts: DataplaneFacts,
    client: Client,
    security: tls.Security | None,
    matched: Matched,
    listener: ListenerFacts,
) -> tuple[list[Chain], list[Item]]:
    chains: list[Chain] = []
    items: list[Item] = []
    if security is None:
        return chains, items
    names = matched.of_inbound(listener.address, listener.port)
    permissions = dict(confs.inbound_rules_by_client(ctx, facts.mesh, names)).get("MeshTrafficPermission", "")
    for target, port, name in _ports(ctx, facts.mesh, "MeshExternalService"):
        sni = tls.sni_of(security, target, port)
        policies = confs.sni_confs(ctx, facts.mesh, names, sni)
        rules = confs.sni_rules_by_client(ctx, facts.mesh, names, sni)
        service = target.display_name
        chains.append(
            Chain(sni, name, port.protocol, security.for_anybody(), policies, permissions, rules, service)
        )
        value = external.External(
            name=name,
            mesh=target.mesh,
            service=target.name,
            protocol=port.protocol,
            ipv6=client.ipv6,
            system_ca=client.system_ca_path,
        )
        items.append(Item(CLUSTER, name, external.external_cluster.query(value)))
    return chains, items
