"""The faults of the rig of real processes, by name. Each is broken within, whole after.

A fault that does not bite proves nothing: where it can be seen that one works, it waits
until it is seen.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from chaos.faultproxy import FaultProxy, Misbehaviour
from chaos.history import Stalled
from chaos.namespaces import RAFT_PORT
from chaos.replicas import Replica, Replicas
from chaos.trial import Fault

NOTICE_S = 20.0
PAUSE_S = 1.5
RESET_EACH_S = 0.5
RESETTING_S = 1.5  # two followers say nothing to each other but a ping each half second
LOSS = 0.15
DELAY_S = 0.04
BYTES_PER_S = 100_000.0
ROUNDS = 6


class Ineffective(Stalled):
    """The fault was injected, and nobody noticed."""


async def noticed(what: str, condition: Callable[[], object]) -> None:
    """Wait until `condition()` (or what it returns, when awaited) is true. Raises Ineffective."""
    deadline = time.monotonic() + NOTICE_S
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        if time.monotonic() > deadline:
            raise Ineffective(f"not within {NOTICE_S:g} s: {what}")
        await asyncio.sleep(0.1)


# --- processes ------------------------------------------------------------------------------------


@asynccontextmanager
async def kill_leader(rig: Replicas) -> AsyncIterator[None]:
    victim = await rig.leader()
    await victim.kill()
    yield
    await victim.start()


@asynccontextmanager
async def kill_follower(rig: Replicas) -> AsyncIterator[None]:
    victim = (await rig.others(await rig.leader()))[0]
    await victim.kill()
    yield
    await victim.start()


@asynccontextmanager
async def kill_all(rig: Replicas) -> AsyncIterator[None]:
    await asyncio.gather(*(member.kill() for member in rig))
    yield
    for member in rig:
        await member.start()


@asynccontextmanager
async def pause_leader(rig: Replicas) -> AsyncIterator[None]:
    """Three times: a leader that wakes up believes for a moment that it still leads."""
    for _ in range(3):
        victim = await rig.leader()
        victim.pause()
        try:
            await asyncio.sleep(PAUSE_S)
        finally:
            victim.resume()
        await asyncio.sleep(PAUSE_S)
    yield


@asynccontextmanager
async def pause_follower(rig: Replicas) -> AsyncIterator[None]:
    victim = (await rig.others(await rig.leader()))[0]
    victim.pause()
    try:
        yield
    finally:
        victim.resume()


@asynccontextmanager
async def rolling_restart(rig: Replicas) -> AsyncIterator[None]:
    for member in rig:
        await member.stop()
        await member.start()
        await rig.settled()
    yield


# --- network --------------------------------------------------------------------------------------


@asynccontextmanager
async def partition(rig: Replicas, *, hears: bool, is_heard: bool) -> AsyncIterator[None]:
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
        yield
    finally:
        await rig.network.heal()


def partition_leader(rig: Replicas) -> AbstractAsyncContextManager[None]:
    return partition(rig, hears=False, is_heard=False)


def deaf_leader(rig: Replicas) -> AbstractAsyncContextManager[None]:
    return partition(rig, hears=False, is_heard=True)


def mute_leader(rig: Replicas) -> AbstractAsyncContextManager[None]:
    return partition(rig, hears=True, is_heard=False)


@asynccontextmanager
async def partition_all(rig: Replicas) -> AsyncIterator[None]:
    """Nobody has a quorum."""
    try:
        for member in rig:
            await rig.network.cut([member.number], [other.number for other in await rig.others(member)])
        yield
    finally:
        await rig.network.heal()


@asynccontextmanager
async def majority_ring(rig: Replicas) -> AsyncIterator[None]:
    """Each replica reaches a majority, and no two the same one: the leader and one follower are cut,
    the third reaches both."""
    leader = await rig.leader()
    follower = (await rig.others(leader))[0]
    try:
        await rig.network.cut([leader.number], [follower.number])
        await rig.network.cut([follower.number], [leader.number])
        yield
    finally:
        await rig.network.heal()


@asynccontextmanager
async def packet_loss(rig: Replicas) -> AsyncIterator[None]:
    try:
        await rig.network.lose(LOSS)
        yield
    finally:
        await rig.network.heal()


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


# --- disks ----------------------------------------------------------------------------------------


@asynccontextmanager
async def full_disk(rig: Replicas) -> AsyncIterator[None]:
    victim = await rig.leader()

    async def says_so() -> bool:
        status = await rig.status(victim)
        return bool(status and status["readOnlyReason"])

    victim.volume.fill()
    try:
        await noticed("the full disk is in the status", says_so)
        yield
    finally:
        victim.volume.drain()


@asynccontextmanager
async def stalled_disk(rig: Replicas) -> AsyncIterator[None]:
    """fsync of the leader does not return: somebody else has to lead."""
    victim = await rig.leader()

    async def handed_over() -> bool:
        return (await rig.leader()) is not victim

    await victim.volume.freeze()
    try:
        await noticed("another replica leads", handed_over)
        yield
    finally:
        await victim.volume.thaw()


@asynccontextmanager
async def broken_disk(rig: Replicas) -> AsyncIterator[None]:
    """Every access to the leader's disk fails from now on; then it is replaced by what was synced."""
    victim = await rig.leader()
    victim.volume.cut()
    try:
        yield
    finally:
        if victim.process.running:
            await victim.kill()
        await victim.remount()
        await victim.start()


