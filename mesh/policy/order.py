"""Which policy wins: the one total order in which confs are merged, later over earlier.

From the weakest difference to the strongest: the display name (z first, so that a wins), what the element
points to, the author's role, where it was written, how precisely the policy selects proxies.  Several orders
exist because places look at different things: whole policies (no `to` yet, but gateway listeners may be
selected by tags), and the elements of outbound and inbound lists.  Elements for services known by tags stand
between: listeners count, and so does what an element points to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import total_ordering
from typing import Any

from mesh.policy.values import Entry, Item, TargetRef, target_of

KIND_RANK: Mapping[str, int] = {
    "Mesh": 1,
    "Dataplane": 2,
    "MeshSubset": 3,
    "MeshGateway": 4,
    "MeshService": 5,
    "MeshExternalService": 6,
    "MeshMultiZoneService": 7,
    "MeshServiceSubset": 8,
    "MeshHTTPRoute": 9,
}


@total_ordering
class Descending:
    """A string that sorts the other way round."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __lt__(self, other: Descending) -> bool:
        return self.text > other.text


def _selection(ref: TargetRef) -> tuple[int, int, bool]:
    """How precisely a top-level targetRef selects: its kind; of proxies, by labels or a name; then one section."""
    if ref["kind"] != "Dataplane":
        return KIND_RANK.get(ref["kind"], 0), 0, False
    by = 2 if ref.get("name") else 1 if ref.get("labels") else 0
    return KIND_RANK["Dataplane"], by, bool(ref.get("sectionName"))


def policy_key(policy: Item) -> tuple[Any, ...]:
    """Sort key of whole policies, least to most important."""
    ref, meta = target_of(policy), policy.meta
    tags = len(ref.get("tags") or ()) if ref["kind"] == "MeshGateway" else 0
    return (*_selection(ref), meta.origin, meta.role, tags, Descending(meta.display_name))


def outbound_key(entry: Entry) -> tuple[Any, ...]:
    """Sort key of `to` elements."""
    meta, target = entry.source.meta, entry.target
    sectioned = target["kind"] == "MeshService" and bool(target.get("sectionName"))
    return (
        *_selection(entry.top),
        meta.origin,
        meta.role,
        KIND_RANK.get(target["kind"], 0),
        sectioned,
        Descending(meta.display_name),
    )


def service_key(entry: Entry) -> tuple[Any, ...]:
    """Sort key of `to` elements for services known by tags."""
    *stronger, name = policy_key(Item(entry.source.meta, {"targetRef": entry.top}))
    return (*stronger, KIND_RANK.get(entry.target["kind"], 0), name)


def inbound_key(entry: Entry) -> tuple[Any, ...]:
    """Sort key of `from` and `rules` elements."""
    meta = entry.source.meta
    return (*_selection(entry.top), meta.origin, meta.role, Descending(meta.display_name))


def sort_policies(policies: Iterable[Item]) -> list[Item]:
    """Policies, least important first.  Equal ones keep their order."""
    return sorted(policies, key=policy_key)


def sort_outbound(entries: Iterable[Entry]) -> list[Entry]:
    """`to` elements, least important first; equal ones keep their position in the policy."""
    return sorted(entries, key=outbound_key)


def sort_services(entries: Iterable[Entry]) -> list[Entry]:
    """`to` elements for services known by tags, least important first; equal ones keep their position."""
    return sorted(entries, key=service_key)


def sort_inbound(entries: Iterable[Entry]) -> list[Entry]:
    """Inbound elements, least important first; equal ones keep their position in the policy."""
    return sorted(entries, key=inbound_key)
