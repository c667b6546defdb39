"""Inbounds: the listener that receives traffic for the application, and the cluster that is it."""

from __future__ import annotations

from dataclasses import dataclass

from mesh import naming
from mesh.naming import contextual
from xds.config import cluster, hcm, policies
from xds.config.confs import KindConfs
from xds.config.draft import Draft, copied, seconds, serialized, wrapped
from xds.config.facts import InboundFacts, is_http
from xds.config.outbound import Source
from xds.config.tls import Security, downstream_socket
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, LISTENER, Encoded

# What an inbound does when no MeshTimeout says anything.
STREAM_IDLE_S = 3600
ROUTE_IDLE_S = 1800
REQUEST_S = 15
TCP_IDLE_S = 3600


@dataclass(frozen=True, slots=True)
class Inbound:
    """Everything that the listener and the cluster of an inbound depend on.

    confs: of all traffic into it. rules: kind -> JSON of rules that depend on who calls. proxy: confs
    of the proxy as a whole. source: how logs and spans name the proxy, only set when some are made.
    kafka: its messages are counted.
    """

    facts: InboundFacts
    mesh: str
    unified: bool
    transparent: bool
    reuse_port: bool
    security: Security | None
    confs: KindConfs = ()
    rules: KindConfs = ()
    proxy: KindConfs = ()
    source: Source | None = None
    kafka: bool = False

    @property
    def callers_mesh(self) -> str:
        """The mesh whose own authority tells who calls; "" where certificates have one identity each."""
        return self.mesh if self.security is not None and not self.security.spiffe else ""

    @property
    def cluster_name(self) -> str:
        facts = self.facts
        return naming.local_cluster_name(facts.service_port, facts.section, unified=self.unified)

    @property
    def listener_name(self) -> str:
        facts = self.facts
        return naming.inbound_listener_name(facts.address, facts.port, facts.section, unified=self.unified)

    @property
    def route_name(self) -> str:
        facts = self.facts
        return naming.inbound_route_name(facts.service, facts.section, unified=self.unified)


@derivation
def inbound_cluster(ctx: Context, inbound: Inbound) -> Encoded:
    """The application behind an inbound."""
    facts = inbound.facts
    draft = cluster.local(
        inbound.cluster_name,
        facts.service_address,
        facts.service_port,
        facts.protocol,
        transparent=inbound.transparent,
    )
    policies.edit_inbound_cluster(draft, inbound)
    return encode(CLUSTER, inbound.cluster_name, serialized(cluster.CLUSTER, draft))


@derivation
def inbound_listener(ctx: Context, inbound: Inbound) -> Encoded:
    """The listener of an inbound."""
    facts = inbound.facts
    name = inbound.listener_name
    draft = hcm.listener(name, facts.address, facts.port, "INBOUND")
    hcm.set_tags(draft, facts.tags)
    draft["enable_reuse_port"] = wrapped(inbound.reuse_port)
    if inbound.transparent:
        draft["bind_to_port"] = wrapped(False)
    chain: Draft = {"filters": [_filter(inbound)]}
    if inbound.kafka:
        chain["filters"].insert(0, hcm.kafka(inbound.cluster_name))
    draft["filter_chains"] = _secured(draft, chain, inbound)
    policies.edit_inbound_listener(draft, inbound)
    return encode(LISTENER, name, serialized(hcm.LISTENER, draft))


def _secured(draft: Draft, chain: Draft, inbound: Inbound) -> list[Draft]:
    """The filter chains: TLS only, or, in permissive mode, whatever the client speaks."""
    security = inbound.security
    if security is None:
        return [chain]
    secured = chain | {"transport_socket": downstream_socket(security)}
    if not policies.permissive(inbound):
        return [secured]
    hcm.add_tls_inspector(draft)
    plain = copied(chain) | {"filter_chain_match": {"transport_protocol": "raw_buffer"}}
    foreign = copied(chain) | {"filter_chain_match": {"transport_protocol": "tls"}}
    secured["filter_chain_match"] = {"transport_protocol": "tls", "application_protocols": ["kuma"]}
    return [plain, foreign, secured]


def _filter(inbound: Inbound) -> Draft:
    facts = inbound.facts
    if not is_http(facts.protocol):
        return hcm.tcp_proxy(inbound.cluster_name, inbound.cluster_name, TCP_IDLE_S)
    route = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": inbound.cluster_name,
            "timeout": seconds(REQUEST_S),
            "idle_timeout": seconds(ROUTE_IDLE_S),
        },
    }
    host = contextual("inbound", facts.section) if inbound.unified or not facts.service else facts.service
    routes = hcm.route_config(inbound.route_name, host, [route])
    routes["request_headers_to_remove"] = ["x-kuma-tags"]
    manager = hcm.http_manager(inbound.cluster_name, routes, grpc=facts.protocol == "grpc")
    manager["typed_config"] |= {
        "common_http_protocol_options": {"idle_timeout": seconds(0)},
        "request_headers_timeout": seconds(0),
        "stream_idle_timeout": seconds(STREAM_IDLE_S),
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True},
    }
    return manager
