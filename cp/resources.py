"""The way of a write: plan it on the view, ask the log, and plan anew when somebody was faster.

Everything that writes goes through here: the API, transactions, the defaults at start, the
registration of proxies. The plan holds in guards what it relied on, so two writers never
overwrite each other unseen, whichever replicas they spoke to.

A replica may lag, and a client may have written through another a moment ago. So what the state here
speaks against (no such mesh, another version) is refused only once this view has everything that was
committed when the write came; a write that the state allows needs no such question, as its guards ask it.

Exactly once: attempt N of a request carries the id `<request id>#N`. A client that retries
with the same id walks the same attempts; the log answers each with its first outcome.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

from cp.backpressure import Backpressure
from cp.config_schema import Config
from cp.limits import INDEX_WAIT_S, WRITE_RACES_MAX, WRITE_TIMEOUT_S
from cp.live import LiveView
from cp.metrics import Metrics
from cp.plan import Allowed, Operation, Plan, Result, plan, precondition_failed
from cp.problems import Problem
from cp.roles import Edit
from mesh.registry import Kind
from mesh.resource import ResourceKey
from mesh.view import View
from raftstore.errors import Overloaded, StoreError, UnknownOutcome
from raftstore.port import Store
from raftstore.types import Outcome, Txn

T = TypeVar("T")
# Not valid (in a mesh that is not there), not found, in use, not as expected.
_STATE_MAY_REFUSE = frozenset({400, 404, 409, 412})


@dataclass(frozen=True, slots=True)
class Origin:
    """Who writes, why, and under which request id.

    retry: the client chose the id, so this may be the second try of a write that was applied.
    """

    actor: str = ""
    cause: str = ""
    request_id: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """The log index of a write, and what became of each operation."""

    index: int
    results: tuple[Result, ...]


def everything_allowed(kind: Kind, key: ResourceKey, edit: Edit | None = None) -> None:
    """The control plane's own writes."""


class Resources:
    """Writes resources through one worker's store and view."""

    def __init__(self, store: Store, live: LiveView, config: Config, metrics: Metrics) -> None:
        self._store = store
        self._live = live
        self._config = config
        self._metrics = metrics
        self._backpressure = Backpressure()

    async def write(
        self, operations: Sequence[Operation], origin: Origin, allowed: Allowed = everything_allowed
    ) -> Written:
        """All operations in one transaction, or none. Raises Problem or StoreError.

        A client's (it has a request id) is refused with Overloaded when this worker does not keep up.
        """
        with self._backpressure.one() if origin.request_id else nullcontext():
            return await self._write(operations, origin, allowed)

    async def _write(self, operations: Sequence[Operation], origin: Origin, allowed: Allowed) -> Written:
        request_id = origin.request_id or secrets.token_hex(16)
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        own = allowed is everything_allowed

        def planned(view: View) -> Plan:
            return plan(
                view, operations, self._config, allowed=allowed, expectations_as_guards=origin.retry, own=own
            )

        for attempt in range(WRITE_RACES_MAX):
            made = planned(self._live.view) if own else await self.judged(planned)
            if time.monotonic() >= deadline:
                raise self._too_late(origin, attempt)
            outcome = await self._submit(made, origin, f"{request_id}#{attempt}", deadline)
            if outcome.applied:
                return Written(outcome.index, self._results(made, outcome))
            await self._live.wait_for(outcome.index, INDEX_WAIT_S)
            expected = made.expected.get(outcome.failed_guard or 0)
            if expected is not None:
                raise precondition_failed(expected, self._live.view.get(*expected))
            self._metrics.store_conflicts.inc()
        raise Problem(
            409, "Conflict", f"somebody else was faster {WRITE_RACES_MAX} times in a row; try again"
        )

    async def judged(self, judge: Callable[[View], T]) -> T:
        """What `judge` makes of this worker's view. A Problem that it raises holds only if a view that
        has everything committed by now speaks against the write, too."""
        view = self._live.view
        try:
            return judge(view)
        except Problem as refused:
            if refused.status not in _STATE_MAY_REFUSE or not await self._has_more_than(view):
                raise
        return judge(self._live.view)

    async def _has_more_than(self, view: View) -> bool:
        """Catch up with the leader; whether there was anything. Nobody to ask is no news."""
        try:
            committed = await self._store.read_index(timeout_s=INDEX_WAIT_S)
        except StoreError:
            return False
        return await self._live.wait_for(committed, INDEX_WAIT_S) and self._live.index > view.index

    @staticmethod
    def _too_late(origin: Origin, attempts: int) -> StoreError:
        """After attempts whose guards failed. An earlier request of the same id may have come further."""
        if origin.retry:
            return UnknownOutcome("the write was not decided in time")
        times = f"{attempts} time{'s' * (attempts > 1)}"
        return Overloaded(f"somebody else was faster {times} within {WRITE_TIMEOUT_S:g} s")

    async def _submit(self, made: Plan, origin: Origin, request_id: str, deadline: float) -> Outcome:
        txn = Txn(
            writes=tuple(made.writes),
            guards=tuple(made.guards),
            actor=origin.actor,
            request_id=request_id,
            cause=origin.cause,
            via=self._config.raft.node_id,
        )
        timeout_s = max(deadline - time.monotonic(), 0.0)
        with self._metrics.store.labels("submit").time():
            outcome = await self._store.submit(txn, timeout_s=timeout_s)
        if outcome.applied:
            # What was written is in this worker's view before the client hears of it.
            await self._live.wait_for(outcome.index, INDEX_WAIT_S)
        return outcome

    def _results(self, made: Plan, outcome: Outcome) -> tuple[Result, ...]:
        """As planned; but an index that the plan had seen already is the first answer to a retry,
        whose plan saw its own write: then "created" is what the record itself tells."""
        if outcome.index > made.base_index:
            return tuple(made.results)
        return tuple(self._as_first_told(result, outcome.index) for result in made.results)

    def _as_first_told(self, result: Result, index: int) -> Result:
        stored = self._live.view.get(*result.key)
        if result.resource is None or stored is None or stored.version != index:
            return result
        return replace(result, created=stored.created_ms == stored.modified_ms, resource=stored)
