"""Runs the generators where this replica leads, and writes what they find.

Who leads is only asked to save work: each write is guarded by what it relied on, so two replicas
that both believe to lead for a moment do no harm.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence

from cp.config_schema import Config
from cp.generators.core import Generators
from cp.generators.limits import BATCH, IDLE_S, LEADER_S, ROUND_S
from cp.initial import ACTOR
from cp.live import LiveView
from mesh.resource import ResourceKey
from mesh.view import Changes, View
from raftstore.errors import StoreError
from raftstore.port import Store
from raftstore.types import Commit, Guard, Txn, Write

log = logging.getLogger(__name__)

Due = tuple[ResourceKey, Write, Guard]


async def generate(config: Config, store: Store, live: LiveView) -> None:
    """Generate while this replica leads, until cancelled."""
    while True:
        if await _leads(store):
            await _Keeper(config, store, live).run()
        await asyncio.sleep(LEADER_S)


async def _leads(store: Store) -> bool:
    try:
        status = await store.status()
    except StoreError:
        return False
    return status.role == "leader" and status.has_quorum


class _Keeper:
    """One term of leading."""

    def __init__(self, config: Config, store: Store, live: LiveView) -> None:
        self._config = config
        self._store = store
        self._live = live
        self._moved = asyncio.Event()
        self._generators = Generators(config, live.view)

    async def run(self) -> None:
        """Until another replica leads."""
        unsubscribe = self._live.subscribe(self._follow)
        try:
            while await _leads(self._store):
                while self._generators.step():
                    await asyncio.sleep(0)
                await self._write(list(self._generators.take(int(time.time()))))
                await asyncio.sleep(ROUND_S)
                await self._wait()
        finally:
            unsubscribe()

    def _follow(self, view: View, changes: Changes, commit: Commit | None) -> None:
        self._generators.follow(view, changes)
        self._moved.set()

    async def _wait(self) -> None:
        """Until something changed, or time makes something due; not at all after a write that failed."""
        if self._generators.waiting:
            return
        deadline = self._generators.next_deadline()
        patience = IDLE_S if deadline is None else min(max(deadline - time.time(), 0.0), IDLE_S)
        try:
            async with asyncio.timeout(patience):
                await self._moved.wait()
        except TimeoutError:
            return
        self._moved.clear()

    async def _write(self, due: Sequence[Due]) -> None:
        for start in range(0, len(due), BATCH):
            batch = due[start : start + BATCH]
            if await self._submit(batch) or len(batch) == 1:
                continue
            for each in batch:  # one of them was overtaken
                await self._submit([each])

    async def _submit(self, batch: Sequence[Due]) -> bool:
        """Whether all were written; if not, they are looked at again."""
        txn = Txn(
            writes=tuple(write for _, write, _ in batch),
            guards=tuple(guard for _, _, guard in batch),
            actor=ACTOR,
            cause="follows the proxies",
            request_id=f"generate-{secrets.token_hex(12)}",
            via=self._config.raft.node_id,
        )
        try:
            outcome = await self._store.submit(txn)
        except StoreError as error:
            log.debug("%d generated resources are not written yet: %s", len(batch), error)
            applied = False
        else:
            applied = outcome.applied
        if not applied:
            for key, _, _ in batch:
                self._generators.again(key)
        return applied
