"""Derivations: pure functions of what they read, and the context through which they read it.

A derivation is an ordinary function whose first parameter is the context:

    @derivation
    def endpoints(ctx: Context, mesh: str, service: str) -> Encoded: ...

It is called like one, too: inside another derivation, `endpoints(ctx, mesh, service)` answers from
the memo, and records the call as a read of the caller. Arguments are the identity of the result, so
they must be hashable, and they should be *what the result depends on* and not who asks: then
proxies with equal inputs share one result. Results are compared with `==`; an equal one stops the
wave, so they should be immutable and cheap to compare.

The idea is Salsa's (memoised queries with recorded reads) in the shape of Istio's krt (pure
transformations whose fetches are their dependencies).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

from mesh.reader import Reader

P = ParamSpec("P")
R = TypeVar("R")

# A key is (kind, mesh, name); an index key (index, *parts).
Key = tuple[str, str, str]
IndexKey = tuple[Hashable, ...]


class Query(NamedTuple):
    """One derivation with its arguments: the identity of a memoised result."""

    derivation: Derivation[Any, Any]
    args: tuple[Hashable, ...]

    def __str__(self) -> str:
        return f"{self.derivation.name}({', '.join(map(repr, self.args))})"


class Context(Reader, Protocol):
    """What a derivation may look at. Each look is recorded as a read of that derivation."""

    def derive(self, query: Query) -> Any:
        """The result of another derivation. Raises DerivationFailed, Cycle."""


class Derivation(Generic[P, R]):
    """A pure function known to the engine by its name."""

    __slots__ = ("doc", "fn", "name")

    def __init__(self, fn: Callable[Concatenate[Context, P], R]) -> None:
        self.fn = fn
        self.name = f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}"
        self.doc = fn.__doc__

    def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> R:
        """The memoised result. Arguments are positional: they are the key."""
        if kwargs:
            raise TypeError(f"{self.name}: a derivation takes positional arguments only")
        result: R = ctx.derive(Query(self, args))
        return result

    def query(self, *args: P.args, **kwargs: P.kwargs) -> Query:
        """The identity of a result, e.g. to watch it."""
        if kwargs:
            raise TypeError(f"{self.name}: a derivation takes positional arguments only")
        return Query(self, args)

    def __repr__(self) -> str:
        return f"<derivation {self.name}>"


def derivation(fn: Callable[Concatenate[Context, P], R]) -> Derivation[P, R]:
    """Make a function a derivation."""
    return Derivation(fn)
