"""Faults of the replicas' disks. Each is broken within, whole after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.noticing import noticed
from chaos.replicas import Replica, Replicas
from chaos.volumes import Volume

SLOW_S, FAST_S = 0.2, 0.05  # how long a disk takes no write, and how long it does


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
async def slow_disks(rig: Replicas) -> AsyncIterator[None]:
    """All of them at once: most writes wait, though never as long as a disk that stalls."""

    async def pulse(volume: Volume) -> None:
        while True:
            await volume.freeze()
            await asyncio.sleep(SLOW_S)
            await volume.thaw()
            await asyncio.sleep(FAST_S)

    pulses = [asyncio.create_task(pulse(member.volume)) for member in rig]
    try:
        yield
        for each in pulses:
            if each.done():
                await each  # it failed; say why
    finally:
        for each in pulses:
            each.cancel()
        await asyncio.gather(*pulses, return_exceptions=True)
        for member in rig:
            await member.volume.thaw()


async def another_leads(rig: Replicas, than: Replica) -> None:
    async def leads() -> bool:
        return (await rig.leader()) is not than

    await noticed("another replica leads", leads)


@asynccontextmanager
async def stalled_disk(rig: Replicas) -> AsyncIterator[None]:
    """fsync of the leader does not return: somebody else has to lead."""
    victim = await rig.leader()
    await victim.volume.freeze()
    try:
        await another_leads(rig, victim)
        yield
    finally:
        await victim.volume.thaw()


@asynccontextmanager
async def broken_disk(rig: Replicas) -> AsyncIterator[None]:
    """Every access to the leader's disk fails from now on; then it is replaced by what was synced."""
    victim = await rig.leader()
    victim.volume.cut()
    try:
        await another_leads(rig, victim)
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
