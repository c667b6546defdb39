"""The story that `raftmesh up --script` tells, and proves: each step waits for what it claims.

A step that does not come true within its deadline raises StoryFailed with the reason, and
the run ends with exit status 1.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from cp.up.client import Api, ApiError
from cp.up.local import LocalMesh, Replica
from cp.up.traffic import Traffic

STEP_TIMEOUT_S = 60.0
POLL_S = 0.02
SETTLED_S = 0.5  # traffic has moved when nothing else was seen for this long

ROUTE_PATH = "/meshes/default/meshhttproutes/backend-version"


class StoryFailed(Exception):
    """A step of the story did not come true."""


def route_to(version: str) -> dict[str, Any]:
    """A MeshHTTPRoute that sends every request for `backend` to one version of it."""
    backend = {"kind": "MeshServiceSubset", "name": "backend", "tags": {"version": version}, "weight": 100}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "default": {"backendRefs": [backend]},
    }
    to = {"targetRef": {"kind": "MeshService", "name": "backend"}, "rules": [rule]}
    spec = {"targetRef": {"kind": "Mesh"}, "to": [to]}
    return {"type": "MeshHTTPRoute", "mesh": "default", "name": "backend-version", "spec": spec}


async def until(
    what: str, condition: Callable[[], Awaitable[bool]], timeout_s: float = STEP_TIMEOUT_S
) -> None:
    """Wait until `condition` holds; StoryFailed when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            raise StoryFailed(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(POLL_S)


class Story:
    """The steps, in order. `say` gets one line for each thing that came true."""

    def __init__(self, mesh: LocalMesh, api: Api, traffic: Traffic, say: Callable[[str], None]) -> None:
        self._mesh = mesh
        self._api = api
        self._traffic = traffic
        self._say = say

    async def run(self) -> None:
        await self._traffic_flows()
        await self._move_traffic("v2", through=await self._a_follower())
        victim, resent = await self._kill_the_leader_below_a_proxy()
        survivor = await self._a_follower()
        index = await self._move_traffic("v1", through=survivor)
        await self._bring_back(victim, index)
        if self._traffic.tally.failed:
            raise StoryFailed(self._failures())
        self._say(f"no request failed: {self._traffic.tally.ok} ok, 0 failed")
        self._say(f"resources re-sent to {len(resent)} proxies that moved: {sum(resent.values())}")

    async def _traffic_flows(self) -> None:
        async def both_versions() -> bool:
            self._no_failures()
            return set(self._traffic.tally.versions_since(time.monotonic() - 1.0)) >= {"v1", "v2"}

        await until("requests reach both instances of backend", both_versions)
        self._say("traffic flows from web to both instances of backend")

    async def _move_traffic(self, version: str, *, through: Replica) -> int:
        index = await self._api.put(through.api, ROUTE_PATH, route_to(version))
        acknowledged = time.monotonic()
        others_last_seen = acknowledged

        async def moved() -> bool:
            nonlocal others_last_seen
            self._no_failures()
            seen = self._traffic.tally.recent
            for at, who in seen:
                if at > others_last_seen and who != version:
                    others_last_seen = at
            now = time.monotonic()
            return now - others_last_seen > SETTLED_S and set(
                self._traffic.tally.versions_since(now - SETTLED_S)
            ) == {version}

        await until(f"all requests reach backend {version}", moved)
        took_ms = (others_last_seen - acknowledged) * 1e3
        self._say(
            f"a MeshHTTPRoute written through {through.name} (index {index}) moved all traffic to {version}; "
            f"the last request elsewhere ended {took_ms:.0f} ms after the write was acknowledged"
        )
        return index

    async def _kill_the_leader_below_a_proxy(self) -> tuple[Replica, dict[str, int]]:
        """Leadership goes to the replica that serves `web`, so that a proxy has to move.

        Returns the replica, and for each proxy that moved the number of resources it was re-sent.
        """
        serving = await self._serving("default.web")
        if await self._leader() != serving.name:
            await self._api.post(serving.api, "/cluster/transfer-leader", {"to": serving.name})

        async def leads() -> bool:
            return await self._leader() == serving.name

        await until(f"{serving.name} leads", leads)
        streams = await self._api.get(serving.api, "/xds/streams")
        moving = {str(stream["proxy"]): int(stream["subscribedTypes"]) for stream in streams}
        await serving.process.kill()
        self._say(f"killed the leader {serving.name} with kill -9; it served {', '.join(moving)}")
        started = time.monotonic()

        async def new_leader() -> bool:
            self._no_failures()
            return await self._leader() not in (None, serving.name)

        await until("a new leader", new_leader)
        self._say(f"{await self._leader()} leads after {(time.monotonic() - started) * 1e3:.0f} ms")
        return serving, {proxy: await self._moved(proxy, types) for proxy, types in moving.items()}

    async def _moved(self, proxy: str, types: int) -> int:
        """Wait until the proxy subscribes elsewhere to all its types; what it was re-sent, which must be none."""

        async def connected() -> bool:
            self._no_failures()
            stream = await self._stream(proxy)
            return stream is not None and stream["subscribedTypes"] == types

        await until(f"{proxy} is connected to another replica", connected)
        stream = await self._stream(proxy)
        assert stream is not None
        if stream["resourcesSent"]:
            raise StoryFailed(f"{proxy} moved and was re-sent {stream['resourcesSent']} resources")
        self._say(
            f"{proxy} moved to another replica with {stream['resourcesKnown']} resources and was re-sent "
            f"{stream['resourcesSent']}"
        )
        return int(stream["resourcesSent"])

    async def _bring_back(self, replica: Replica, index: int) -> None:
        await replica.process.start()

        async def caught_up() -> bool:
            self._no_failures()
            try:
                return bool((await self._api.get(replica.api, "/cluster"))["appliedIndex"] >= index)
            except (ApiError, aiohttp.ClientError, TimeoutError):
                return False

        await until(f"{replica.name} is back and has applied index {index}", caught_up)
        self._say(f"{replica.name} is back and has caught up with index {index}")

    # --- what the steps ask of the cluster ---

    async def _leader(self) -> str | None:
        return await self._api.leader([replica.api for replica in self._mesh.running_replicas()])

    async def _a_follower(self) -> Replica:
        leader = await self._leader()
        return next(replica for replica in self._mesh.running_replicas() if replica.name != leader)

    async def _stream(self, proxy: str) -> dict[str, Any] | None:
        for replica in self._mesh.running_replicas():
            try:
                streams = await self._api.get(replica.api, "/xds/streams")
            except (ApiError, aiohttp.ClientError, TimeoutError):
                continue
            for stream in streams:
                if stream["proxy"] == proxy:
                    return {**stream, "replica": replica.name}
        return None

    async def _serving(self, proxy: str) -> Replica:
        stream = await self._stream(proxy)
        if stream is None:
            raise StoryFailed(f"{proxy} is connected to no replica")
        return next(replica for replica in self._mesh.replicas if replica.name == stream["replica"])

    def _no_failures(self) -> None:
        if self._traffic.tally.failed:
            raise StoryFailed(self._failures())

    def _failures(self) -> str:
        tally = self._traffic.tally
        return f"{tally.failed} of {tally.ok + tally.failed} requests failed, the last: {tally.failures[-1]}"
