"""Control planes that break one promise each, made of the real API over the log in memory.

The replicas of one share a log, so that together they look like a cluster. Each wrong one
differs from the right one in a single method.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from msgspec import structs

from chaos.bare import LOOPBACK, NO_KEYS
from chaos.history import KIND, told_by_log
from cp.config import load
from cp.config_schema import Config
from cp.live import LiveView
from cp.resources import Resources
from cp.worker import Worker
from raftstore.memory import MemoryStore
from raftstore.port import Status, Store
from raftstore.state import Requests
from raftstore.types import Bookmark, Commit, FeedItem, Outcome, Put, Txn

ENVIRON = LOOPBACK | NO_KEYS
REPLICAS = ("r1", "r2", "r3")
LAG_S = 0.02
EACH = 10  # every so many writes one is done wrong


class Replica:
    """One replica's store: the shared log as it is. This one is right."""

    def __init__(self, log: MemoryStore, name: str) -> None:
        self.log, self.name = log, name
        self.submitted = 0

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        self.submitted += 1
        return await self.log.submit(txn)

    async def read_index(self, *, timeout_s: float = 5.0) -> int:
        return await self.log.read_index()

    async def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        async for item in self.log.feed(after):
            yield item

    async def status(self) -> Status:
        return await self.log.status()

    async def close(self) -> None:
        """The log outlives its replicas."""

    def wrong_now(self, txn: Txn) -> bool:
        """Whether this write is one of the clients', and its turn has come."""
        of_clients = all(isinstance(write, Put) and write.key.kind == KIND for write in txn.writes)
        return of_clients and self.submitted % EACH == EACH - 1


class Lagging(Replica):
    """One replica's view lags behind, which is no fault: a read that asks for an index waits for it."""

    async def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        async for item in super().feed(after):
            if self.name == "r3":
                await asyncio.sleep(LAG_S)
            yield item


class StaleReads(Lagging):
    """Answers linearizable reads from its own view without asking."""

    async def read_index(self, *, timeout_s: float = 5.0) -> int:
        return 0


class LosesWrites(Replica):
    """Acknowledges some writes that it never wrote."""

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        if self.wrong_now(txn):
            self.submitted += 1
            return Outcome(self.log.state.index)
        return await super().submit(txn)


class WritesTwice(Replica):
    """Drops its table of request ids, so that what was delayed on its way is applied again."""

    delayed: Txn | None = None

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        wrong = self.wrong_now(txn)
        outcome = await super().submit(txn)
        if outcome.applied and wrong:
            if self.delayed is not None:
                self.log.machine.state = replace(self.log.state, requests=Requests())
                await self.log.submit(structs.replace(self.delayed, guards=()))
            self.delayed = txn
        return outcome


class HalfTransactions(Replica):
    """Writes the parts of a transaction one after the other."""

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        first, *others = txn.writes
        outcome = await super().submit(structs.replace(txn, writes=(first,)))
        for number, write in enumerate(others if outcome.applied else ()):
            await asyncio.sleep(LAG_S / 2)
            later = structs.replace(txn, writes=(write,), guards=(), request_id=f"{number}-{txn.request_id}")
            await self.log.submit(later)
        return outcome


class HastyLive(LiveView):
    """Once it has begun, it waits for no index that a read asks for."""

    async def wait_for(self, index: int, timeout_s: float) -> bool:
        return self.ready or await super().wait_for(index, timeout_s)


class SkippingLive(LiveView):
    """A watch that leaves out a commit now and then, as one that drops when its queue is full."""

    async def commits(self, after: int) -> AsyncIterator[Commit | Bookmark]:
        count = 0
        async for item in super().commits(after):
            count += isinstance(item, Commit)
            if not (isinstance(item, Commit) and count % EACH == EACH - 1):
                yield item


class ForgetfulLive(LiveView):
    """A watch that breaks now and then, as any does, and goes on at the head wherever its client was."""

    async def commits(self, after: int) -> AsyncIterator[Commit | Bookmark]:
        count = 0
        async for item in super().commits(max(after, self.index)):
            yield item
            count += isinstance(item, Commit)
            if count == 2 * EACH:
                return


class SkippingWorker(Worker):
    live_type: type[LiveView] = SkippingLive

    def __init__(self, config: Config, store: Store) -> None:
        super().__init__(config, store)
        self.live = self.live_type(store, self.metrics)
        self.resources = Resources(store, self.live, config, self.metrics)
        self.context = replace(self.context, live=self.live, resources=self.resources)


class ForgetfulWorker(SkippingWorker):
    live_type = ForgetfulLive


class HastyWorker(SkippingWorker):
    live_type = HastyLive


@dataclass(frozen=True)
class Wrong:
    """A server that is wrong in one way. `breaks`: the promise that it must be caught by."""

    name: str
    breaks: str = ""
    replica: type[Replica] = Replica
    worker: type[Worker] = Worker


RIGHT = Wrong("right")
WRONG = (
    Wrong("server: stale read served as linearizable", "Linearizable", StaleReads),
    Wrong("server: acknowledges what it never wrote", "Durable", LosesWrites),
    Wrong("server: request-id table dropped", "ExactlyOnce", WritesTwice),
    Wrong("server: the index of a read ignored", "ReadYourWrites", Lagging, HastyWorker),
    Wrong("server: half transactions", "Atomic", HalfTransactions),
    Wrong("server: a watch skips on overload", "Reliable", worker=SkippingWorker),
    Wrong("server: resume by head only", "Reliable", worker=ForgetfulWorker),
)


class Cluster:
    """`replicas`: name -> base URL of the API."""

    def __init__(self, log: MemoryStore, replicas: Mapping[str, str]) -> None:
        self.log, self.replicas = log, replicas

    async def commits(self, after: int, upto: int) -> list[Commit]:
        found = []
        async for item in self.log.feed(after):
            if isinstance(item, Commit) and item.index <= upto and (told := told_by_log(item)):
                found.append(told)
            if isinstance(item, Commit | Bookmark) and item.index >= upto:
                break
        return found


@asynccontextmanager
async def cluster(kind: Wrong = RIGHT) -> AsyncIterator[Cluster]:
    """Three workers over one log, served over HTTP."""
    environ = ENVIRON | {"RAFTMESH_DEFAULTS_SKIP_MESH_CREATION": "false"}
    async with AsyncExitStack() as stack:
        log, urls = MemoryStore(), {}
        stack.push_async_callback(log.close)
        for name in REPLICAS:
            config = load(None, environ | {"RAFTMESH_RAFT_NODE_ID": name}).config
            made = kind.worker(config, kind.replica(log, name))
            stack.push_async_callback(made.stop)
            await made.start()
            urls[name] = f"http://127.0.0.1:{made.ports['apiServer.http.port']}"
        await made.live.wait_for(1, 10.0)  # the default mesh
        yield Cluster(log, urls)
