"""From what a client wants to what the log is asked: a pure function of a view.

`plan` takes a view and operations and gives guards, writes and what would be there after.
Each operation is checked against the state that the ones before it left, meshes first, so one
transaction may create a mesh and everything in it, in whatever order that is written down. What
the checks relied on becomes a guard: whoever changes it in between makes the transaction fail,
and it is planned anew.

The order of checks, and so which of several faults is reported, is Kuma's: the mesh
exists, the document decodes, it says what the URL says, its labels, its meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypedDict

from cp.config_schema import Config
from cp.fielddiff import without_secrets
from cp.problems import Problem, bad_request, not_found, not_valid
from cp.roles import ROLE_KINDS, Edit
from mesh import labels as mesh_labels
from mesh.codec import DEFAULT_MESH, decode, encode_value, to_document
from mesh.defaults import default_policies
from mesh.errors import BadRequest, FieldError, Invalid
from mesh.labels import Mode
from mesh.limits import NAME_CHARS_MAX
from mesh.registry import KINDS, Kind
from mesh.resource import Resource, ResourceKey
from mesh.validate import validate, validate_delete, warnings
from mesh.view import Change, View
from raftstore.types import (
    Absent,
    AbsentScope,
    Delete,
    DeleteScope,
    Exists,
    Guard,
    Key,
    Put,
    Scope,
    VersionIs,
    Write,
)

PROCESS = "Could not process a resource"
DATAPLANES_LEFT = FieldError("mesh", "unable to delete mesh, there are still some dataplanes attached")


@dataclass(frozen=True, slots=True)
class Expect:
    """What the client says must be there: a version (If-Match), nothing (If-None-Match: *), or
    something (If-Match: *). The default expects nothing in particular."""

    version: int | None = None
    absent: bool = False
    exists: bool = False

    def holds(self, current: Resource | None) -> bool:
        version = current.version if current else 0
        return not (
            (self.absent and current is not None)
            or (self.exists and current is None)
            or (self.version is not None and self.version != version)
        )

    def __bool__(self) -> bool:
        return self.absent or self.exists or self.version is not None


@dataclass(frozen=True, slots=True)
class PutOp:
    """Create or replace. `kind`, `mesh`, `name`: what the URL says, to be agreed with by the body."""

    document: Mapping[str, Any]
    kind: str | None = None
    mesh: str | None = None
    name: str | None = None
    expect: Expect = Expect()


@dataclass(frozen=True, slots=True)
class DeleteOp:
    key: ResourceKey
    expect: Expect = Expect()


Operation = PutOp | DeleteOp


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of one operation. `resource` is None for a delete."""

    key: ResourceKey
    created: bool = False
    resource: Resource | None = None
    warnings: tuple[str, ...] = ()


class Plan:
    """A transaction in the making. `expected`: of which resource a guard is what the client expects; one
    that is not in it failed because of a race, and the plan is made anew."""

    def __init__(self, base: View) -> None:
        self.base_index = base.index
        self.guards: list[Guard] = []
        self._guarded: set[Guard] = set()
        self.writes: list[Write] = []
        self.results: list[Result] = []
        self.expected: dict[int, ResourceKey] = {}
        self._view = base
        self._changed: list[Change] = []  # not in the view yet: most plans end before anybody looks

    @property
    def view(self) -> View:
        """What would be there after the operations so far."""
        if self._changed:
            self._view, _ = self._view.with_changes(self._view.index, self._changed)
            self._changed = []
        return self._view

    def guard(self, guard: Guard, expected: ResourceKey | None = None) -> None:
        """Make the transaction depend on `guard`; a second time means nothing."""
        if guard in self._guarded:
            return
        self._guarded.add(guard)
        if expected is not None:
            self.expected[len(self.guards)] = expected
        self.guards.append(guard)

    def put(self, resource: Resource) -> None:
        self.writes.append(Put(Key(*resource.key), encode_value(resource)))
        self._changed.append((resource.key, resource))

    def delete(self, write: Write, gone: Iterable[ResourceKey]) -> None:
        """A deletion, and the keys that it takes away."""
        self.writes.append(write)
        self._changed += [(key, None) for key in gone]


