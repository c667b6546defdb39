"""The request loop: a steady stream of requests through the mesh, counted as it goes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from dataclasses import dataclass, field

import aiohttp

RECENT_S = 1.0
REQUEST_TIMEOUT_S = 5.0
FAILURES_KEPT = 20


@dataclass(slots=True)
class Tally:
    """What became of the requests so far. `recent` holds (time, version or None) of the last second."""

    ok: int = 0
    failed: int = 0
    failures: deque[str] = field(default_factory=lambda: deque(maxlen=FAILURES_KEPT))
    recent: deque[tuple[float, str | None]] = field(default_factory=deque)

    def count(self, now: float, version: str | None, reason: str = "") -> None:
        """One finished request: `version` of the backend that served it, None for a failure."""
        if version is None:
            self.failed += 1
            self.failures.append(reason)
        else:
            self.ok += 1
        self.recent.append((now, version))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self.recent and now - self.recent[0][0] > RECENT_S:
            self.recent.popleft()

    def line(self, now: float) -> str:
        """One line for a person: rates of the last second, and who served."""
        self._forget(now)
        versions = Counter(version for _, version in self.recent)
        failed = versions.pop(None, 0)
        shares = "  ".join(f"backend {version}: {n}/s" for version, n in sorted(versions.items(), key=str))
        rates = f"ok {sum(versions.values())}/s  failed {failed}/s"
        return f"traffic  {rates}   {shares}   (total {self.ok} ok, {self.failed} failed)"

    def versions_since(self, since: float) -> Counter[str | None]:
        """Who served the requests that finished after `since` (within the last second)."""
        return Counter(version for at, version in self.recent if at > since)


class Traffic:
    """`workers` clients, each sending its next request `pause_s` after the last answer."""

    def __init__(self, url: str, *, workers: int = 4, pause_s: float = 0.02) -> None:
        self.tally = Tally()
        self._url = url
        self._workers = workers
        self._pause_s = pause_s
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Traffic:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._workers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _client(self) -> None:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                version, reason = await self._one(session)
                self.tally.count(time.monotonic(), version, reason)
                await asyncio.sleep(self._pause_s)

    async def _one(self, session: aiohttp.ClientSession) -> tuple[str | None, str]:
        try:
            async with session.get(self._url) as response:
                if response.status != 200:
                    return None, f"status {response.status}: {(await response.text())[:200]}"
                body = await response.json()
                return str(body["upstream"]["version"]), ""
        except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
            return None, repr(error)
