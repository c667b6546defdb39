"""Virtual addresses and `.mesh` names of services that are known by the tags of inbounds.

Where a mesh still has such services (any `meshServices.mode` but Exclusive), each is reached through
transparent proxying at an address of its own, on port 80, as `<service>.mesh`. Kuma's leader hands the
addresses out and keeps them in the store. Here an address follows from the name, so all replicas and zones
agree without writing anything, and a service that comes back has the one it had; of two names that lead to
the same address (1 in 500 meshes of 1,000 services has any) the later one moves on to the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Network

from xds.config.doors import doors
from xds.config.facts import Pairs, mesh_facts
from xds.config.remote import far_services
from xds.config.services import services_of
from xds.engine import Context, derivation

# 240.0.0.0/4 without the networks of destinations that are resources (241 to 243), and broadcast (255).
NETWORKS = tuple(IPv4Network(f"{first}.0.0.0/8") for first in (240, *range(244, 255)))
_ADDRESSES = sum(network.num_addresses for network in NETWORKS)
PORT = 80
DOMAIN = "mesh"
# No service has a slash in its name.
_DOOR = "door/"


@derivation
def service_vips(ctx: Context, mesh: str, zone: str) -> Pairs:
    """(service, virtual address) of all services of a mesh, those that other zones offer to `zone` among them;
    none where only resources are destinations."""
    return tuple(pair for pair in _vips(ctx, mesh, zone) if not pair[0].startswith(_DOOR))


@derivation
def door_vips(ctx: Context, mesh: str, zone: str) -> Pairs:
    """(host name, virtual address) of all doors to other meshes."""
    found = (pair for pair in _vips(ctx, mesh, zone) if pair[0].startswith(_DOOR))
    return tuple((name.removeprefix(_DOOR), address) for name, address in found)


@derivation
def _vips(ctx: Context, mesh: str, zone: str) -> Pairs:
    """The addresses of services and doors, which share the networks."""
    settings = mesh_facts(ctx, mesh)
    if settings is None:
        return ()
    names = {_DOOR + door.hostname for door in doors(ctx, mesh)}
    if not settings.exclusive:
        far = far_services(ctx, mesh, zone) if zone else ()
        names |= {*services_of(ctx, mesh, False), *far}
    return tuple((name, _address(number)) for name, number in numbers_of(names, _ADDRESSES).items())


def numbers_of(services: Iterable[str], count: int) -> dict[str, int]:
    """A number below `count` for each service, no two the same, as long as there are fewer than `count`."""
    owners: dict[int, str] = {}
    for service in sorted(services):
        number = int.from_bytes(hashlib.sha256(service.encode()).digest()[:8]) % count
        while number in owners:
            number = (number + 1) % count
        owners[number] = service
    return {service: number for number, service in owners.items()}


def _address(number: int) -> str:
    block, rest = divmod(number, NETWORKS[0].num_addresses)
    return str(NETWORKS[block][rest])


def hostnames(service: str) -> tuple[str, ...]:
    """The names of a service: its own, and one with dots, since not every resolver takes underscores."""
    return tuple(dict.fromkeys(f"{name}.{DOMAIN}" for name in (service, service.replace("_", "."))))
