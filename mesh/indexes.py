"""The secondary indexes of the view, in one table.

An index maps parts (strings) to the keys of resources.  Its rule computes, from one resource alone,
the parts under which that resource is found.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mesh.resource import SERVICE_TAG, Resource

Parts = tuple[str, ...]
Rule = Callable[[Resource], Iterable[Parts]]

SERVICE_SHARDS = tuple(f"{number:02d}" for number in range(64))
"""Parts of "dataplane_by_service_shard": to know all services of a mesh, without looking at all proxies for each
that joins."""


@dataclass(frozen=True, slots=True)
class Index:
    """parts: what `lookup` takes, in order. kinds: which kinds it covers; None is all."""

    name: str
    parts: Parts
    kinds: frozenset[str] | None
    rule: Rule


def _by_tag(dataplane: Resource) -> Iterable[Parts]:
    for tags in dataplane.spec.tag_sets:
        for tag, value in tags.items():
            yield dataplane.mesh, tag, value


def _by_service(dataplane: Resource) -> Iterable[Parts]:
    for tags in dataplane.spec.tag_sets:
        service = tags.get(SERVICE_TAG)
        if service:
            yield dataplane.mesh, service


def _by_service_shard(dataplane: Resource) -> Iterable[Parts]:
    for service in dataplane.spec.services:
        yield dataplane.mesh, SERVICE_SHARDS[zlib.crc32(service.encode()) % len(SERVICE_SHARDS)]


def _by_label(resource: Resource) -> Iterable[Parts]:
    for label, value in resource.labels.items():
        yield resource.kind, resource.mesh, label, value


def _by_display_name(resource: Resource) -> Iterable[Parts]:
    yield resource.kind, resource.mesh, resource.display_name


def _by_zone(resource: Resource) -> Iterable[Parts]:
    if resource.zone:
        yield resource.kind, resource.zone


_LABELLED = frozenset(
    {"Dataplane", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute"}
)
_NAMED = _LABELLED | {"MeshTCPRoute", "MeshIdentity", "MeshTrust", "MeshGateway", "MeshOpenTelemetryBackend"}
_DATAPLANE = frozenset({"Dataplane"})
_ZONED = frozenset({"Dataplane", "ZoneIngress", "ZoneEgress", "MeshService", "MeshZoneAddress"})

INDEXES: Mapping[str, Index] = MappingProxyType(
    {
        index.name: index
        for index in (
            Index("dataplane_by_tag", ("mesh", "tag", "value"), _DATAPLANE, _by_tag),
            Index("dataplane_by_service", ("mesh", "service"), _DATAPLANE, _by_service),
            Index("dataplane_by_service_shard", ("mesh", "shard"), _DATAPLANE, _by_service_shard),
            Index("by_label", ("kind", "mesh", "label", "value"), _LABELLED, _by_label),
            Index("by_display_name", ("kind", "mesh", "name"), _NAMED, _by_display_name),
            Index("by_zone", ("kind", "zone"), _ZONED, _by_zone),
        )
    }
)


def entries(resource: Resource) -> frozenset[tuple[str, ...]]:
    """All index keys under which a resource is found: (index name, *parts)."""
    return frozenset(
        (index.name, *parts)
        for index in INDEXES.values()
        if index.kinds is None or resource.kind in index.kinds
        for parts in index.rule(resource)
    )
