"""Faults of the network between replicas; clients always get through. Each is broken within, whole after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from chaos.faultproxy import FaultProxy, Misbehaviour
from chaos.namespaces import RAFT_PORT
from chaos.noticing import Ineffective, noticed
from chaos.replicas import Replicas

RESET_EACH_S = 0.5
RESETTING_S = 1.5  # two followers say nothing to each other but a ping each half second
LOSS = 0.15
DELAY_S = 0.04
BYTES_PER_S = 100_000.0
TBF = ("tbf", "rate", "800kbit", "burst", "16kb", "latency", "400ms")
NETEM = ("netem", "delay", "40ms", "20ms", "reorder", "25%", "loss", "2%", "duplicate", "2%")


@asynccontextmanager
async def partition(rig: Replicas, *, hears: bool, is_heard: bool) -> AsyncIterator[Sequence[str]]:
    """The leader against all others; `hears` and `is_heard` say which direction is left."""
    victim = await rig.leader()
    term = (await rig.status(victim) or {}).get("term", 0)
    rest = [member.number for member in await rig.others(victim)]

    async def succeeded() -> bool:
        found = [await rig.status(rig.members[number - 1]) for number in rest]
        return any(status and status["role"] == "leader" and status["term"] > term for status in found)

    try:
        if not hears:
            await rig.network.cut(rest, [victim.number])
        if not is_heard:
            await rig.network.cut([victim.number], rest)
        await noticed("another replica leads", succeeded)
        yield [victim.name]
    finally:
        await rig.network.heal()


def partition_leader(rig: Replicas) -> AbstractAsyncContextManager[Sequence[str]]:
    return partition(rig, hears=False, is_heard=False)


def deaf_leader(rig: Replicas) -> AbstractAsyncContextManager[Sequence[str]]:
    return partition(rig, hears=False, is_heard=True)


def mute_leader(rig: Replicas) -> AbstractAsyncContextManager[Sequence[str]]:
    return partition(rig, hears=True, is_heard=False)


@asynccontextmanager
async def partition_all(rig: Replicas) -> AsyncIterator[Sequence[str]]:
    """Nobody has a quorum."""
    try:
        for member in rig:
            await rig.network.cut([member.number], [other.number for other in await rig.others(member)])
        yield list(rig.replicas)
    finally:
        await rig.network.heal()


async def bites(rig: Replicas) -> None:
    """Raises Ineffective when no packet was dropped."""
    if not await rig.network.dropped():
        raise Ineffective("no packet was dropped")


def ring_cuts(ring: Sequence[int]) -> list[tuple[int, int]]:
    """The pairs to cut so that each of `ring` reaches a majority, and no two the same one.

    Of five or more each reaches the half of the majority on either side of it. Of three
    the first two are cut, and the last one reaches both.
    """
    size = len(ring)
    if size == 3:
        return [(ring[0], ring[1])]
    near = (size // 2 + 1) // 2  # neighbours on one side: with those of the other a majority
    pairs = [(a, b) for a in range(size) for b in range(a + 1, size)]
    return [(ring[a], ring[b]) for a, b in pairs if min(b - a, size - (b - a)) > near]


@asynccontextmanager
async def majority_ring(rig: Replicas) -> AsyncIterator[None]:
    """Each replica reaches a majority, and no two the same one."""
    leader = await rig.leader()
    ring = [leader.number, *(member.number for member in await rig.others(leader))]
    try:
        for pair in ring_cuts(ring):
            await rig.network.cut(pair, pair)
        yield
        await bites(rig)
    finally:
        await rig.network.heal()


@asynccontextmanager
async def packet_loss(rig: Replicas) -> AsyncIterator[None]:
    try:
        await rig.network.lose(LOSS)
        yield
        await bites(rig)
    finally:
        await rig.network.heal()


@asynccontextmanager
async def shaped(rig: Replicas, *discipline: str) -> AsyncIterator[None]:
    """What replicas send to each other goes through a queueing discipline of the kernel."""
    try:
        await rig.network.shape(*discipline)
        yield
        if not await rig.network.shaped_bytes():
            raise Ineffective(f"no byte went through {' '.join(discipline)}")
    finally:
        await rig.network.heal()


def throttle_by_kernel(rig: Replicas) -> AbstractAsyncContextManager[None]:
    return shaped(rig, *TBF)


def netem(rig: Replicas) -> AbstractAsyncContextManager[None]:
    return shaped(rig, *NETEM)


@asynccontextmanager
async def proxied(rig: Replicas, how: Misbehaviour) -> AsyncIterator[list[FaultProxy]]:
    """All connections between replicas lead through proxies."""
    async with AsyncExitStack() as stack:
        proxies = []
        stack.push_async_callback(rig.network.heal)
        for sender in rig:
            for receiver in await rig.others(sender):
                address = rig.network.address(receiver.number)
                proxy = FaultProxy((address, int(RAFT_PORT)), how)
                stack.push_async_callback(proxy.close)
                port = await proxy.start(rig.network.client_address)
                await rig.network.redirect(sender.number, receiver.number, port)
                proxies.append(proxy)
        async with rig.network.resetting():
            await asyncio.sleep(RESETTING_S)
        await noticed("replicas talk through the proxies", lambda: sum(p.carried > 0 for p in proxies) >= 3)
        yield proxies
        await rig.network.heal()  # new connections go straight before the proxies end the old ones


@asynccontextmanager
async def delay(rig: Replicas) -> AsyncIterator[None]:
    async with proxied(rig, Misbehaviour(delay_s=DELAY_S)):
        yield


@asynccontextmanager
async def throttle(rig: Replicas) -> AsyncIterator[None]:
    async with proxied(rig, Misbehaviour(bytes_per_s=BYTES_PER_S)):
        yield


@asynccontextmanager
async def resets(rig: Replicas) -> AsyncIterator[None]:
    """One connection after the other is reset."""
    async with proxied(rig, Misbehaviour()) as proxies:

        async def reset_on() -> None:
            while True:
                for proxy in proxies:
                    proxy.reset()
                    await asyncio.sleep(RESET_EACH_S)

        task = asyncio.create_task(reset_on())
        try:
            yield
        finally:
            task.cancel()
