"""Concurrent clients of every replica, which note all that they are told.

    writers    put, delete, and transactions of two keys, each with a request id, repeated
               through the next replica until the outcome is known
    readers    linearizable reads of one key and of a pair, and reads that carry an index
    watchers   one stream per replica, resumed wherever it broke

Keys are retired after some operations: the search of the checker grows with the history
of a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import aiohttp

from chaos.history import ABSENT, MESH, PLURAL, History, Stalled, Unforeseen, document, key_of, value_of
from chaos.linearizability import Operation
from chaos.watching import Watcher
from raftstore.guarantees import Acked, Atomic, ReadAt, Served
from raftstore.types import Key, Outcome

SLOTS = 5
OPERATIONS_PER_KEY = 150
REQUEST_S = 3.0
SETTLE_S = 60.0  # what a write or a watcher may need when all faults are over
PAUSE_S = 0.01
RETRY_S = 0.05
PATH = f"/meshes/{MESH}/{PLURAL}"


class Answer(NamedTuple):
    status: int
    at: int
    version: int
    body: Any


class Workload:
    """Clients of `replicas` (name -> base URL of the API); `label` keeps runs apart."""

    def __init__(
        self, replicas: Mapping[str, str], label: str, *, writers: int = 2, pause_s: float = PAUSE_S
    ) -> None:
        self.history = History()
        self.last_ack = time.monotonic()
        self.longest_gap_s = 0.0
        self._names, self._urls = list(replicas), list(replicas.values())
        self._label = label
        self._writers = writers
        self._pause_s = pause_s
        self._random = random.Random(label)
        self._values = itertools.count(1)
        self._used: dict[str, int] = {}
        self._newest = 0  # the largest index that any client was told
        self._stopping = asyncio.Event()
        self._give_up = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._clients: list[asyncio.Task[None]] = []
        self._watchers: dict[str, Watcher] = {}
        self._watching: list[asyncio.Task[None]] = []

    @property
    def acknowledged(self) -> int:
        return len(self.history.acked)

    async def start(self) -> None:
        """Raises Stalled when the cluster takes no write at all."""
        limits = aiohttp.TCPConnector(limit=0, force_close=False)
        timeout = aiohttp.ClientTimeout(total=REQUEST_S, sock_connect=1.0)
        self._session = aiohttp.ClientSession(connector=limits, timeout=timeout)
        self.history.start = await self._mark("first")
        self.history.acked.clear()
        self.last_ack = time.monotonic()
        for number, name in enumerate(self._names):
            urls = self._urls[number:] + self._urls[:number]
            watcher = Watcher(self._session, urls, self.history.start)
            self._watchers[f"that began at {name}"] = watcher
            self._watching.append(asyncio.create_task(watcher.run()))
            loops: list[Callable[[int], Awaitable[None]]] = [self._write_once] * self._writers
            loops += [self._read_once, self._read_pair]
            self._clients += [asyncio.create_task(self._client(number, work)) for work in loops]

    async def stop(self) -> History:
        """End the clients, wait until each outcome is known and each watcher has seen the end."""
        self._stopping.set()
        asyncio.get_running_loop().call_later(SETTLE_S, self._give_up.set)
        try:
            await asyncio.gather(*self._clients)
            self.history.end = await self._mark("last")
            await self._watchers_reach(self.history.end)
        finally:
            await self.close()
        for name, watcher in self._watchers.items():
            self.history.watches[name] = watcher.items
            self.history.found += watcher.found
        return self.history

    async def close(self) -> None:
        """End everything at once; also after an error."""
        for task in (*self._clients, *self._watching):
            task.cancel()
        await asyncio.gather(*self._clients, *self._watching, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _mark(self, name: str) -> int:
        """One write that must succeed; its index."""
        value = f"{name}-{uuid4().hex[:8]}"
        key = f"{self._label}-{name}"
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            index = await self._decided(0, "PUT", f"{PATH}/{key}", document(key, value), {key: value})
            if index:
                return index
        raise Stalled(f"no write was taken within {SETTLE_S:g} s, though nothing is broken")

    async def _watchers_reach(self, index: int) -> None:
        deadline = time.monotonic() + SETTLE_S
        for name, watcher in self._watchers.items():
            while watcher.position < index:
                if time.monotonic() > deadline:
                    stands = f"stands at {watcher.position}, and the log ends at {index}"
                    self.history.found.append(Stalled(f"the watch {name} {stands}"))
                    break
                await asyncio.sleep(RETRY_S)

    async def _client(self, home: int, work: Callable[[int], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                await work(home)
            await asyncio.sleep(self._pause_s * (0.5 + self._random.random()))

    def _key(self, prefix: str) -> str:
        """A key in use; a new one takes its place after some operations."""
        slot = f"{self._label}-{prefix}{self._random.randrange(SLOTS)}"
        self._used[slot] = self._used.get(slot, 0) + 1
        return f"{slot}-{self._used[slot] // OPERATIONS_PER_KEY}"

    # --- writes -----------------------------------------------------------------------------------

    async def _write_once(self, home: int) -> None:
        value = f"v{next(self._values)}"
        draw = self._random.random()
        if draw < 0.2:
            key = self._key("pair")
            names = (f"{key}-a", f"{key}-b")
            operations = [{"op": "put", "resource": document(name, value)} for name in names]
            writes = dict.fromkeys(names, value)
            await self._write(home, key, value, "POST", "/transactions", {"operations": operations}, writes)
            return
        key = self._key("key")
        if draw < 0.3:
            await self._write(home, key, ABSENT, "DELETE", f"{PATH}/{key}", None, {key: None})
        else:
            await self._write(home, key, value, "PUT", f"{PATH}/{key}", document(key, value), {key: value})

    async def _write(
        self,
        home: int,
        key: str,
        value: str,
        method: str,
        path: str,
        body: object,
        writes: Mapping[str, str | None],
    ) -> None:
        """One write as an operation of the history; one that was refused is none."""
        called = time.monotonic()
        index = await self._decided(home, method, path, body, writes)
        if index == 0:
            return
        returned = time.monotonic() if index is not None else None
        self.history.unknown += index is None
        self.history.operations.append(Operation(self._names[home], key, called, returned, write=value))

    async def _decided(
        self, home: int, method: str, path: str, body: object, writes: Mapping[str, str | None]
    ) -> int | None:
        """Ask until the outcome is known: the index of the write, 0 when it was refused, None when
        nobody could tell until the end."""
        request_id = uuid4().hex
        doubt = False
        for turn in itertools.count(home):
            if self._give_up.is_set():
                return None if doubt else 0
            asked = time.monotonic()
            try:
                answer = await self._ask(turn, method, path, body, request_id)
            except (aiohttp.ClientError, TimeoutError, OSError):
                doubt = True
                await asyncio.sleep(RETRY_S)
                continue
            if answer.status in (200, 201):
                self._served(turn, f"{method} {path}", asked)
                self._acknowledged(request_id, answer.at, writes)
                return answer.at
            if answer.status == 409 or (answer.status == 404 and method == "DELETE"):
                return None if doubt else 0
            if answer.status == 504:
                doubt = True
            elif answer.status not in (429, 503):
                found = f"{method} {path} was answered {answer.status}: {answer.body}"
                self.history.found.append(Unforeseen(found))
                return None
            await asyncio.sleep(RETRY_S)
        raise AssertionError("itertools.count has an end")

    def _acknowledged(self, request_id: str, index: int, writes: Mapping[str, str | None]) -> None:
        told: tuple[tuple[Key, bytes | None], ...] = tuple(
            (key_of(name), None if value is None else value.encode()) for name, value in writes.items()
        )
        self.history.acked.append(Acked(request_id, Outcome(index), told))
        self._newest = max(self._newest, index)
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self.last_ack)
        self.last_ack = now

    def _served(self, turn: int, what: str, asked: float) -> None:
        name = self._names[turn % len(self._names)]
        self.history.served.append(Served(name, what, asked, time.monotonic()))

    # --- reads ------------------------------------------------------------------------------------

    async def _read_once(self, home: int) -> None:
        """A linearizable read, and one that must see what any client was told before."""
        key = self._key("key")
        called = time.monotonic()
        answer = await self._ask(home, "GET", f"{PATH}/{key}?consistency=linearizable")
        if answer.status in (200, 404):
            found = value_of(answer.body if answer.status == 200 else None)
            self._read(home, key, called, found)
        after = self._newest
        answer = await self._ask(home, "GET", f"{PATH}/{key}?index={after}")
        if answer.status in (200, 404):
            version = answer.version if answer.status == 200 else 0
            self.history.reads.append(ReadAt(self._names[home], key_of(key), after, version))

    async def _read_pair(self, home: int) -> None:
        """Two keys that only transactions write, read at one moment, are one register."""
        key = self._key("pair")
        called = time.monotonic()
        answer = await self._ask(home, "GET", f"{PATH}?name={key}-&size=1000&consistency=linearizable")
        if answer.status != 200:
            return
        names = (f"{key}-a", f"{key}-b")
        values = {item["name"]: value_of(item) for item in answer.body["items"] if item["name"] in names}
        if len(set(values.values())) > 1 or len(values) == 1:
            self.history.found.append(Atomic(f"a read of {key} found half a transaction: {values}"))
        else:
            self._read(home, key, called, values.get(names[0], ABSENT))

    def _read(self, home: int, key: str, called: float, value: str) -> None:
        self._served(home, f"a linearizable read of {key}", called)
        self.history.operations.append(
            Operation(self._names[home], key, called, time.monotonic(), read=value)
        )

    async def _ask(
        self, turn: int, method: str, path: str, body: object = None, request_id: str = ""
    ) -> Answer:
        assert self._session is not None
        headers = {"X-Raftmesh-Request-Id": request_id} if request_id else {}
        url = self._urls[turn % len(self._urls)] + path
        async with self._session.request(method, url, json=body, headers=headers) as response:
            found = await response.json(content_type=None)
            etag = response.headers.get("ETag", "").strip('"')
            index = int(response.headers.get("X-Raftmesh-Index", "0"))
            return Answer(response.status, index, int(etag) if etag.isdecimal() else 0, found)
