"""What policies can see of a proxy: identity, labels, and the places where traffic enters it.

An *endpoint* is such a place: an inbound of a sidecar, a listener of a zone proxy, or a listener of the
builtin gateway that the proxy serves.  Policies are matched per endpoint, since each carries its own tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from mesh.policy.durations import plain
from mesh.policy.limits import ITEMS_KEPT
from mesh.policy.meta import Meta, Origin
from mesh.policy.values import Item
from mesh.reader import Reader
from mesh.resource import Resource


@dataclass(frozen=True)
class Endpoint:
    """One inbound or listener.  `section` is its name, or its port when it has none."""

    address: str
    port: int
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    hostname: str = ""

    @property
    def section(self) -> str:
        return self.name or str(self.port)

    @property
    def socket(self) -> tuple[str, int]:
        return (self.address, self.port)

    def named(self, section: str) -> bool:
        """Whether `section` means this endpoint, by name or by port."""
        return section in (self.name, str(self.port))


@dataclass(frozen=True)
class Proxy:
    """A data-plane proxy as policies see it.  `gateway` is empty, "DELEGATED" or "BUILTIN"."""

    meta: Meta
    endpoints: tuple[Endpoint, ...]
    gateway: str = ""
    gateway_tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    gateway_meta: Meta | None = None

    @property
    def proxy_type(self) -> str:
        return "Gateway" if self.gateway else "Sidecar"


def item_of(resource: Resource) -> Item:
    """A resource with its spec as JSON values, durations in their canonical spelling.

    Converting costs ten times a dictionary read, and each policy is looked at for each proxy; so the last
    conversions are kept, by content.
    """
    if isinstance(resource.spec, Mapping):
        return Item(_meta(resource), resource.spec)
    return _converted(resource)


@lru_cache(maxsize=ITEMS_KEPT)
def _converted(resource: Resource) -> Item:
    return Item(_meta(resource), plain(resource.spec))


def _meta(resource: Resource) -> Meta:
    return Meta(resource.kind, resource.mesh, resource.name, resource.labels)


def proxy_of(reader: Reader, dataplane: Item) -> Proxy:
    """The facts of one Dataplane; for a builtin gateway, together with the MeshGateway that it serves."""
    networking = dataplane.spec.get("networking") or {}
    gateway = networking.get("gateway")
    if gateway is not None:
        tags = gateway.get("tags") or {}
        if gateway.get("type", "DELEGATED") == "BUILTIN":
            served = gateway_for(reader, dataplane.meta, tags)
            return gateway_proxy(dataplane.meta, served, networking.get("address", ""), tags)
        return Proxy(dataplane.meta, (), "DELEGATED", tags)
    return Proxy(dataplane.meta, tuple(_sidecar_endpoints(networking)))


def _sidecar_endpoints(networking: Mapping[str, Any]) -> Iterable[Endpoint]:
    own = networking.get("address", "")
    for inbound in networking.get("inbound") or ():
        address = inbound.get("address") or own
        yield Endpoint(address, inbound["port"], inbound.get("name") or "", inbound.get("tags") or {})
    for listener in networking.get("listeners") or ():
        yield Endpoint(listener.get("address") or own, listener["port"], listener.get("name") or "")


def gateway_proxy(meta: Meta, gateway: Item | None, address: str, tags: Mapping[str, str]) -> Proxy:
    """A proxy that serves a builtin gateway; `gateway` is None while no MeshGateway selects it."""
    if gateway is None:
        return Proxy(meta, (), "BUILTIN", tags)
    spec = gateway.spec
    common = {**(spec.get("tags") or {}), **tags}
    endpoints = tuple(
        Endpoint(
            address,
            listener["port"],
            tags={**common, **(listener.get("tags") or {})},
            hostname=listener.get("hostname") or "*",
        )
        for listener in (spec.get("conf") or {}).get("listeners") or ()
    )
    return Proxy(meta, endpoints, "BUILTIN", tags, gateway.meta)


def gateway_for(reader: Reader, proxy: Meta, tags: Mapping[str, str]) -> Item | None:
    """The MeshGateway that selects these tags most precisely; among equals the first by name."""
    best: tuple[int, Item] | None = None
    for stored in sorted(reader.list("MeshGateway", proxy.mesh), key=lambda stored: stored.name):
        gateway = item_of(stored)
        if not same_zone(gateway.meta, proxy):
            continue
        weight = _selector_weight(gateway.spec.get("selectors") or (), tags)
        if weight is not None and (best is None or weight > best[0]):
            best = (weight, gateway)
    return best[1] if best else None


def _selector_weight(selectors: Sequence[Mapping[str, Any]], tags: Mapping[str, str]) -> int | None:
    weights = [len(match) for selector in selectors if has_tags(match := selector.get("match") or {}, tags)]
    return max(weights, default=None)


def has_tags(wanted: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    """Whether all wanted tags are there; the value `*` stands for any."""
    return all(key in tags and value in ("*", tags[key]) for key, value in wanted.items())


def same_zone(resource: Meta, proxy: Meta) -> bool:
    """Whether a resource that one zone wrote is for a proxy of that zone.  Unlabelled ones are for all."""
    if resource.origin is not Origin.ZONE or not resource.zone or not proxy.zone:
        return True
    return resource.zone == proxy.zone
