"""What has to hold of a ZoneIngress and a ZoneEgress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.errors import FieldError
from mesh.kinds.checks import common
from mesh.kinds.checks.common import Errors
from mesh.reader import Reader
from mesh.resource import Resource

if TYPE_CHECKING:
    from mesh.kinds.zoneproxy import EgressNetworking, IngressNetworking, ZoneEgress, ZoneIngress

_LOCAL = frozenset({"127.0.0.1", "0.0.0.0", "::", "::1"})


def validate_ingress(resource: Resource, reader: Reader) -> Errors:
    ingress: ZoneIngress = resource.spec
    networking = ingress.networking
    if networking is None:
        yield FieldError("networking", "must be defined")
    else:
        yield from common.port("networking.port", networking.port)
        yield from _advertised(networking)
        yield from _address(networking.address)
        yield from _admin(networking)
    for position, service in enumerate(ingress.available_services):
        # Singular: what clients see, and have to match.
        path = f"availableService[{position}].tags"
        yield from common.service_tag(path, service.tags)
        yield from common.tag_set(path, service.tags or {})


def _advertised(networking: IngressNetworking) -> Errors:
    address, port = networking.advertised_address, networking.advertised_port
    if address and not port:
        yield FieldError("networking.advertisedAddress", "has to be defined with advertisedPort")
    if port and not address:
        yield FieldError("networking.advertisedPort", "has to be defined with advertisedAddress")
    if address:
        yield from common.address("networking.advertisedAddress.address", address)
    if port:
        yield from common.port("networking.advertisedPort", port)


def _address(address: str) -> Errors:
    """Where a zone proxy listens: every address of its host is allowed, none means the same."""
    if address and not common.is_ip(address) and not common.is_dns_name(address):
        yield FieldError("networking.address", common.NOT_IP_OR_NAME)


def _admin(networking: IngressNetworking | EgressNetworking) -> Errors:
    admin = networking.admin.port if networking.admin else None
    if admin and admin == networking.port and networking.address in _LOCAL:
        yield FieldError("networking.admin.port", "must differ from port")


def validate_egress(resource: Resource, reader: Reader) -> Errors:
    egress: ZoneEgress = resource.spec
    if egress.networking is None:
        yield FieldError("networking", "must be defined")
        return
    yield from common.port("networking.port", egress.networking.port)
    yield from _address(egress.networking.address)
    yield from _admin(egress.networking)
