"""How everything reads resources: three questions, so that whoever asks can be told of changes.

A derivation reads through a Reader only.  The recorder of reads stands between it and the view and
notes which key or index key each answer depended on; `mesh.view.Changes` speaks of the same keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mesh.resource import Resource, ResourceKey


class Reader(Protocol):
    """Reads of one state of the mesh. Kinds of global scope live in mesh ""."""

    def get(self, kind: str, mesh: str, name: str) -> Resource | None:
        """The resource under that key; depends on that key."""

    def list(self, kind: str, mesh: str | None = None) -> Sequence[Resource]:
        """All of a kind, in (mesh, name) order; depends on index key ("kind", kind, mesh)."""

    def lookup(self, index: str, *parts: str) -> tuple[ResourceKey, ...]:
        """Sorted keys of a secondary index (mesh.view.INDEXES); depends on (index, *parts)."""


class NoResources:
    """A Reader of an empty mesh."""

    def get(self, kind: str, mesh: str, name: str) -> Resource | None:
        return None

    def list(self, kind: str, mesh: str | None = None) -> Sequence[Resource]:
        return ()

    def lookup(self, index: str, *parts: str) -> tuple[ResourceKey, ...]:
        return ()
