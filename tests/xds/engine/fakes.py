"""A small view for tests of the engine: cells with numbers, one index over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mesh.resource import Resource, ResourceKey

KIND = "Cell"
MESH = "m"


@dataclass(frozen=True)
class Changes:
    keys: frozenset[tuple[str, str, str]] = frozenset()
    index_keys: frozenset[tuple[Any, ...]] = frozenset()


@dataclass(frozen=True)
class Cells:
    """A Reader over name -> (group, number). Index `group`: the names of a group."""

    cells: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def get(self, kind: str, mesh: str, name: str) -> Resource | None:
        cell = self.cells.get(name)
        return None if cell is None else Resource(kind, mesh, name, spec=cell)

    def list(self, kind: str, mesh: str | None = None) -> Sequence[Resource]:
        return [Resource(kind, mesh or "", name, spec=self.cells[name]) for name in sorted(self.cells)]

    def lookup(self, index: str, *parts: str) -> tuple[ResourceKey, ...]:
        return tuple(ResourceKey(KIND, MESH, n) for n in sorted(self.cells) if self.cells[n][0] == parts[0])

    def having(self, updates: Mapping[str, tuple[str, int] | None]) -> tuple[Cells, Changes]:
        """The view after `updates` (None deletes) and what changed."""
        cells = dict(self.cells)
        groups = set()
        for name, cell in updates.items():
            for side in (cells.get(name), cell):
                if side is not None:
                    groups.add(side[0])
            if cell is None:
                cells.pop(name, None)
            else:
                cells[name] = cell
        index_keys = {("kind", KIND, MESH), *(("group", group) for group in groups)}
        keys = frozenset((KIND, MESH, name) for name in updates)
        return Cells(cells), Changes(keys, frozenset(index_keys))
