"""A memoised result, with what it read and who reads it."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from xds.engine.derivation import IndexKey, Key, Query


class State(enum.Enum):
    """Where a node is in its life.

    NEW      never run (its value means nothing)
    CLEAN    its value is that of the current view, unless a node below it is still dirty
    DIRTY    a read of it changed: it must run before its value is used
    RUNNING  on the stack; reading it now is a cycle
    """

    NEW = "new"
    CLEAN = "clean"
    DIRTY = "dirty"
    RUNNING = "running"


WAITING = (State.NEW, State.DIRTY)


class Reads(NamedTuple):
    """What one run of a derivation read, in the order in which it first read them."""

    keys: tuple[Key, ...]
    index_keys: tuple[IndexKey, ...]
    queries: tuple[Query, ...]


class Node:
    """height: longer than that of everything it reads, so that a wave in order of height runs each
    node once. uses, dependents: the edges, ordered. roots: how many watch it."""

    __slots__ = (
        "dependents",
        "failure",
        "height",
        "id",
        "index_keys",
        "keys",
        "query",
        "roots",
        "state",
        "uses",
        "value",
    )

    def __init__(self, query: Query, number: int) -> None:
        self.query = query
        self.id = number
        self.value: Any = None
        self.failure: Exception | None = None
        self.state = State.NEW
        self.height = 0
        self.keys: dict[Key, None] = {}
        self.index_keys: dict[IndexKey, None] = {}
        self.uses: dict[Node, None] = {}
        self.dependents: dict[Node, None] = {}
        self.roots = 0

    @property
    def needed(self) -> bool:
        """Somebody watches it or reads it."""
        return bool(self.roots or self.dependents)

    def reads(self) -> Reads:
        """What its last run read."""
        return Reads(tuple(self.keys), tuple(self.index_keys), tuple(node.query for node in self.uses))

    def outcome_equals(self, value: Any, failure: Exception | None) -> bool:
        """True if a run that ended so would change nothing for those who read this node."""
        if self.failure is not None or failure is not None:
            return repr(self.failure) == repr(failure)
        return bool(self.value == value)

    def __repr__(self) -> str:
        return f"<{self.query} {self.state.value} height={self.height}>"
