"""What has to hold of a MeshGateway: each listener by itself, and listeners that share a port."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mesh.dnsnames import is_1123_subdomain
from mesh.errors import FieldError
from mesh.kinds.checks import common
from mesh.kinds.checks.common import Errors
from mesh.limits import HOSTNAME_CHARS_MAX
from mesh.reader import Reader
from mesh.resource import SERVICE_TAG, Resource

if TYPE_CHECKING:
    from mesh.kinds.meshgateway import Listener, MeshGateway, Tls

_EMPTY = "cannot be empty"
_WILDCARD = "*"
_CROSS_MESH_PROTOCOLS = ("HTTP", "HTTPS")
_TLS_PROTOCOLS = ("HTTPS", "TLS")


def validate(resource: Resource, reader: Reader) -> Errors:
    gateway: MeshGateway = resource.spec
    if not gateway.selectors:
        yield FieldError("selectors", "must have at least one element")
    for position, selector in enumerate(gateway.selectors):
        if position > 0:
            yield FieldError(f"selectors[{position}]", "there can be at most one selector")
        yield from common.tag_rule(f"selectors[{position}].match", selector.match)
    yield from _tags("tags", gateway.tags)
    if gateway.conf is None or not gateway.conf.listeners:
        yield FieldError("conf" if gateway.conf is None else "conf.listeners", _EMPTY)
        return
    for position, listener in enumerate(gateway.conf.listeners):
        yield from _listener(f"conf.listeners[{position}]", listener)
    yield from _shared_ports(gateway.conf.listeners)


def _tags(path: str, tags: dict[str, str] | None) -> Errors:
    for name in sorted(tags or {}):
        if name == SERVICE_TAG:
            yield FieldError(common.key(path, name), f'tag name must not be "{SERVICE_TAG}"')
    yield from common.tag_set(path, tags or {})


def _listener(path: str, listener: Listener) -> Errors:
    yield from common.port(f"{path}.port", listener.port)
    protocol = listener.protocol
    if protocol == "NONE":
        yield FieldError(f"{path}.protocol", _EMPTY)
    if listener.cross_mesh and protocol not in (*_CROSS_MESH_PROTOCOLS, "NONE"):
        yield FieldError(f"{path}.protocol", "protocol is not supported with crossMesh")
    if listener.hostname:
        yield from _hostname(f"{path}.hostname", listener.hostname)
    if listener.tls is not None:
        yield from _tls(f"{path}.tls", listener.tls, protocol)
    elif protocol in _TLS_PROTOCOLS and not listener.cross_mesh:
        yield FieldError(f"{path}.tls", _EMPTY)
    yield from _tags(f"{path}.tags", listener.tags)


def _tls(path: str, tls: Tls, protocol: str) -> Errors:
    mode = tls.mode
    if mode == "NONE":
        yield FieldError(f"{path}.mode", _EMPTY)
    elif mode == "PASSTHROUGH" and protocol == "HTTPS":
        yield FieldError(f"{path}.mode", "mode is not supported on HTTPS listeners")
    if mode == "PASSTHROUGH" and tls.certificates:
        yield FieldError(f"{path}.certificates", "must be empty in TLS passthrough mode")
    if mode == "TERMINATE" and not tls.certificates:
        yield FieldError(f"{path}.certificates", "cannot be empty in TLS termination mode")


def _hostname(path: str, hostname: str) -> Errors:
    if hostname == _WILDCARD:
        return
    if len(hostname) > HOSTNAME_CHARS_MAX:
        yield FieldError(path, f"must be at most {HOSTNAME_CHARS_MAX} characters")
        return
    name = hostname.removeprefix("*.")
    if _WILDCARD in name:
        yield FieldError(path, "invalid wildcard domain")
    elif not is_1123_subdomain(name):
        yield FieldError(path, "invalid wildcard domain" if name != hostname else "invalid hostname")


def _shared_ports(listeners: tuple[Listener, ...]) -> Errors:
    """Listeners of one port share a protocol and a connection limit, and differ in host name."""
    by_port: dict[int, list[tuple[int, Listener]]] = defaultdict(list)
    for position, listener in enumerate(listeners):
        by_port[listener.port].append((position, listener))
    for group in by_port.values():
        first = group[0][1]
        hostnames: set[str] = set()
        limits = {listener.resources.connection_limit for _, listener in group if listener.resources}
        for position, listener in group:
            path = f"conf.listeners[{position}]"
            if listener.protocol != first.protocol:
                yield FieldError(path, "protocol conflicts with other listeners on this port")
            hostname = listener.hostname or _WILDCARD
            if hostname in hostnames:
                yield FieldError(path, "multiple listeners for hostname on this port")
            hostnames.add(hostname)
            if len(limits) > 1 and listener.resources is not None:
                message = "conflicting values for this port"
                yield FieldError(f"{path}.resources.connectionLimit", message)
