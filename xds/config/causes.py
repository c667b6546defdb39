"""Which policies, rules and other resources put a value into a proxy's configuration: by trying without.

The question "which policy is this value from?" has an exact answer that needs no book-keeping inside the
derivations: take the policy away, derive again, and look whether the value is still there. The engine makes
that cheap, since only what read the policy runs again (docs/adr/0019-explained-by-trying-without.md).

Two resources may say the same, and then neither is missed alone. So resources are taken away for good as
long as the value stays, the least important ones first, in blocks that are halved when they are missed
(delta debugging). What remains is irreducible: all of it together gives the value, and each is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from mesh.policy.kinds import BY_NAME
from mesh.policy.order import sort_outbound
from mesh.policy.outbound import outbound_entries
from mesh.policy.values import Item
from mesh.resource import Resource, ResourceKey
from mesh.view import Change, View
from xds.config.backends import Item as PlanItem
from xds.config.dump import render
from xds.config.explain import find_item, find_within, within
from xds.config.limits import CAUSES_MAX
from xds.config.paths import ABSENT, Path, counterpart, normalised, value_at
from xds.engine import DerivationFailed, Engine, Query
from xds.types import Encoded

_LISTS = ("to", "from_", "rules")


@dataclass(frozen=True, slots=True)
class Part:
    """A resource, or one element of a policy's `to`, `from` or `rules`."""

    key: ResourceKey
    field: str = ""
    index: int = -1

    @property
    def rule(self) -> str:
        """How people name the element, e.g. `to[0]`; "" for a whole resource."""
        return f"{self.field.rstrip('_')}[{self.index}]" if self.field else ""


def parts_of(resource: Resource) -> list[Part]:
    """The elements of a policy in order; a resource without lists is one part."""
    if resource.kind not in BY_NAME:
        return [Part(resource.key)]
    parts = [
        Part(resource.key, field, index)
        for field in _LISTS
        for index in range(len(getattr(resource.spec, field, None) or ()))
    ]
    return parts or [Part(resource.key)]


def ordered_parts(view: View, policies: Iterable[Item]) -> list[Part]:
    """The parts of policies, least important first: elements of `to` by what they point to, too."""
    found: list[Part] = []
    outbound: list[Item] = []
    for policy in policies:
        stored = view.get(*policy.meta.key)
        assert stored is not None, "policies come from the view"
        found += [part for part in parts_of(stored) if part.field != "to"]
        outbound.append(policy)
    entries = sort_outbound(outbound_entries(outbound))
    return found + [
        Part(ResourceKey(*entry.source.meta.key), "to", entry.source.rule_index) for entry in entries
    ]


def without(view: View, parts: Iterable[Part]) -> list[Change]:
    """What changes of a view when these parts are taken away."""
    by_key: dict[ResourceKey, list[Part]] = {}
    for part in parts:
        by_key.setdefault(part.key, []).append(part)
    return [(key, _reduced(view, key, gone)) for key, gone in by_key.items()]


def _reduced(view: View, key: ResourceKey, gone: Sequence[Part]) -> Resource | None:
    resource = view.get(*key)
    if resource is None or any(not part.field for part in gone):
        return None
    lists = {}
    for field in {part.field for part in gone}:
        indexes = {part.index for part in gone if part.field == field}
        elements = enumerate(getattr(resource.spec, field))
        lists[field] = tuple(element for at, element in elements if at not in indexes)
    return replace(resource, spec=msgspec.structs.replace(resource.spec, **lists))


class Probe:
    """One place in the configuration of one proxy, and what is there as resources come and go.

    view, plan: the state and whose configuration. path: a place in the resource `name`, or all of it.
    Deriving happens in an engine of its own, so that nobody else sees the trials.
    """

    def __init__(self, view: View, plan: Query, type_url: str, name: str, path: Path = ()) -> None:
        self.engine = Engine(view)
        self.plan, self.type_url, self.name = plan, type_url, name
        self._view = view
        self._undo: dict[ResourceKey, Resource | None] = {}
        self.engine.watch(plan)
        self._within = within(self.engine, plan, type_url, name)
        self._encoded = self._derive()
        self.document = self._json(self._encoded)
        self.path = path if self.document is ABSENT else normalised(path, self.document)
        self.value = value_at(self.document, self.path)

    @property
    def exists(self) -> bool:
        """Whether the proxy has the resource."""
        return self.document is not ABSENT

    def without(self, parts: Iterable[Part]) -> Any:
        """The value if these parts were not there; ABSENT if there would be none."""
        self.restore()
        changes = without(self._view, parts)
        self._undo = {key: self._view.get(*key) for key, _ in changes}
        self._move(changes)
        return self._now()

    def restore(self) -> None:
        """Undo what `without` took away."""
        undo, self._undo = self._undo, {}
        self._move(list(undo.items()))

    def step_back(self, changes: Sequence[Change]) -> bool:
        """Put resources back to what they were before some commit; whether the value was the same."""
        self.restore()
        self._move(changes)
        return bool(self._now() == self.value)

    def whole(self, parts: Iterable[Part]) -> Any:
        """The whole resource if these parts were not there."""
        self.without(parts)
        return self._json(self._derive())

    def _move(self, changes: Sequence[Change]) -> None:
        if changes:
            self._view, differing = self._view.with_changes(self._view.index, changes)
            self.engine.begin(self._view, differing)

    def _now(self) -> Any:
        encoded = self._derive()
        if encoded is not None and self._encoded is not None and encoded.version == self._encoded.version:
            return self.value
        return counterpart(self.document, self._json(encoded), self.path)

    def _find(self) -> PlanItem | None:
        """Where the resource was before, else anywhere."""
        found = None
        if self._within is not None:
            found = find_within(self.engine, self.plan, self._within, self.type_url, self.name)
        return found or find_item(self.engine, self.plan, self.type_url, self.name)

    def _derive(self) -> Encoded | None:
        item = self._find()
        if item is None:
            return None
        try:
            found: Encoded | None = self.engine.get(item.query.derivation, *item.query.args)
        except DerivationFailed:
            return None
        return found

    def _json(self, encoded: Encoded | None) -> Any:
        if encoded is None:
            return ABSENT
        return render({self.type_url: {self.name: encoded}})[self.type_url][self.name]


class Needed(NamedTuple):
    """parts: without any of which the value would differ. complete: False when there are more of them."""

    parts: tuple[Part, ...]
    complete: bool


def needed(value_without: Callable[[list[Part]], Any], value: Any, parts: Sequence[Part]) -> Needed:
    """The parts that make the value, least important first as they are given.

    value_without: tells the value when some parts are taken away.
    """
    gone: list[Part] = []
    found: list[Part] = []
    waiting = [list(parts)]
    while waiting:
        if len(found) == CAUSES_MAX:
            return Needed(tuple(found), complete=False)
        block = waiting.pop()
        if not block:
            continue
        if value_without([*gone, *block]) == value:
            gone += block
        elif len(block) == 1:
            found += block
        else:
            half = len(block) // 2
            waiting += [block[half:], block[:half]]
    return Needed(tuple(found), complete=True)
