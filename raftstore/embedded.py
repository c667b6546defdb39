"""A cluster of one inside this process: the embedded default, behind the same Store port.

It is a whole replica, with the same log on disk and the same promises, but without peers,
sockets or certificates. The directory can later become the first member of a larger
cluster: start it as a store process with TLS, and add the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from raftstore.backup import stream
from raftstore.port import Status
from raftstore.replica import Replica
from raftstore.settings import BadConfig, StoreConfig
from raftstore.types import FeedItem, Outcome, Txn

LEADER_WITHIN_S = 10.0


class EmbeddedStore:
    """A Store (see raftstore/port.py). Made by `EmbeddedStore.open`."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    @classmethod
    async def open(cls, config: StoreConfig) -> EmbeddedStore:
        """Returns when it can be written to. Raises what Replica.start raises."""
        if config.others():
            raise BadConfig("peers: an embedded store is a cluster of one; run a store process instead")
        replica = await Replica.start(config)
        try:
            async with asyncio.timeout(LEADER_WITHIN_S):
                await replica.read_index(timeout_s=LEADER_WITHIN_S)
        except BaseException:
            await replica.close()
            raise
        return cls(replica)

    @property
    def failed(self) -> asyncio.Future[None]:
        """Ends with the error, when the store cannot go on; then the process should end too."""
        return self.replica.failed

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        return await self.replica.submit(txn, timeout_s=timeout_s)

    async def read_index(self, *, timeout_s: float = 5.0) -> int:
        return await self.replica.read_index(timeout_s=timeout_s)

    def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        return self.replica.feed(after)

    def backup(self) -> AsyncIterator[bytes]:
        """The bytes of a backup (raftstore/backup.py)."""
        return stream(self.replica)

    async def status(self) -> Status:
        return await self.replica.status()

    async def close(self) -> None:
        await self.replica.close()
