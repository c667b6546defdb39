"""Envoy resources as bytes, made once and spliced from then on.

Protobuf's repeated fields concatenate: the bytes of a message are the bytes of its fields, one
after the other. So a response is the concatenation of `resources` entries that were framed when
the resource changed, and an assignment of 10,000 endpoints is the concatenation of 10,000
endpoints of which one was encoded anew. Measured: 17 us for a response of 500 clusters where
building the objects takes 1.5 to 5.5 ms; 76 us for the assignment, against 276 ms.

Everything here is byte-identical with the deterministic encoding of the same message as an
object; the tests hold it to that. Field numbers are Envoy's v3 API, which never renumbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any

from xds.proto import msg, serialize
from xds.types import ENDPOINT, Encoded

_VERSION_BYTES = 8
_VARINT = tuple(bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(1 << 14))


def varint(number: int) -> bytes:
    """A non-negative integer in protobuf's base-128 encoding."""
    if number < 1 << 14:
        return _VARINT[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, body: bytes) -> bytes:
    """A length-delimited field (message, string or bytes) with its tag. `number` is below 16."""
    return b"%c%b%b" % (number << 3 | 2, varint(len(body)), body)


def version_of(body: bytes) -> str:
    """The content hash that serves as a resource's version: 16 hex digits."""
    return blake2b(body, digest_size=_VERSION_BYTES).hexdigest()


def encode(type_url: str, name: str, message: Any | bytes) -> Encoded:
    """Encode one resource: its message, or the deterministic bytes of its message."""
    body = message if isinstance(message, bytes) else serialize(message)
    version = version_of(body)
    # Resource{version = 1, resource = 2, name = 3} inside DeltaDiscoveryResponse.resources = 2.
    resource = field(1, version.encode()) + field(2, any_bytes(type_url, body)) + field(3, name.encode())
    return Encoded(name, version, body, field(2, resource))


def any_bytes(type_url: str, body: bytes) -> bytes:
    """The bytes of a google.protobuf.Any. An empty value is absent, as protobuf has it."""
    return field(1, type_url.encode()) + (field(2, body) if body else b"")


def delta_response(
    type_url: str,
    nonce: str,
    resources: Iterable[Encoded],
    removed: Iterable[str] = (),
    control_plane: str = "",
) -> bytes:
    """The bytes of a DeltaDiscoveryResponse."""
    parts = [resource.frame for resource in resources]
    parts.append(field(4, type_url.encode()))
    parts.append(field(5, nonce.encode()))
    parts.extend(field(6, name.encode()) for name in removed)
    if control_plane:
        parts.append(field(7, field(1, control_plane.encode())))
    return b"".join(parts)


def sotw_response(
    type_url: str, version: str, nonce: str, resources: Iterable[Encoded], control_plane: str = ""
) -> bytes:
    """The bytes of a DiscoveryResponse (state of the world)."""
    parts = [field(1, version.encode())]
    parts.extend(field(2, any_bytes(type_url, resource.body)) for resource in resources)
    parts.append(field(4, type_url.encode()))
    parts.append(field(5, nonce.encode()))
    if control_plane:
        parts.append(field(6, field(1, control_plane.encode())))
    return b"".join(parts)


# --- endpoints ---------------------------------------------------------------------------------


def endpoint_frame(lb_endpoint: Any | bytes) -> bytes:
    """One LbEndpoint (message or bytes) as an entry of LocalityLbEndpoints.lb_endpoints."""
    return field(2, lb_endpoint if isinstance(lb_endpoint, bytes) else serialize(lb_endpoint))


def socket_endpoint_frame(address: str, port: int, rest: bytes = b"") -> bytes:
    """The frame of an LbEndpoint at address:port, hand-encoded (0.7 us where objects take 11).

    rest: the bytes of an LbEndpoint with only the fields after `endpoint` (health_status,
    metadata, load_balancing_weight), typically shared by all endpoints with the same tags.
    """
    socket = field(2, address.encode()) + b"\x18" + varint(port)
    # LbEndpoint.endpoint = 1, Endpoint.address = 1, Address.socket_address = 1.
    return field(2, field(1, field(1, field(1, socket))) + rest)


@dataclass(frozen=True)
class LocalityEndpoints:
    """The endpoints of one locality and priority, joined once: unchanged localities cost nothing.

    endpoints: frames made by `endpoint_frame` or `socket_endpoint_frame`.
    weight: load_balancing_weight of the locality; None leaves it out.
    """

    endpoints: tuple[bytes, ...]
    zone: str = ""
    priority: int = 0
    weight: int | None = None
    sub_zone: str = ""

    @cached_property
    def frame(self) -> bytes:
        """This locality as an entry of ClusterLoadAssignment.endpoints."""
        head = _locality_head(self.zone, self.sub_zone)
        tail = _locality_tail(self.weight, self.priority)
        body_length = len(head) + len(tail) + sum(map(len, self.endpoints))
        return b"".join((b"\x12", varint(body_length), head, *self.endpoints, tail))


@lru_cache(maxsize=1024)
def _locality_head(zone: str, sub_zone: str) -> bytes:
    if not zone and not sub_zone:
        return b""
    locality = {"zone": zone, "sub_zone": sub_zone}
    return serialize(msg("envoy.config.endpoint.v3.LocalityLbEndpoints")(locality=locality))


@lru_cache(maxsize=1024)
def _locality_tail(weight: int | None, priority: int) -> bytes:
    fields: dict[str, Any] = {"priority": priority}
    if weight is not None:
        fields["load_balancing_weight"] = {"value": weight}
    return serialize(msg("envoy.config.endpoint.v3.LocalityLbEndpoints")(**fields))


def encode_assignment(
    cluster_name: str, localities: Sequence[LocalityEndpoints], rest: bytes = b""
) -> Encoded:
    """The ClusterLoadAssignment of a cluster, spliced from the frames of its localities.

    rest: bytes of the fields after `endpoints` (policy), usually none.
    """
    body = b"".join((field(1, cluster_name.encode()), *(part.frame for part in localities), rest))
    return encode(ENDPOINT, cluster_name, body)


@lru_cache(maxsize=4096)
def empty_assignment(cluster_name: str) -> Encoded:
    """A service without endpoints. Sent in place of a removal, which Envoy acknowledges and ignores."""
    return encode_assignment(cluster_name, ())
