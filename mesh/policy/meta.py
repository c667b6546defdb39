"""Who a resource is, as far as policies care: its key, its labels, and what the labels say.

A policy reaches a proxy by way of three copies of itself: in the zone that wrote it, on the global cluster,
and in other zones.  The copies carry different stored names (a hash is appended), but agree on the *KRI*,
the resource identifier made of the origin's facts: short kind, mesh, zone, namespace and display name.  So
everything here that compares or finds resources does it by KRI and never by stored name.

Zone is part of the identity only for what a zone wrote: a resource of the global cluster is one resource,
wherever it is copied to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

from mesh import naming
from mesh.resource import DISPLAY_NAME, EFFECT, K8S_NAMESPACE, ORIGIN, POLICY_ROLE, ZONE


class Origin(IntEnum):
    """Where a resource was written; the order in which policies give way to each other."""

    GLOBAL = 0
    UNKNOWN = 1
    ZONE = 2


class Role(IntEnum):
    """What a policy's author owns; later roles win over earlier ones."""

    SYSTEM = 1
    PRODUCER = 2
    CONSUMER = 3
    WORKLOAD_OWNER = 4


_ORIGINS = {"global": Origin.GLOBAL, "zone": Origin.ZONE}
_ROLES = {
    "system": Role.SYSTEM,
    "producer": Role.PRODUCER,
    "consumer": Role.CONSUMER,
    "workload-owner": Role.WORKLOAD_OWNER,
}


@dataclass(frozen=True)
class Meta:
    """Key and labels of one resource.  `mesh` is empty for global kinds."""

    kind: str
    mesh: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind, self.mesh, self.name)

    @cached_property
    def display_name(self) -> str:
        """The name that the author gave, before any copy got a hash."""
        return self.labels.get(DISPLAY_NAME) or self.name

    @cached_property
    def origin(self) -> Origin:
        return _ORIGINS.get(self.labels.get(ORIGIN, ""), Origin.UNKNOWN)

    @cached_property
    def role(self) -> Role:
        """Role of a policy; what has no label was written by the mesh operator."""
        return _ROLES.get(self.labels.get(POLICY_ROLE, ""), Role.SYSTEM)

    @cached_property
    def zone(self) -> str:
        """Zone that is part of the identity; empty for what the global cluster wrote."""
        return "" if self.origin is Origin.GLOBAL else self.labels.get(ZONE, "")

    @cached_property
    def namespace(self) -> str:
        return self.labels.get(K8S_NAMESPACE, "")

    @property
    def shadow(self) -> bool:
        """Whether the policy only takes part in what-if configuration."""
        return self.labels.get(EFFECT) == "shadow"

    @cached_property
    def kri(self) -> str:
        """`kri_<short>_<mesh>_<zone>_<namespace>_<name>_`, without a section."""
        return kri(self.kind, self.mesh, self.zone, self.namespace, self.display_name)


def kri(kind: str, mesh: str, zone: str, namespace: str, name: str, section: str = "") -> str:
    """Build a resource identifier.  Global kinds have an empty mesh."""
    short = naming.short_name(kind)
    return naming.kri(short, mesh, name, zone=zone, namespace=namespace, section=section)


def with_section(identifier: str, section: str) -> str:
    """The identifier of one section (a named port, an inbound) of a resource."""
    return identifier[: identifier.rindex("_") + 1] + section