class Allowed(Protocol):
    """Whether the caller may do this; raises Problem. Asked after the mesh is known."""

    def __call__(self, kind: Kind, key: ResourceKey, edit: Edit | None = None) -> None:
        """Whether a resource may be written so; without `edit`, whether it may be known of at all."""


def plan(
    view: View,
    operations: Sequence[Operation],
    config: Config,
    *,
    allowed: Allowed,
    expectations_as_guards: bool = False,
    own: bool = False,
) -> Plan:
    """Plan one transaction. Raises Problem for the first operation that is refused.

    own: a write of the control plane itself, which is not told to write elsewhere.

    expectations_as_guards: leave `expect` to the log alone, so that the retry of a write that
    was applied gets its first answer instead of a refusal.
    """
    made = Plan(view)
    planner = _Planner(view, made, config, allowed, expectations_as_guards, own)
    results: dict[int, Result] = {}
    for position in _order(operations):
        operation = operations[position]
        try:
            if isinstance(operation, PutOp):
                planner.put(operation)
            else:
                planner.delete(operation)
        except Problem as problem:
            raise _located(problem, position, operation) if len(operations) > 1 else problem from None
        results[position] = made.results[-1]
    made.results = [results[position] for position in range(len(operations))]
    return made


# What others depend on comes first, and goes last.
_PUT_FIRST = {"Mesh": 0, "AccessRole": 1}
_PUT, _DELETE, _DELETE_LAST = 2, 3, 4


def _order(operations: Sequence[Operation]) -> list[int]:
    """Positions in the order of planning. What is written twice is written in the order given."""
    named = [_name_of(operation) for operation in operations]
    positions = list(range(len(operations)))
    if len(set(named)) < len(named):
        return positions
    return sorted(positions, key=lambda n: _rank(operations[n], named[n][0]))


def _rank(operation: Operation, kind: str) -> int:
    if isinstance(operation, PutOp):
        return _PUT_FIRST.get(kind, _PUT)
    return _DELETE_LAST if kind == "Mesh" else _DELETE


def _name_of(operation: Operation) -> tuple[str, str, str]:
    """(kind, mesh, name) as they are written, before anything is known to be right."""
    if isinstance(operation, DeleteOp):
        return operation.key
    document = operation.document
    metadata = document.get("metadata")
    head = metadata if isinstance(metadata, Mapping) else document
    kind = operation.kind or document.get("type") or document.get("kind")
    mesh = operation.mesh or document.get("mesh") or ("" if kind == "Mesh" else DEFAULT_MESH)
    return str(kind), str(mesh), str(operation.name or head.get("name"))


def _located(problem: Problem, position: int, operation: Operation) -> Problem:
    """The refusal of one of many operations, which says beside Kuma's words which one it is."""
    kind, mesh, name = _name_of(operation)
    where = {"position": position, "type": kind, "mesh": mesh, "name": name}
    return Problem(
        problem.status,
        problem.title,
        problem.detail,
        problem.invalid,
        headers=problem.headers,
        extra=problem.extra | {"operation": where},
    )


class _Where(TypedDict):
    """Where this control plane stands, as the rules of labels ask for it."""

    mode: Mode
    zone: str
    federated: bool
    origin_required: bool


