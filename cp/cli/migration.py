"""What of another control plane's resources to write here, in which order, and why not the rest.

The plan is made by the control plane that will take the resources: each is a dry run, by the code that
writes it, so a fault is known before anything is written. Labels that a control plane computes are not
copied: this one computes its own. What another control plane owns (zones their copies on Global, Global
its copies in zones) comes by synchronisation and not by migration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from cp.cli.batches import batches
from cp.cli.client import Client
from cp.cli.common import all_items
from cp.cli.errors import CommandError
from cp.cli.export import OWN_AUTHORITIES, USER_KEYS, arranged
from cp.cli.kuma import Inventory
from mesh.registry import KINDS
from mesh.resource import ENV, MESH, ORIGIN, POLICY_ROLE, ZONE, ResourceKey

Document = dict[str, Any]
Action = Literal["create", "update", "keep", "skip", "refuse"]
_COMPUTED_LABELS = frozenset({MESH, ORIGIN, ZONE, ENV, POLICY_ROLE, "kuma.io/proxy-type"})
_SKIP = "skipCreatingInitialPolicies"
TRIED_AT_ONCE = 500
_NOT_COPIED = frozenset({"creationTime", "modificationTime", "kri", "status"})
_OUTCOMES: Mapping[str, Action] = {"created": "create", "updated": "update", "unchanged": "keep"}


class Item(NamedTuple):
    """What becomes of one resource. `changes` are field changes, as the API tells them."""

    key: ResourceKey
    action: Action
    reason: str = ""
    changes: tuple[Mapping[str, Any], ...] = ()
    operation: Document | None = None


@dataclass
class Migration:
    """The plan: items in the order in which they are written.

    only_here: policies that the target has and the source has not; they stay, and are in force.
    """

    items: list[Item] = field(default_factory=list)
    only_here: list[ResourceKey] = field(default_factory=list)

    def of(self, *actions: Action) -> list[Item]:
        return [item for item in self.items if item.action in actions]


def plan(target: Client, found: Inventory, tell: Callable[[str], None]) -> Migration:
    """Decide about each resource, by dry runs. Raises CommandError when the target takes none."""
    made = Migration()
    present = {mesh["name"]: mesh for mesh in all_items(target, "/meshes")}
    wanted: list[Document] = []
    for document in found.documents:
        if reason := _stays_behind(document, found):
            made.items.append(Item(key_of(document), "skip", reason))
        else:
            wanted.append(document)
    operations: list[Document] = [
        {"op": "put", "resource": copied(each, present)} for each in arranged(wanted)
    ]
    meshes = [each for each in operations if each["resource"]["type"] == "Mesh"]
    for batch in batches(operations, count_max=TRIED_AT_ONCE):
        tell(f"planning {len(made.items)} of {len(found.documents)}")
        made.items += _tried(target, batch, [mesh for mesh in meshes if mesh not in batch])
    made.only_here = list(_only_here(target, found))
    return made


def _only_here(target: Client, found: Inventory) -> Iterator[ResourceKey]:
    there = {key_of(document) for document in found.documents}
    meshes = {key.name for key in there if key.kind == "Mesh"}
    for kind in (kind for kind in KINDS.values() if kind.is_policy and kind.name not in found.denied):
        for document in all_items(target, f"/{kind.path}"):
            key = key_of(document)
            if key.mesh in meshes and key not in there:
                yield key


def key_of(document: Mapping[str, Any]) -> ResourceKey:
    """The key of a document, or of a deletion."""
    kind = KINDS[document["type"]]
    return ResourceKey(kind.name, document.get("mesh", "") if kind.scope == "mesh" else "", document["name"])


def _stays_behind(document: Document, found: Inventory) -> str:
    """Why a resource is not for this control plane; "" when it is."""
    origin = (document.get("labels") or {}).get(ORIGIN)
    if document["type"] == "GlobalSecret" and document["name"] in OWN_AUTHORITIES:
        return "each control plane has its own"
    if found.mode == "global" and origin == "zone" and document["type"] != "Zone":
        return "belongs to a zone, and comes from there"
    if found.federated and origin == "global":
        return "belongs to Global, and comes from there"
    return ""


def copied(document: Document, present: Mapping[str, Mapping[str, Any]]) -> Document:
    """What is written: without what a control plane computes. present: meshes of the target by name."""
    labels = {
        name: value for name, value in (document.get("labels") or {}).items() if name not in _COMPUTED_LABELS
    }
    made = {name: value for name, value in document.items() if name not in _NOT_COPIED | {"labels"}}
    if made["type"] == "Mesh":
        # Its policies are copied; those that somebody deleted must not come back by themselves.
        skipped = present.get(made["name"], {_SKIP: ["*"]}).get(_SKIP)
        made.pop(_SKIP, None)
        made |= {_SKIP: skipped} if skipped else {}
    return made | ({"labels": labels} if labels else {})


# --- trying -------------------------------------------------------------------------------


def _tried(target: Client, batch: list[Document], first: list[Document]) -> Iterator[Item]:
    """What would become of each operation. A refused batch is halved until the culprits are alone.

    first: meshes that others of the plan create, so that what is in them can be judged.
    """
    try:
        answer = _dry_run(target, [*first, *batch])
    except CommandError as error:
        if error.status not in (400, 405, 412, 413):
            raise
        if len(batch) > 1:
            half = len(batch) // 2
            ahead = [each for each in batch[:half] if each["resource"]["type"] == "Mesh"]
            yield from _tried(target, batch[:half], first)
            yield from _tried(target, batch[half:], [*first, *ahead])
        else:
            reason = " ".join(str(error).split())
            yield Item(key_of(batch[0]["resource"]), "refuse", reason)
        return
    results = answer["results"][len(first) : len(first) + len(batch)]
    for operation, result in zip(batch, results, strict=True):
        changes = tuple(result["changes"]) if result["outcome"] == "updated" else ()
        yield Item(key_of(operation["resource"]), _OUTCOMES[result["outcome"]], "", changes, operation)


def _dry_run(target: Client, operations: list[Document]) -> Mapping[str, Any]:
    params = {"dryRun": "true", "proxies": "false"}
    body = target.call("POST", "/transactions", body={"operations": operations}, params=params).body
    if not isinstance(body, dict) or "results" not in body:
        raise CommandError("the target answers, but not with a plan; it has to be a raftmesh control plane")
    return body


# --- writing ------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """written: how many, in `transactions`; failed: batches that were refused after all, and why."""

    written: int
    transactions: int
    failed: tuple[tuple[int, str], ...]
    differing: int


def write(
    target: Client, made: Migration, headers: Mapping[str, str], tell: Callable[[str], None]
) -> Outcome:
    """Write what the plan says, in transactions; then look whether it is there.

    The keys of user tokens come last, and after the look: with them the caller's token may end.
    """
    operations = [item.operation for item in made.of("create", "update") if item.operation is not None]
    ends = [each for each in operations if _is_user_key(each)]
    written, transactions = 0, 0
    failed: list[tuple[int, str]] = []
    differing = 0
    for part in ([each for each in operations if not _is_user_key(each)], ends):
        for batch in batches(part):
            tell(f"writing {written} of {len(operations)}")
            try:
                target.call("POST", "/transactions", body={"operations": batch}, headers=headers)
            except CommandError as error:
                failed.append((len(batch), " ".join(str(error).split())))
                continue
            written += len(batch)
            transactions += 1
        if part is not ends:
            differing = sum(_differing(target, batch) for batch in batches(part)) if not failed else 0
    return Outcome(written, transactions, tuple(failed), differing)


def _is_user_key(operation: Document) -> bool:
    resource = operation["resource"]
    return bool(resource["type"] == "GlobalSecret" and resource["name"].startswith(USER_KEYS))


def _differing(target: Client, batch: Iterable[Document]) -> int:
    """How many are not there as they were written."""
    results = _dry_run(target, list(batch))["results"]
    return sum(result["outcome"] != "unchanged" for result in results)
