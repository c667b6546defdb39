"""Holdings: which resources exist for whom, kept up to date from changed results alone.

A layer is a set of named resources: the own ones of a proxy, or a group that many proxies share. A
proxy's snapshot is a stack of layers, looked up in order. When one resource changes, the layers that
hold it are updated once, and all proxies above such a layer hear the same deltas; so the cost of a
change is that of the change, plus one call per proxy that sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xds.config.backends import Item
from xds.engine import Query
from xds.types import RUNTIME, SEND_ORDER, Delta, Encoded

TYPES = (*SEND_ORDER, RUNTIME)
"""All types that proxies get, in the order of sending."""

Name = tuple[str, str]
"""(type URL, resource name)."""


class Layer:
    """Named resources, each with the query that makes it. `users`: proxies that have the layer."""

    def __init__(self) -> None:
        self.queries: dict[Name, Query] = {}
        self.resources: dict[str, dict[str, Encoded]] = {}
        self.users: dict[Any, None] = {}

    def plan(self, items: Iterable[Item]) -> tuple[dict[Name, Query], dict[Name, Query]]:
        """Take over what the layer consists of; what came (or is made otherwise now), and what went."""
        wanted: dict[Name, Query] = {}
        for item in items:
            wanted.setdefault((item.type_url, item.name), item.query)
        came = {name: query for name, query in wanted.items() if self.queries.get(name) != query}
        went = {name: query for name, query in self.queries.items() if wanted.get(name) != query}
        self.queries = wanted
        return came, went

    def put(self, name: Name, resource: Encoded) -> bool:
        """Set the content of a name; whether it differs from before."""
        type_url, key = name
        of_type = self.resources.setdefault(type_url, {})
        if of_type.get(key) == resource:
            return False
        of_type[key] = resource
        return True

    def drop(self, name: Name) -> bool:
        """Forget the content of a name; whether there was one."""
        return self.resources.get(name[0], {}).pop(name[1], None) is not None


class Stack(Mapping[str, Encoded]):
    """The resources of one type in a stack of layers; of equal names the first counts."""

    def __init__(self, layers: Iterable[Layer], type_url: str) -> None:
        self._parts = [layer.resources.setdefault(type_url, {}) for layer in layers]

    def __getitem__(self, name: str) -> Encoded:
        for part in self._parts:
            found = part.get(name)
            if found is not None:
                return found
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        for part in self._parts:
            found = part.get(name)
            if found is not None:
                return found
        return default

    def __contains__(self, name: object) -> bool:
        return any(name in part for part in self._parts)

    def __iter__(self) -> Iterator[str]:
        if len(self._parts) == 1:
            return iter(self._parts[0])
        return iter(dict.fromkeys(name for part in self._parts for name in part))

    def __len__(self) -> int:
        if len(self._parts) == 1:
            return len(self._parts[0])
        return sum(1 for _ in self)


def snapshot_of(layers: Iterable[Layer]) -> Mapping[str, Mapping[str, Encoded]]:
    """The live snapshot of a stack of layers."""
    stack = list(layers)
    return {type_url: Stack(stack, type_url) for type_url in TYPES}


class Change:
    """Names that changed in one layer, to be told as deltas."""

    def __init__(self) -> None:
        self.upserts: dict[Name, Encoded] = {}
        self.removed: dict[Name, None] = {}

    def deltas(self) -> list[Delta]:
        """The change as deltas, one per type, in the order of sending."""
        changed = {kind for kind, _ in self.upserts} | {kind for kind, _ in self.removed}
        found = []
        for type_url in TYPES:
            if type_url in changed:
                upserts = tuple(r for (kind, _), r in self.upserts.items() if kind == type_url)
                removed = tuple(name for kind, name in self.removed if kind == type_url)
                found.append(Delta(type_url, upserts, removed))
        return found
