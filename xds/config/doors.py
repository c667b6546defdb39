"""Doors between meshes: listeners of builtin gateways that take members of any mesh (`crossMesh`).

Both sides need certificates: whoever comes through shows one of its own mesh, and the gateway one of its
mesh. So the authorities of other meshes have to be known, which are public: they are read from where each
mesh keeps its own. A door is found by its host name, or by `internal.<gateway>.<mesh>.mesh` without one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mesh.policy.proxy import gateway_for, item_of
from mesh.resource import SERVICE_TAG, ZONE_TAG
from xds.config.endpoints import Endpoint, endpoint_rest
from xds.config.facts import pairs
from xds.config.identity import authority_secret
from xds.encode import socket_endpoint_frame
from xds.engine import Context, derivation
from xds.types import Encoded

ANY_HOST = "*"
ALL_MESHES = "all"
"""In the place of a mesh's name: the authorities of all of them."""


class Door(NamedTuple):
    """A listener of a gateway. service: of the gateway's Dataplanes; gateway: its display name."""

    mesh: str
    service: str
    gateway: str
    hostname: str
    port: int


@derivation
def doors(ctx: Context, mesh: str) -> tuple[Door, ...]:
    """The doors to other meshes, of those that have certificates; one for each host name and port."""
    found: dict[tuple[str, int], Door] = {}
    for resource in ctx.list("Mesh", ""):
        if resource.name != mesh and resource.spec.enabled_ca is not None:
            for door in _doors_of(ctx, resource.name):
                found.setdefault((door.hostname, door.port), door)
    return tuple(sorted(found.values()))


@derivation
def _doors_of(ctx: Context, mesh: str) -> tuple[Door, ...]:
    return tuple(sorted(door for resource in ctx.list("MeshGateway", mesh) for door in _listeners(resource)))


def _listeners(gateway: Any) -> Iterator[Door]:
    """The doors of one MeshGateway. A pattern of host names has no address, so it is none."""
    selectors = gateway.spec.selectors
    service = (selectors[0].match or {}).get(SERVICE_TAG, "") if selectors else ""
    for listener in gateway.spec.conf.listeners if gateway.spec.conf is not None and service else ():
        hostname = listener.hostname
        if hostname in ("", ANY_HOST):
            hostname = f"internal.{gateway.display_name}.{gateway.mesh}.mesh"
        if listener.cross_mesh and ANY_HOST not in hostname:
            yield Door(gateway.mesh, service, gateway.display_name, hostname, listener.port)


@derivation
def door_endpoints(ctx: Context, door: Door, zone: str) -> tuple[Endpoint, ...]:
    """The Dataplanes in a zone that serve a door, and where."""
    found = []
    for key in ctx.lookup("dataplane_by_service", door.mesh, door.service):
        resource = ctx.get("Dataplane", door.mesh, key.name)
        if resource is None or not resource.spec.is_builtin_gateway:
            continue
        networking = resource.spec.networking
        tags = networking.gateway.tags or {}
        served = gateway_for(ctx, item_of(resource).meta, tags)
        place = tags.get(ZONE_TAG, "") or resource.zone
        if served is None or served.meta.display_name != door.gateway or place not in ("", zone):
            continue
        address = networking.advertised_address or networking.address
        frame = socket_endpoint_frame(address, door.port, endpoint_rest((), ()))
        found.append(Endpoint(place, frame, pairs(tags), address, door.port))
    return tuple(found)


# --- authorities ---------------------------------------------------------------------------------


@derivation
def mesh_roots(ctx: Context, mesh: str) -> bytes:
    """The authority of a mesh (PEM); b"" while it is not known. Those in files of a control plane are not."""
    resource = ctx.get("Mesh", "", mesh)
    backend = resource.spec.enabled_ca if resource is not None else None
    if backend is None:
        return b""
    if backend.type == "builtin":
        return _secret(ctx, mesh, f"{mesh}.ca-builtin-cert-{backend.name}")
    given = (backend.conf or {}).get("cert")
    return _source(ctx, mesh, given) if isinstance(given, Mapping) else b""


def _secret(ctx: Context, mesh: str, name: str) -> bytes:
    resource = ctx.get("Secret", mesh, name)
    return b"" if resource is None else bytes(resource.spec.value())


def _source(ctx: Context, mesh: str, given: Mapping[str, Any]) -> bytes:
    if name := given.get("secret"):
        return _secret(ctx, mesh, str(name))
    if text := given.get("inlineString"):
        return str(text).encode()
    try:
        return base64.b64decode(str(given.get("inline") or ""), validate=True)
    except (binascii.Error, ValueError):
        return b""


@derivation
def secured_meshes(ctx: Context) -> tuple[str, ...]:
    """The meshes that have certificates."""
    return tuple(sorted(mesh.name for mesh in ctx.list("Mesh", "") if mesh.spec.enabled_ca is not None))


@derivation
def authorities(ctx: Context, name: str, mesh: str) -> Encoded | None:
    """The secret `name`: the authority of a mesh, or of all (ALL_MESHES). None while none is known."""
    meshes = secured_meshes(ctx) if mesh == ALL_MESHES else (mesh,)
    known = [roots for one in meshes if (roots := mesh_roots(ctx, one))]
    joined = b"".join(roots if roots.endswith(b"\n") else roots + b"\n" for roots in known)
    return authority_secret(name, joined) if joined else None
