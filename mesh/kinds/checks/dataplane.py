"""What has to hold of a Dataplane."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mesh.dnsnames import is_1123_subdomain
from mesh.durations import duration_ns
from mesh.errors import FieldError
from mesh.kinds.checks import common
from mesh.kinds.checks.common import Errors
from mesh.kinds.checks.membership import membership
from mesh.reader import Reader
from mesh.resource import PROTOCOL_TAG, SERVICE_TAG, WORKLOAD, Resource

if TYPE_CHECKING:
    from mesh.kinds.dataplane import (
        BackendRef,
        Dataplane,
        Gateway,
        Inbound,
        Listener,
        Networking,
        Outbound,
        Probes,
        ReachableRef,
        ServiceProbe,
    )

_LOOPBACK = "127.0.0.1"
_BACKEND_KINDS = ("MeshExternalService", "MeshMultiZoneService", "MeshService")
_BAD_BACKEND_KIND = f"invalid value. Available values are: {','.join(_BACKEND_KINDS)}"
_BAD_NAME = (
    "invalid characters. A lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
    "'-' or '.', and must start and end with an alphanumeric character"
)
_POSITIVE = "must have a positive value"


def validate(resource: Resource, reader: Reader) -> Errors:
    dataplane: Dataplane = resource.spec
    networking = dataplane.networking
    if networking is None:
        yield FieldError("networking", "must be defined")
        return
    yield from _admin(networking)
    yield from common.address("networking.address", networking.address)
    if networking.gateway is None:
        by_labels = WORKLOAD in resource.labels
        for position, inbound in enumerate(networking.inbound):
            yield from _inbound(f"networking.inbound[{position}]", inbound, networking, by_labels)
    else:
        yield from _gateway(dataplane, networking, networking.gateway)
    if networking.gateway is None or not networking.gateway.is_builtin:
        for position, outbound in enumerate(networking.outbound):
            yield from _outbound(f"networking.outbound[{position}]", outbound)
    yield from _listeners(networking)
    yield from _reachable_backends(networking)
    yield from _metrics(dataplane)
    if dataplane.probes is not None:
        yield from _probes(dataplane.probes)
    mesh = reader.get("Mesh", "", resource.mesh)
    if mesh is not None:
        yield from membership(resource.mesh, mesh.spec, dataplane)


# --- the admin port collides with nothing ------------------------------------------------


def _admin(networking: Networking) -> Errors:
    port = networking.admin.port if networking.admin else None
    if not port:
        return
    if any(_overlaps(port, pair) for i in networking.inbound for pair in _addresses(i, networking)):
        yield FieldError("networking.admin.port", "must differ from inbound")
    if any(_overlaps(port, (o.address or _LOOPBACK, o.port)) for o in networking.outbound):
        yield FieldError("networking.admin.port", "must differ from outbound")


def _addresses(inbound: Inbound, networking: Networking) -> Iterator[tuple[str, int]]:
    """Where the proxy listens for an inbound, and where the application does."""
    yield inbound.address or networking.address, inbound.port
    yield inbound.service_address or _LOOPBACK, inbound.service_port or inbound.port


def _overlaps(admin_port: int, pair: tuple[str, int]) -> bool:
    address, port = pair
    if port != admin_port:
        return False
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return ip.is_unspecified or address == _LOOPBACK


# --- gateways ----------------------------------------------------------------------------


def _gateway(dataplane: Dataplane, networking: Networking, gateway: Gateway) -> Errors:
    kind = "builtin" if gateway.is_builtin else "delegated"
    forbidden = [("inbound", networking.inbound)]
    if gateway.is_builtin:
        forbidden.append(("outbound", networking.outbound))  # type: ignore[arg-type]
        forbidden.append(("probes", (dataplane.probes,) if dataplane.probes else ()))  # type: ignore[arg-type]
    forbidden.append(("listeners", networking.listeners))  # type: ignore[arg-type]
    for name, present in forbidden:
        if present:
            yield FieldError(f"networking.{name}", f"{name} cannot be defined for {kind} gateways")
    tags = gateway.tags or {}
    yield from common.service_tag("networking.gateway.tags", tags)
    protocol = tags.get(PROTOCOL_TAG, "tcp")
    if protocol != "tcp":
        where = common.key("networking.gateway.tags", PROTOCOL_TAG)
        yield FieldError(where, f'other values than tcp are not allowed, provided value "{protocol}"')
    yield from common.tag_set("networking.gateway.tags", tags)


# --- inbounds ----------------------------------------------------------------------------


def _inbound(path: str, inbound: Inbound, networking: Networking, by_labels: bool) -> Errors:
    """by_labels: services select the proxy by its labels, so that tags are not needed."""
    yield from common.port(f"{path}.port", inbound.port)
    if inbound.service_port:
        yield from common.port(f"{path}.servicePort", inbound.service_port)
    if inbound.service_address:
        yield from _service_address(path, inbound, networking)
    if inbound.address and not common.is_ip(inbound.address):
        yield FieldError(f"{path}.address", common.NOT_IP)
    tags = inbound.tags or {}
    if SERVICE_TAG not in tags and not by_labels:
        yield FieldError(common.key(f"{path}.tags", SERVICE_TAG), "tag has to exist")
    protocol = tags.get(PROTOCOL_TAG)
    if protocol is not None and protocol not in common.PROTOCOLS:
        allowed = ", ".join(common.PROTOCOLS)
        message = f'tag "{PROTOCOL_TAG}" has an invalid value "{protocol}". Allowed values: {allowed}'
        yield FieldError(common.key(f"{path}.tags", PROTOCOL_TAG), message)
    yield from common.tag_set(f"{path}.tags", tags)
    if inbound.service_probe is not None:
        yield from _service_probe(f"{path}.serviceProbe", inbound.service_probe)


def _service_address(path: str, inbound: Inbound, networking: Networking) -> Errors:
    where = f"{path}.serviceAddress"
    if not common.is_ip(inbound.service_address):
        yield FieldError(where, "serviceAddress has to be valid IP address")
    same_address = inbound.service_address == (inbound.address or networking.address)
    if same_address and inbound.service_port in (0, inbound.port):
        yield FieldError(where, "serviceAddress and servicePort has to differ from address and port")


def _service_probe(path: str, probe: ServiceProbe) -> Errors:
    for name, duration in (("interval", probe.interval), ("timeout", probe.timeout)):
        if duration is not None and duration_ns(duration) <= 0:
            yield FieldError(f"{path}.{name}", _POSITIVE)
    thresholds = (
        ("unhealthyThreshold", probe.unhealthy_threshold),
        ("healthyThreshold", probe.healthy_threshold),
    )
    for name, threshold in thresholds:
        if threshold == 0:
            yield FieldError(f"{path}.{name}", _POSITIVE)


# --- outbounds and reachable backends ----------------------------------------------------


def _outbound(path: str, outbound: Outbound) -> Errors:
    yield from common.port(f"{path}.port", outbound.port)
    if outbound.address and not common.is_ip(outbound.address):
        yield FieldError(f"{path}.address", common.NOT_IP)
    if outbound.backend_ref is None:
        yield from common.service_tag(f"{path}.tags", outbound.tags)
        yield from common.tag_set(f"{path}.tags", outbound.tags or {})
        return
    if outbound.tags:
        yield FieldError(f"{path}.backendRef", "both backendRef and tags/service cannot be defined")
    yield from _backend_ref(f"{path}.backendRef", outbound.backend_ref)


def _backend_ref(path: str, ref: BackendRef) -> Errors:
    if ref.kind not in _BACKEND_KINDS:
        yield FieldError(f"{path}.kind", _BAD_BACKEND_KIND)
    if bool(ref.name) == bool(ref.labels):
        yield FieldError(path, "either 'name' or 'labels' should be specified")
    yield from common.port(f"{path}.port", ref.port)


def _reachable_backends(networking: Networking) -> Errors:
    proxying = networking.transparent_proxying
    if proxying is None or proxying.reachable_backends is None:
        return
    for position, ref in enumerate(proxying.reachable_backends.refs):
        # The misspelling is what clients see, and have to match.
        yield from _reachable_ref(f"networking.transparentProxing.reachableBackends.refs[{position}]", ref)


def _reachable_ref(path: str, ref: ReachableRef) -> Errors:
    if ref.kind not in _BACKEND_KINDS:
        yield FieldError(f"{path}.kind", _BAD_BACKEND_KIND)
    if ref.name and ref.labels:
        yield FieldError(f"{path}.labels", "labels cannot be defined when name is specified")
    if ref.name and not is_1123_subdomain(ref.name):
        yield FieldError(f"{path}.name", _BAD_NAME)
    if not ref.name and ref.namespace:
        yield FieldError(f"{path}.name", "name is required, when namespace is defined")
    elif not ref.name and not ref.labels:
        yield FieldError(f"{path}.name", "name or labels are required")


# --- zone proxy listeners ----------------------------------------------------------------


def _listeners(networking: Networking) -> Errors:
    inbound_places = {(i.address or networking.address, i.port) for i in networking.inbound}
    places: dict[tuple[str, int], Listener] = {}
    names = {inbound.name for inbound in networking.inbound if inbound.name}
    for position, listener in enumerate(networking.listeners):
        path = f"networking.listeners[{position}]"
        yield from chain(
            common.address(f"{path}.address", listener.address), common.port(f"{path}.port", listener.port)
        )
        if listener.name:
            if listener.name in names:
                message = f'name "{listener.name}" must be unique across inbounds and listeners'
                yield FieldError(f"{path}.name", message)
            names.add(listener.name)
        yield from _place(path, listener, places, inbound_places)


def _place(
    path: str,
    listener: Listener,
    places: dict[tuple[str, int], Listener],
    inbound_places: set[tuple[str, int]],
) -> Errors:
    if not listener.address or not listener.port:
        return
    place = (listener.address, listener.port)
    where = f"address:port {listener.address}:{listener.port}"
    if place in inbound_places:
        yield FieldError(path, f"{where} collides with an inbound listener")
    other = places.setdefault(place, listener)
    if other is not listener:
        different = other.type != listener.type
        rest = (
            "is used by listeners of different types" if different else "is already used by another listener"
        )
        yield FieldError(path, f"{where} {rest}")


# --- metrics and probes ------------------------------------------------------------------


def _metrics(dataplane: Dataplane) -> Errors:
    metrics = dataplane.metrics
    if metrics is None:
        return
    if metrics.type != "prometheus":
        yield FieldError("metrics.type", 'unknown backend type. Available backends: "prometheus"')
        return
    yield from common.aggregate("metrics.conf", metrics.conf)


def _probes(probes: Probes) -> Errors:
    yield from common.port("probes.port", probes.port)
    for position, endpoint in enumerate(probes.endpoints):
        path = f"probes.endpoints[{position}]"
        yield from common.port(f"{path}.inboundPort", endpoint.inbound_port)
        yield from _url_path(f"{path}.inboundPath", endpoint.inbound_path)
        yield from _url_path(f"{path}.path", endpoint.path)


def _url_path(where: str, text: str) -> Errors:
    if not text.startswith("/") or any(ord(c) <= 32 or ord(c) == 127 for c in text) or not _splits(text):
        yield FieldError(where, "should be a valid URL Path")


def _splits(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True
