"""Plain values that policies are computed from.

While policies are selected, ordered and merged, a conf is what JSON makes of it: dicts, lists, strings and
numbers.  Merging is defined on JSON (RFC 7396), and a typed conf cannot tell "not set" from "set to the
default" well enough.  The result is converted to the typed conf of the kind at the very end.

Store access goes through `mesh.reader.Reader` alone, so that an incremental engine can record what a result
depends on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh.policy.meta import Meta

Conf = dict[str, Any]
"""One policy's configuration as JSON values."""

TargetRef = Mapping[str, Any]
"""`{kind, name?, labels?, namespace?, sectionName?, tags?, proxyTypes?}`."""

MESH: TargetRef = {"kind": "Mesh"}


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A resource with its spec as plain JSON values."""

    meta: Meta
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from: a policy, and the position within its `to`, `from` or `rules`."""

    meta: Meta
    rule_index: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One element of a policy's `to`, `from` or `rules` (or its only `default`), ready to be merged."""

    source: Source
    top: TargetRef
    target: TargetRef
    conf: Conf


def target_of(policy: Item) -> TargetRef:
    """The top-level targetRef; a policy without one is for the whole mesh."""
    ref: TargetRef | None = policy.spec.get("targetRef")
    return ref if ref else MESH


def elements(policy: Item, field: str) -> Sequence[Mapping[str, Any]]:
    """The list under `to`, `from` or `rules`, empty when absent."""
    return policy.spec.get(field) or ()
