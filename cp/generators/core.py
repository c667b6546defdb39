"""Which records the generators would write now: follows the view, and does no I/O.

    follow(view, changes)    mark what an event may concern
    step()                   derive some of it; True while there is more
    take(now)                the writes that are due, each with the guard of what it relied on

A generated resource that nobody stands behind any more is kept for a while, marked by a label, as
its proxies may be restarting; policies and clients that name it need not notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from cp.config_schema import Config
from cp.generators import services, workloads
from cp.generators.addresses import Addresses
from cp.generators.limits import GRACE_S, SLICE
from cp.generators.statuses import address_of, found_of, status_of
from mesh import labels as mesh_labels
from mesh.codec import encode_value
from mesh.hostnames import SELECTORS
from mesh.kinds.common import EmptySpec
from mesh.resource import MANAGED_BY, WORKLOAD, Resource, ResourceKey
from mesh.view import Changes, View
from raftstore.types import Absent, Delete, Guard, Key, Put, VersionIs, Write
from xds.engine import DerivationFailed, Engine, Query

LEAVING = "kuma.io/deletion-grace-period-started-at"
"""Since when (Unix seconds) nobody stands behind a generated resource."""

MANAGERS = {"MeshService": services.MANAGER, "Workload": workloads.MANAGER}
KINDS = (*SELECTORS, "Workload")


class Generators:
    """The generators of one zone, on one view."""

    def __init__(self, config: Config, view: View) -> None:
        self._config = config
        self._view = view
        self._engine = Engine(view)
        self._addresses = Addresses()
        self._has_address: dict[ResourceKey, str] = {}
        self._watched: dict[ResourceKey, tuple[Query, ...]] = {}
        self._due: dict[ResourceKey, None] = {}
        self._leaving: dict[ResourceKey, int] = {}
        for kind in KINDS:
            for resource in view.list(kind):
                self._look_at(resource.key)
        for dataplane in view.list("Dataplane"):
            for service in dataplane.spec.services:
                self._look_at(ResourceKey("MeshService", dataplane.mesh, service))
            if WORKLOAD in dataplane.labels:
                self._look_at(ResourceKey("Workload", dataplane.mesh, dataplane.labels[WORKLOAD]))

    def __len__(self) -> int:
        """How many records are looked after."""
        return len(self._watched)

    @property
    def runs(self) -> Counter[str]:
        """How often each derivation ran, by name."""
        return self._engine.runs

    # --- following --------------------------------------------------------------------------------

    def follow(self, view: View, changes: Changes) -> None:
        """Move to a newer view."""
        self._view = view
        self._engine.begin(view, changes)
        for key in changes.keys:
            if key.kind in KINDS:
                self._look_at(key)
        for index_key in changes.index_keys:
            match index_key:
                case "dataplane_by_service", str(mesh), str(service):
                    self._look_at(ResourceKey("MeshService", mesh, service))
                case "by_label", "Dataplane", str(mesh), label, str(value) if label == WORKLOAD:
                    self._look_at(ResourceKey("Workload", mesh, value))

    def step(self) -> bool:
        """Derive a slice. True while there is more."""
        for query in self._engine.step(SLICE):
            self._due[_key_of(query)] = None
        return self._engine.pending

    @property
    def waiting(self) -> bool:
        """Something is to be derived or taken."""
        return bool(self._due) or self._engine.pending

    def next_deadline(self) -> int | None:
        """Unix seconds when something will be due by time alone; None: never."""
        return min(self._leaving.values(), default=None)

    def _look_at(self, key: ResourceKey) -> None:
        self._due[key] = None
        if key not in self._watched:
            self._watched[key] = _queries_of(key)
            for query in self._watched[key]:
                self._engine.watch(query)

    def _forget(self, key: ResourceKey) -> None:
        for query in self._watched.pop(key, ()):
            self._engine.unwatch(query)
        self._addresses.release(key, self._has_address.pop(key, None))
        self._leaving.pop(key, None)

    # --- writing ----------------------------------------------------------------------------------

    def take(self, now_s: int) -> Iterator[tuple[ResourceKey, Write, Guard]]:
        """What is to be written now. Each key is offered once; `again` brings one back."""
        for key, at in self._leaving.items():
            if at <= now_s:
                self._due[key] = None
        due, self._due = self._due, {}
        for key in sorted(due):
            write = self._write(key, now_s)
            if write is not None:
                stored = self._view.get(*key)
                record = Key(*key)
                yield key, write, Absent(record) if stored is None else VersionIs(record, stored.version)

    def again(self, key: ResourceKey) -> None:
        """A write was not applied: somebody was faster, or nobody could write."""
        self._look_at(key)

    def _write(self, key: ResourceKey, now_s: int) -> Write | None:
        stored = self._view.get(*key)
        try:
            wanted = self._wanted(key, stored)
        except DerivationFailed:
            return None  # what is there stays; a change of what it read brings it back
        if wanted is None:
            if stored is None:
                if key.kind != "MeshService" or not self._view.lookup("dataplane_by_service", *key[1:]):
                    self._forget(key)  # otherwise its mesh may want MeshServices one day
                return None
            return self._leave(stored, now_s)
        self._leaving.pop(key, None)
        if stored is not None and (stored.labels, stored.spec, stored.status) == (
            wanted.labels,
            wanted.spec,
            wanted.status,
        ):
            return None
        return Put(Key(*key), encode_value(wanted))

    def _leave(self, stored: Resource, now_s: int) -> Write | None:
        """Mark what nobody stands behind; delete what has been marked for long enough."""
        since = stored.labels.get(LEAVING, "")
        if not since.isdecimal():
            marked = replace(stored, labels={**stored.labels, LEAVING: str(now_s)})
            return Put(Key(*stored.key), encode_value(marked))
        self._leaving[stored.key] = int(since) + GRACE_S
        return Delete(Key(*stored.key)) if int(since) + GRACE_S <= now_s else None

    # --- what is wanted ---------------------------------------------------------------------------

    def _wanted(self, key: ResourceKey, stored: Resource | None) -> Resource | None:
        """The record as it should be; None when it should not be there."""
        made = stored
        if stored is None or self._is_ours(stored):
            made = self._generated(key, stored)
        if made is None or stored is None or key.kind not in SELECTORS:
            return made
        found = self._engine.get(found_of, *key)
        address = self._addresses.claim(key, address_of(stored))
        self._has_address[key] = address
        return replace(made, status=status_of(stored, found, address, local=self._is_local(stored)))

    def _generated(self, key: ResourceKey, stored: Resource | None) -> Resource | None:
        resource = stored or Resource(*key, labels={MANAGED_BY: MANAGERS.get(key.kind, "")})
        if key.kind == "MeshService":
            spec = self._engine.get(services.wanted_service, key.mesh, key.name)
            if spec is None:
                return None
            resource = replace(resource, spec=spec)
        elif key.kind == "Workload":
            status = self._engine.get(workloads.wanted_workload, key.mesh, key.name)
            if status is None:
                return None
            resource = replace(resource, spec=EmptySpec(), status=status)
        else:
            return stored
        if stored is None:
            return replace(resource, labels=self._labels(resource))
        return replace(resource, labels={k: v for k, v in resource.labels.items() if k != LEAVING})

    def _labels(self, resource: Resource) -> dict[str, str]:
        zone = self._config.multizone.zone.name
        computed, _ = mesh_labels.compute(
            resource, mode="zone", zone=zone, federated=self._config.federated, origin_required=False
        )
        return computed

    def _is_ours(self, stored: Resource) -> bool:
        """Whether the generators made it, in this zone."""
        return stored.labels.get(MANAGED_BY) == MANAGERS.get(stored.kind) and self._is_local(stored)

    def _is_local(self, stored: Resource) -> bool:
        return stored.zone in ("", self._config.multizone.zone.name)


def _queries_of(key: ResourceKey) -> tuple[Query, ...]:
    kind, mesh, name = key
    if kind == "Workload":
        return (workloads.wanted_workload.query(mesh, name),)
    found = found_of.query(kind, mesh, name)
    return (services.wanted_service.query(mesh, name), found) if kind == "MeshService" else (found,)


def _key_of(query: Query) -> ResourceKey:
    """The record that a watched result is for."""
    args = [str(each) for each in query.args]
    if query.derivation is services.wanted_service:
        return ResourceKey("MeshService", *args)
    if query.derivation is workloads.wanted_workload:
        return ResourceKey("Workload", *args)
    return ResourceKey(*args)
