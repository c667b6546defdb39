"""The layout of a proxy: its ways in and out, each under the name that Envoy's configuration has for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mesh import naming
from mesh.identity import identity_for, is_ready, spiffe_id
from mesh.policy.destination import resolve
from mesh.policy.proxy import item_of
from mesh.reader import Reader
from mesh.resource import PROTOCOL_TAG, Resource
from mesh.templates import TemplateError

Json = dict[str, Any]

DESTINATION_KINDS = ("MeshService", "MeshExternalService", "MeshMultiZoneService")
_LISTENERS = {"ZoneIngress": "zoneingress", "ZoneEgress": "zoneegress"}


def layout_document(reader: Reader, dataplane: Resource, zone: str) -> Json:
    """The body of `…/dataplanes/<name>/_layout`. `zone` is the local one."""
    networking = dataplane.spec.networking
    document: Json = {
        "kri": naming.kri_of(dataplane),
        "labels": dict(dataplane.labels),
        "inbounds": [_inbound(dataplane, inbound) for inbound in networking.inbound],
        "listeners": [_listener(reader, dataplane, each) for each in networking.listeners if each.type],
        "outbounds": _destinations(reachable(reader, dataplane)),
    }
    identifier = _spiffe_id(reader, dataplane, zone)
    return document | ({"spiffeId": identifier} if identifier else {})


def _inbound(dataplane: Resource, inbound: Any) -> Json:
    return {
        "kri": naming.kri_of(dataplane, inbound.section),
        "port": inbound.port,
        "protocol": inbound.protocol or (inbound.tags or {}).get(PROTOCOL_TAG) or "tcp",
        "proxyResourceName": naming.contextual("inbound", inbound.section),
    }


def _listener(reader: Reader, dataplane: Resource, listener: Any) -> Json:
    section = listener.name or str(listener.port)
    serves = _let_in if listener.type == "ZoneIngress" else _let_out
    return {
        "kri": naming.kri_of(dataplane, section),
        "port": listener.port,
        "type": listener.type,
        "proxyResourceName": naming.contextual(_LISTENERS[listener.type], section),
        "clusters": _destinations(serves(reader, dataplane.mesh)),
    }


def _let_in(reader: Reader, mesh: str) -> Iterator[tuple[Resource, Any]]:
    """What other zones reach through an ingress: the services of this zone, and those of all zones."""
    local = (each for each in reader.list("MeshService", mesh) if each.origin != "global")
    for service in (*local, *reader.list("MeshMultiZoneService", mesh)):
        yield from ((service, port) for port in ports_of(service))


def _let_out(reader: Reader, mesh: str) -> Iterator[tuple[Resource, Any]]:
    """What is reached through an egress."""
    for service in reader.list("MeshExternalService", mesh):
        yield from ((service, port) for port in ports_of(service))


def _spiffe_id(reader: Reader, dataplane: Resource, zone: str) -> str:
    identity = identity_for(reader, dataplane)
    if identity is None or not is_ready(identity):
        return ""
    try:
        return spiffe_id(identity, dataplane, zone)
    except TemplateError:
        return ""  # a proxy that lacks what the template asks for has no identity


def _destinations(reached: Iterable[tuple[Resource, Any]]) -> list[Json]:
    """Ports of destinations by their KRI, which is also what Envoy calls them."""
    found = {naming.kri_of(service, port.section): port for service, port in reached}
    return [
        {
            "kri": kri,
            "port": found[kri].port,
            "protocol": protocol_of(found[kri]),
            "proxyResourceName": kri,
        }
        for kri in sorted(found)
    ]


def protocol_of(port: Any) -> str:
    """What a port of a destination speaks."""
    return str(getattr(port, "app_protocol", None) or getattr(port, "protocol", None) or "tcp")


def reachable(reader: Reader, dataplane: Resource) -> Iterator[tuple[Resource, Any]]:
    """The ports of destinations that a proxy can reach: those its outbounds name, else those that its
    `reachableBackends` name, else all of the mesh."""
    networking = dataplane.spec.networking
    refs = [outbound.backend_ref for outbound in networking.outbound if outbound.backend_ref is not None]
    named = [found for ref in refs for found in _ports_of(reader, dataplane, ref, ref.port)]
    proxying = networking.transparent_proxying
    backends = proxying.reachable_backends if proxying is not None else None
    if named:
        yield from named
    elif backends is not None:
        for ref in backends.refs:
            yield from _ports_of(reader, dataplane, ref, ref.port or 0)
    else:
        for kind in DESTINATION_KINDS:
            for service in reader.list(kind, dataplane.mesh):
                yield from ((service, port) for port in ports_of(service))


def _ports_of(reader: Reader, dataplane: Resource, ref: Any, port: int) -> Iterator[tuple[Resource, Any]]:
    """The port that a reference asks for; all of them when it asks for none that is there."""
    target = {"kind": ref.kind, "name": ref.name, "labels": dict(ref.labels or {})}
    if namespace := getattr(ref, "namespace", ""):
        target["namespace"] = namespace
    for destination in resolve(reader, item_of(dataplane).meta, target):
        service = reader.get(*destination.meta.key)
        if service is not None:
            ports = ports_of(service)
            exact = [each for each in ports if port and each.port == port]
            yield from ((service, each) for each in exact or ports)


class _Match:
    """The one port of an external service, as other destinations have theirs."""

    def __init__(self, match: Any) -> None:
        self.port = match.port
        self.protocol = match.protocol
        self.section = str(match.port)


def ports_of(service: Resource) -> list[Any]:
    """The ports of a destination, each with `port` and `section`."""
    match = getattr(service.spec, "match", None)
    return [_Match(match)] if match is not None else list(service.spec.ports)
