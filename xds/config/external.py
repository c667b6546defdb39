"""MeshExternalService: destinations outside the mesh, and the zone's egress that leads there.

Sidecars do not reach them themselves: they ask the egress of their zone, by server name, and the
egress, which knows who asks, opens the connection, with TLS of the outside world if need be.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mesh.resource import ZONE_TAG
from xds.config import cluster, policies
from xds.config.confs import KindConfs
from xds.config.draft import Draft, Fields, named, serialized, socket_address, wrapped
from xds.config.endpoints import LB_METADATA, SOCKET_METADATA, Endpoint, endpoint_rest
from xds.config.facts import Pairs, dataplane_facts, destination
from xds.config.remote import detour
from xds.config.spiffe import spiffe_of
from xds.config.tls import SOCKET, TLS
from xds.encode import encode, socket_endpoint_frame
from xds.engine import Context, derivation
from xds.types import CLUSTER, Encoded

SYSTEM_CAS = "/etc/ssl/certs/ca-certificates.crt"
_VERSIONS = {
    "TLSAuto": "TLS_AUTO",
    "TLS10": "TLSv1_0",
    "TLS11": "TLSv1_1",
    "TLS12": "TLSv1_2",
    "TLS13": "TLSv1_3",
}


# What a ZoneEgress says it is to the proxies of a mesh.
EGRESS_SERVICE = "zone-egress"

# --- the egress of a zone ------------------------------------------------------------------------


@derivation
def egresses(ctx: Context, mesh: str, zone: str) -> tuple[tuple[str, str, int], ...]:
    """(Dataplane, address, port) of each ready egress of a mesh in a zone."""
    found = []
    for key in ctx.lookup("by_label", "Dataplane", mesh, "kuma.io/listener-zoneegress", "enabled"):
        facts = dataplane_facts(ctx, mesh, key.name)
        if facts is None or zone not in ("", facts.zone):
            continue
        for listener in facts.listeners:
            if listener.kind == "ZoneEgress" and listener.ready:
                found.append((key.name, listener.address, listener.port))
    return tuple(found)


@derivation
def egress_ids(ctx: Context, mesh: str, zone: str) -> tuple[str, ...]:
    """SPIFFE IDs that the egresses of a zone may present."""
    names = dict.fromkeys(name for name, _, _ in egresses(ctx, mesh, zone))
    found = (spiffe_of(ctx, mesh, name, zone) for name in names)
    return tuple(dict.fromkeys(identity.spiffe_id for identity in found if identity is not None))


@derivation
def external_endpoints(ctx: Context, mesh: str, name: str, zone: str) -> tuple[Endpoint, ...]:
    """Where a sidecar in a zone reaches an external service: at the egresses of that zone.

    Those of the mesh come before those of all meshes.
    """
    facts = destination(ctx, "MeshExternalService", mesh, name)
    if facts is None:
        return ()
    rest = endpoint_rest(facts.labels, ())
    place = dict(facts.labels).get(ZONE_TAG, "") or zone
    exits = tuple((address, port) for _, address, port in egresses(ctx, mesh, zone))
    return tuple(
        Endpoint(place, socket_endpoint_frame(address, port, rest), facts.labels, address, port)
        for address, port in exits or detour(ctx, mesh, zone)
    )


# --- the way out ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class External:
    """Everything that the cluster of an external service depends on, but for its secrets.

    endpoints: (address, port, priority). name: of the cluster; service: stored name.
    """

    name: str
    mesh: str
    service: str
    protocol: str
    ipv6: bool
    system_ca: str = ""
    confs: KindConfs = ()
    told_tags: Pairs = ()


@derivation
def external_cluster(ctx: Context, external: External) -> Encoded | None:
    """The cluster through which an egress reaches an external service."""
    resource = ctx.get("MeshExternalService", external.mesh, external.service)
    facts = destination(ctx, "MeshExternalService", external.mesh, external.service)
    if resource is None or facts is None:
        return None
    endpoints = resource.spec.endpoints or ()
    static = all(_is_address(endpoint.address) for endpoint in endpoints)
    draft = cluster.base(external.name, "STATIC" if static else "STRICT_DNS")
    if not static and not external.ipv6:
        draft["dns_lookup_family"] = "V4_ONLY"
    draft["load_assignment"] = {
        "cluster_name": external.name,
        "endpoints": list(_priorities(endpoints, facts.labels)),
    }
    if external.protocol in ("http", "http2", "grpc"):
        cluster.set_http_version(draft, http2=external.protocol != "http")
    if resource.spec.tls is not None and resource.spec.tls.enabled:
        first = endpoints[0].address if endpoints else ""
        draft["transport_socket"] = _socket(ctx, external, resource.spec.tls, first)
    policies.edit_external(draft, external)
    return encode(CLUSTER, external.name, serialized(cluster.CLUSTER, draft))


def _is_address(address: str) -> bool:
    if address.startswith(("/", "unix://")):
        return True
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _priorities(endpoints: Any, labels: Pairs) -> Iterator[Draft]:
    by_priority: dict[int, list[Draft]] = {}
    for endpoint in endpoints:
        draft: Draft = {
            "endpoint": {"address": socket_address(endpoint.address, endpoint.port)},
            "load_balancing_weight": wrapped(1),
        }
        if labels:
            tags = Fields(dict(labels))
            draft["metadata"] = {"filter_metadata": {LB_METADATA: tags, SOCKET_METADATA: tags}}
        by_priority.setdefault(endpoint.priority or 0, []).append(draft)
    for priority in sorted(by_priority):
        # The egress is a zone away from nobody, but Kuma counts priorities from one here.
        yield {
            "lb_endpoints": by_priority[priority],
            "locality": {"sub_zone": f"priority-{priority}"},
            "priority": priority + 1,
        }


# --- TLS of the outside world --------------------------------------------------------------------


def _socket(ctx: Context, external: External, tls: Any, first_address: str) -> Draft:
    context: Draft = {}
    if tls.version is not None:
        context["tls_params"] = {
            "tls_minimum_protocol_version": _VERSIONS[tls.version.min],
            "tls_maximum_protocol_version": _VERSIONS[tls.version.max],
        }
    if external.protocol in ("http2", "grpc"):
        context["alpn_protocols"] = ["h2"]
    server_name = (tls.verification.server_name if tls.verification else None) or first_address
    _verification(ctx, context, external, tls.verification, server_name)
    fields: Draft = {"common_tls_context": context}
    if not _is_address(server_name):
        fields["sni"] = server_name
    if tls.allow_renegotiation:
        fields["allow_renegotiation"] = True
    return named(SOCKET, TLS + "UpstreamTlsContext", fields)


def _verification(ctx: Context, context: Draft, external: External, found: Any, server_name: str) -> None:
    if found is not None and found.client_cert is not None and found.client_key is not None:
        context["tls_certificates"] = [
            {
                "certificate_chain": source(ctx, external.mesh, found.client_cert),
                "private_key": source(ctx, external.mesh, found.client_key),
            }
        ]
    mode = found.mode if found is not None else "Secured"
    if mode in ("SkipAll", "SkipCA"):
        return  # names alone prove nothing, and Envoy refuses to check them without an authority
    ca = found.ca_cert if found is not None else None
    trusted = {"filename": external.system_ca or SYSTEM_CAS} if ca is None else source(ctx, external.mesh, ca)
    context["validation_context"] = {"trusted_ca": trusted}
    if mode != "SkipSAN":
        names = (found.subject_alt_names if found is not None else None) or ()
        context["validation_context"]["match_typed_subject_alt_names"] = _names(names, server_name)


def _names(names: Any, server_name: str) -> list[Draft]:
    """Who has to answer: one of some names, else the server that is asked for."""
    matchers = [{("prefix" if san.type == "Prefix" else "exact"): san.value} for san in names]
    matchers = matchers or [{"exact": server_name}]
    kinds = ("DNS", "IP_ADDRESS") if not names else ("DNS", "URI", "IP_ADDRESS")
    return [{"san_type": kind, "matcher": matcher} for matcher in matchers for kind in kinds]


def source(ctx: Context, mesh: str, data: Any) -> Draft:
    """An Envoy DataSource with the bytes that a policy's data source names."""
    if data.secret:
        secret = ctx.get("Secret", mesh, data.secret)
        return {"inline_bytes": secret.spec.value() if secret is not None else b""}
    if data.inline_string is not None:
        return {"inline_string": data.inline_string}
    if data.inline is not None:
        return {"inline_bytes": _base64(data.inline)}
    return {"filename": data.file or ""}


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""
