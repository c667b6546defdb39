"""What a changed plan or group needs, derived ahead of its being taken over, a little at a time.

A plan that changes may name hundreds of resources that nobody has derived yet: a proxy that connects with policies
of its own, a mesh whose mTLS is turned on. Derived in one go they would hold up the loop; told one by one they
would refer to what is not there yet. So they are derived in portions, held for so long, and taken over all at once
when the last of them is there. Should the plan change meanwhile, its new needs are gone through from the start,
most of which are there already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from xds.engine import DerivationFailed, Engine, Query


@dataclass(slots=True)
class _Begun:
    """value: of the plan or group whose needs are gone through. held: what was derived for it so far."""

    value: Any
    needs: Iterator[Query]
    held: list[Query] = field(default_factory=list)


class Preparing:
    """What is being prepared, by the query of the plan or group."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._begun: dict[Query, _Begun] = {}

    def go_on(
        self, query: Query, value: Any, needs: Callable[[Any], Iterable[Query]], until_ran: int
    ) -> bool:
        """Derive what `value` of `query` needs, until the engine ran so often; whether all of it is there."""
        begun = self._begun.get(query)
        if begun is None or begun.value is not value:
            held = [] if begun is None else begun.held
            begun = self._begun[query] = _Begun(value, iter(needs(value)), held)
        for needed in begun.needs:
            self._engine.watch(needed)
            begun.held.append(needed)
            with contextlib.suppress(DerivationFailed):  # who takes it over will see
                self._engine.get(needed.derivation, *needed.args)
            if self._engine.ran >= until_ran:
                return False
        return True

    def end(self, query: Query) -> None:
        """It was taken over, or is not wanted any more: let go of what was held for it. Idempotent."""
        begun = self._begun.pop(query, None)
        for held in begun.held if begun is not None else ():
            self._engine.unwatch(held)