class _Planner:
    def __init__(
        self, base: View, made: Plan, config: Config, allowed: Allowed, as_guards: bool, own: bool
    ) -> None:
        self._base = base
        self._plan = made
        self._config = config
        self._allowed = allowed
        self._as_guards = as_guards
        self._own = own
        zone = config.multizone.zone
        self._where: _Where = {
            "mode": config.mode,
            "zone": zone.name,
            "federated": config.federated,
            "origin_required": not zone.disable_origin_label_validation,
        }

    # --- put ------------------------------------------------------------------------------

    def put(self, operation: PutOp) -> None:
        if operation.kind and operation.name:  # before a word is said of the document
            key = ResourceKey(operation.kind, operation.mesh or "", operation.name)
            check_target(self._plan.view, self._config, key, self._allowed)
        resource = _decode(operation)
        kind = KINDS[resource.kind]
        if not self._own:
            check_writable(kind, self._config)
        if kind.scope == "mesh":
            self._need_mesh(resource.mesh)
        previous = self._plan.view.get(*resource.key)
        self._allowed(kind, resource.key, Edit(previous, resource))
        title = f"Could not {'create' if previous is None else 'update'} a resource"
        resource = self._stamped(resource, previous, title)
        if faults := validate(resource, self._plan.view):
            raise not_valid(title, faults)
        self._guard_record(resource.key, operation.expect, previous)
        self._plan.put(resource)
        self._plan.results.append(Result(resource.key, previous is None, resource, self._warnings(resource)))
        if resource.kind == "Mesh" and previous is None:
            self._add_default_policies(resource)

    def _warnings(self, resource: Resource) -> tuple[str, ...]:
        found = warnings(resource)
        if resource.kind in ROLE_KINDS and self._config.access.type == "static":
            found.append(f"access.type is static: no {resource.kind} has an effect until it is rbac")
        return tuple(found)

    def _need_mesh(self, mesh: str) -> None:
        expect_mesh(self._plan.view, mesh)
        if self._base.get("Mesh", "", mesh) is not None:
            self._plan.guard(Exists(Key("Mesh", "", mesh)))

    def _stamped(self, resource: Resource, previous: Resource | None, title: str) -> Resource:
        """With the labels that this control plane writes, and the status that it has: the status
        of a resource is never a client's to set."""
        where = self._where
        if faults := [*self._name_faults(resource), *mesh_labels.check(resource, **where)]:
            raise not_valid(PROCESS, faults)
        stamped, faults = mesh_labels.compute(resource, **where, previous=previous)
        if faults:
            raise not_valid(title, faults)
        return replace(resource, labels=stamped, status=previous.status if previous else None)

    def _name_faults(self, resource: Resource) -> Iterable[FieldError]:
        """On Global a resource of a zone is called `<zone>.<name>`, which has to fit, too."""
        zone = self._where["zone"]
        if self._where["federated"] and len(f"{zone}.{resource.name}") >= NAME_CHARS_MAX:
            yield FieldError("name", "the length of the name must be shorter")

    def _add_default_policies(self, mesh: Resource) -> None:
        """A mesh and its default policies are one event: nobody sees the one without the others."""
        for policy in default_policies(mesh):
            if self._plan.view.get(*policy.key) is None:
                self._plan.guard(Absent(Key(*policy.key)))
                self._plan.put(self._stamped(policy, None, PROCESS))

    # --- delete ---------------------------------------------------------------------------

    def delete(self, operation: DeleteOp) -> None:
        key, title = operation.key, "Could not delete a resource"
        kind = KINDS[key.kind]
        if not self._own:
            check_writable(kind, self._config)
        if kind.scope == "mesh" and self._plan.view.get("Mesh", "", key.mesh) is None:
            raise not_found("Failed to retrieve Mesh")
        self._allowed(kind, key)
        previous = self._plan.view.get(*key)
        if previous is None:
            if operation.expect.exists or operation.expect.version:
                raise precondition_failed(key, previous)
            raise not_found(title)
        self._allowed(kind, key, Edit(previous, None))
        if faults := mesh_labels.check_delete(
            previous,
            mode=self._where["mode"],
            federated=self._where["federated"],
            origin_required=self._where["origin_required"],
        ):
            raise not_valid(PROCESS, faults)
        if key.kind != "Mesh" and (faults := validate_delete(previous, self._plan.view)):
            raise not_valid(title, faults)
        self._guard_record(key, operation.expect, previous)
        if key.kind == "Mesh":
            self._delete_owned(key.name, title)
        self._plan.delete(Delete(Key(*key)), [key])
        self._plan.results.append(Result(key))

    def _delete_owned(self, mesh: str, title: str) -> None:
        """A Mesh owns what is in it, and is not deleted under the feet of its proxies."""
        view = self._plan.view
        if not self._config.store.unsafe_delete:
            if view.list("Dataplane", mesh):
                raise not_valid(title, [DATAPLANES_LEFT])
            self._plan.guard(AbsentScope(Scope("Dataplane", mesh)))
        owned = (r.key for kind in KINDS.values() if kind.scope == "mesh" for r in view.list(kind.name, mesh))
        self._plan.delete(DeleteScope(Scope(None, mesh)), list(owned))

    # --- guards ---------------------------------------------------------------------------

    def _guard_record(self, key: ResourceKey, expect: Expect, previous: Resource | None) -> None:
        """Fix in the log what was looked at: this version, or nothing. Also the client's expectation."""
        stored = self._base.get(*key)
        record = Key(*key)
        if expect and not self._as_guards and not expect.holds(previous):
            raise precondition_failed(key, previous)
        if expect and self._as_guards:
            if expect.version is not None:
                self._plan.guard(VersionIs(record, expect.version), key)
            elif expect.absent:
                self._plan.guard(Absent(record), key)
            else:
                self._plan.guard(Exists(record), key)
        if previous is not None and stored is None:
            return  # written by this very transaction: its first write is guarded
        self._plan.guard(Absent(record) if stored is None else VersionIs(record, stored.version))


