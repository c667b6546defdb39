"""What can go wrong in the engine, and whose fault it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds.engine.derivation import Query


class DerivationFailed(Exception):
    """A derivation raised. `query` is the one that did (not those above it), `cause` what it raised.

    Failures are values of the graph: they are memoised, reach whoever reads the failed
    derivation, and go away when one of its reads changes.
    """

    def __init__(self, query: Query, cause: Exception) -> None:
        super().__init__(f"{query}: {type(cause).__name__}: {cause}")
        self.query = query
        self.cause = cause


class Cycle(Exception):
    """A derivation reads itself, directly or through others: a bug of its author."""


class EngineBusy(RuntimeError):
    """The engine was moved to another view from inside a derivation: a bug of the caller."""
