"""Faults of processes and of the clocks they read. Each is broken within, whole after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.noticing import noticed
from chaos.replicas import Replica, Replicas

PAUSE_S = 1.5
ROUNDS = 6
JUMP_S = 6 * 3600.0


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


@asynccontextmanager
async def clock_jumps(rig: Replicas) -> AsyncIterator[None]:
    """Under the leader first: six hours on, twelve back, then home; the others the other way."""
    leader = await rig.leader()
    rest = await rig.others(leader)
    try:
        for seconds in (JUMP_S, -2 * JUMP_S, JUMP_S):
            await _jump(rig, leader, seconds)
            for member in rest:
                await _jump(rig, member, -seconds)
            await asyncio.sleep(PAUSE_S)
        await _jump(rig, leader, -JUMP_S)
        yield
    finally:
        for member in rig:
            member.clock.reset()


async def _jump(rig: Replicas, member: Replica, seconds: float) -> None:
    """Sees to it that the replica tells the new time."""
    member.clock.jump(seconds)

    async def told() -> bool:
        date = await rig.date(member)
        return date is not None and abs(date - member.clock.now()) < JUMP_S / 2

    await noticed(f"{member.name} tells the time of its clock", told)


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