def _decode(operation: PutOp) -> Resource:
    try:
        resource = decode(operation.document)
    except Invalid as error:
        raise not_valid(PROCESS, error.errors) from error
    except BadRequest as error:
        raise bad_request(error.detail, PROCESS) from error
    if not KINDS[resource.kind].path:
        raise bad_request(f'invalid resource type "{resource.kind}"', PROCESS)
    if faults := list(_differences(operation, resource)):
        raise not_valid(PROCESS, faults)
    return resource


def _differences(operation: PutOp, resource: Resource) -> Iterator[FieldError]:
    """What the URL says otherwise than the body, which has to say it, too."""
    pairs = (
        ("name", operation.name, resource.name),
        ("type", operation.kind, resource.kind),
        ("mesh", operation.mesh, resource.mesh),
    )
    for field, wanted, given in pairs:
        if wanted is not None and wanted != given:
            yield FieldError(field, f"{field} from the URL has to be the same as in body")


def check_target(view: View, config: Config, key: ResourceKey, allowed: Allowed) -> None:
    """What can be said of a put before its document is read. Raises Problem."""
    kind = KINDS[key.kind]
    check_writable(kind, config)
    if kind.scope == "mesh":
        expect_mesh(view, key.mesh)
    allowed(kind, key)


def expect_mesh(view: View, mesh: str) -> None:
    """Raises Problem (400): nothing is created in a mesh that does not exist."""
    if view.get("Mesh", "", mesh) is None:
        reason = FieldError("mesh", f"mesh of name {mesh} is not found")
        raise Problem(400, "Could not create a resource", "Mesh is not found", [reason])


def precondition_failed(key: ResourceKey, current: Resource | None) -> Problem:
    """412 with what is there, as it is not what the client expected: its ETag, and the resource itself,
    of secrets without what they hold."""
    named = f"{key.kind} {key.mesh}/{key.name}" if key.mesh else f"{key.kind} {key.name}"
    title = "Precondition Failed"
    if current is None:
        return Problem(412, title, f"{named} does not exist", extra={"current": None})
    return Problem(
        412,
        title,
        f"{named} is at version {current.version}",
        headers={"ETag": f'"{current.version}"'},
        extra={"current": without_secrets(to_document(current))},
    )


def check_writable(kind: Kind, config: Config) -> None:
    """Whether this control plane takes writes of the kind at all. Raises Problem (405)."""
    title = "Method not Allowed"
    if config.api_server.read_only:
        raise Problem(405, title, "this control plane's API is read-only (apiServer.readOnly)")
    if kind.read_only or not kind.path:
        raise Problem(405, title, f"{kind.name} is written by the control plane alone")
    here, there = ("GLOBAL", "ZONE") if config.mode == "global" else ("ZONE", "GLOBAL")
    writable = kind.writable_on_global if config.mode == "global" else kind.writable_on_zone
    if (config.mode == "global" or config.federated) and not writable:
        raise Problem(
            405,
            title,
            f"Operation not allowed. Kuma resources like {kind.name} can be updated or deleted only "
            f"from the {there} control plane and not from a {here} control plane.",
        )