@asynccontextmanager
async def power_loss(rig: Replicas) -> AsyncIterator[None]:
    """All at once, and whatever was not synced is gone."""
    for member in rig:
        member.pause()  # nothing is acknowledged any more
    for member in rig:
        member.volume.cut()
    await asyncio.gather(*(member.kill() for member in rig))
    for member in rig:
        await member.remount()
        await member.start()
    await rig.settled()
    yield


# --- at random ------------------------------------------------------------------------------------


async def _kill_some(rig: Replicas, victim: Replica) -> None:
    await victim.kill()
    await asyncio.sleep(1.0)
    await victim.start()


async def _pause_some(rig: Replicas, victim: Replica) -> None:
    victim.pause()
    await asyncio.sleep(1.0)
    victim.resume()


async def _isolate_some(rig: Replicas, victim: Replica) -> None:
    rest = [member.number for member in await rig.others(victim)]
    await rig.network.cut(rest, [victim.number])
    await rig.network.cut([victim.number], rest)
    await asyncio.sleep(1.0)
    await rig.network.heal()


@asynccontextmanager
async def mixed(rig: Replicas) -> AsyncIterator[None]:
    """Kills, pauses and partitions of one replica after the other, without time to recover."""
    draw = random.Random(ROUNDS)
    try:
        for _ in range(ROUNDS):
            await draw.choice([_kill_some, _pause_some, _isolate_some])(rig, draw.choice(rig.members))
        yield
    finally:
        await rig.network.heal()


LOSES_ONE = "the two others elect a leader and go on; nothing acknowledged is lost or repeated"
STALE = "it stops serving linearizable reads and writes; the others elect a leader and go on"
SLOW = "slower, and correct"

FAULTS = (
    Fault("kill-leader", LOSES_ONE, kill_leader),
    Fault("kill-follower", "writes go on; it catches up", kill_follower),
    Fault("kill-all", "what was acknowledged is there after the restart", kill_all, goes_on=False),
    Fault("pause-leader", "awake again it serves nothing stale", pause_leader),
    Fault("pause-follower", "writes go on; it catches up", pause_follower),
    Fault("rolling-restart", "each hands over before it stops; writes go on", rolling_restart),
    Fault("partition-leader", STALE, partition_leader),
    Fault("deaf-leader", STALE, deaf_leader),
    Fault("mute-leader", STALE, mute_leader),
    Fault("partition-all", "no writes, no linearizable reads; all resumes", partition_all, goes_on=False),
    Fault("majority-ring", "one leader that reaches a quorum; no endless elections", majority_ring),
    Fault("packet-loss", SLOW, packet_loss),
    Fault("delay", SLOW, delay),
    Fault("throttle", SLOW, throttle),
    Fault("resets", "replicas connect again; nothing is lost or repeated", resets),
    Fault("full-disk", "it steps down, serves reads, says so, and resumes when space returns", full_disk),
    Fault("stalled-disk", "it hands over; the others go on", stalled_disk),
    Fault("broken-disk", "it acknowledges nothing; the others go on", broken_disk),
    Fault(
        "power-loss",
        "what was acknowledged is there, although all unsynced data is gone",
        power_loss,
        goes_on=False,
    ),
    Fault("mixed", "whatever happens: no promise is broken", mixed),
)
