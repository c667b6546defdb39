"""A resource as the rest of the program holds it: identity, labels, typed spec and status.

`spec` is an instance of the kind's `spec_type`, whatever the outer form was (fields inlined at the
top level, or under `spec:`); `mesh.codec` knows the forms.  A Resource is never changed, only
replaced, so it may be shared by any number of views and derivations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DISPLAY_NAME = "kuma.io/display-name"
ENV = "kuma.io/env"
MESH = "kuma.io/mesh"
ORIGIN = "kuma.io/origin"
ZONE = "kuma.io/zone"
POLICY_ROLE = "kuma.io/policy-role"
EFFECT = "kuma.io/effect"
WORKLOAD = "kuma.io/workload"
MANAGED_BY = "kuma.io/managed-by"
KDS_SYNC = "kuma.io/kds-sync"
K8S_NAMESPACE = "k8s.kuma.io/namespace"

SERVICE_TAG = "kuma.io/service"
PROTOCOL_TAG = "kuma.io/protocol"
ZONE_TAG = "kuma.io/zone"


class ResourceKey(NamedTuple):
    """What identifies a resource. `mesh` is "" for kinds of global scope."""

    kind: str
    mesh: str
    name: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource at one version.

    version: the log index that wrote it, 0 while it is not stored.
    created_ms, modified_ms: Unix milliseconds; 0 means unknown and is rendered as the year 1.
    """

    kind: str
    mesh: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: Any = None
    status: Any = None
    version: int = 0
    created_ms: int = 0
    modified_ms: int = 0

    @property
    def key(self) -> ResourceKey:
        return ResourceKey(self.kind, self.mesh, self.name)

    @property
    def display_name(self) -> str:
        """The name at the place where it was written; copies elsewhere carry a suffix."""
        return self.labels.get(DISPLAY_NAME) or self.name

    @property
    def origin(self) -> str:
        """ "global", "zone", or "" when the label is absent."""
        return self.labels.get(ORIGIN, "")

    @property
    def zone(self) -> str:
        """The zone that wrote it, "" for what Global wrote."""
        return self.labels.get(ZONE, "")

    def __hash__(self) -> int:
        return hash((self.kind, self.mesh, self.name, self.version))
