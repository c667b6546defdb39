"""Faults of the rig of containers, by name, with what is expected of the cluster.

All by Docker's own means: kill, pause, restart, disconnect from a network; and the fault
proxy, in containers that take the names under which replicas reach each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from chaos.container_rig import DATA_DIR, Containers, Place
from chaos.engine import EngineError
from chaos.faultproxy import CARRIES
from chaos.noticing import noticed
from chaos.trial import Fault

RAFT_PORT = "5683"
RAFT_NAMES = "raft-"  # of all names of a replica, the one that its peers use
PROXY_OF = "raftmesh.proxy-of"
DELAY, RATE, RESETS = ("--delay", "0.04"), ("--bytes-per-s", "100000"), ("--reset-each", "2")


# --- containers -----------------------------------------------------------------------------------


@asynccontextmanager
async def killed(rig: Containers, victims: Iterable[str]) -> AsyncIterator[None]:
    victims = list(victims)
    await asyncio.gather(*(rig.act(name, "kill") for name in victims))
    try:
        yield
    finally:
        await asyncio.gather(*(rig.act(name, "start") for name in victims))


@asynccontextmanager
async def kill_leader(rig: Containers) -> AsyncIterator[None]:
    async with killed(rig, [await rig.leader()]):
        yield


@asynccontextmanager
async def kill_two(rig: Containers) -> AsyncIterator[None]:
    leader = await rig.leader()
    other = next(name for name in await rig.voters() if name != leader)
    async with killed(rig, [leader, other]):
        yield


@asynccontextmanager
async def kill_observer(rig: Containers) -> AsyncIterator[None]:
    async with killed(rig, (await rig.observers())[:1]):
        yield


@asynccontextmanager
async def kill_all(rig: Containers) -> AsyncIterator[None]:
    async with killed(rig, rig.replicas):
        yield


@asynccontextmanager
async def pause_leader(rig: Containers) -> AsyncIterator[None]:
    victim = await rig.leader()

    async def paused() -> bool:
        """Where a machine is busy, the kernel's freezer may give up, and is asked again."""
        with contextlib.suppress(EngineError):
            await rig.act(victim, "pause")
            return True
        return False

    await noticed("the container is paused", paused)
    try:
        yield
    finally:
        await rig.act(victim, "unpause")


@asynccontextmanager
async def rolling_restart(rig: Containers) -> AsyncIterator[None]:
    for name in rig.replicas:
        await rig.act(name, "restart", t="15")
        await rig.settled()
    yield


# --- network --------------------------------------------------------------------------------------


@asynccontextmanager
async def disconnect_leader(rig: Containers) -> AsyncIterator[Sequence[str]]:
    """From the other replicas; clients still reach it."""
    victim = await rig.leader()
    place = await rig.place(victim)
    await rig.engine.disconnect(place.network, place.container)
    try:
        yield [victim]
    finally:
        await rig.engine.connect(place.network, place.container, place.names)


@asynccontextmanager
async def proxied(rig: Containers, how: tuple[str, ...]) -> AsyncIterator[None]:
    """All connections between replicas lead through fault proxies.

    The proxies come while no replica is in the network, and take the free addresses: so
    nothing is left of the connections that were.
    """
    engine = rig.engine
    for left_over in await engine.containers([f"{PROXY_OF}={rig.project}"]):
        await engine.remove(left_over["Id"])
    places = {name: await rig.place(name) for name in rig.replicas}
    async with AsyncExitStack() as stack:
        for place in places.values():
            await engine.disconnect(place.network, place.container)
            stack.push_async_callback(engine.connect, place.network, place.container, place.names)
        proxies = [await _proxy(rig, name, place, how, stack) for name, place in places.items()]
        for place in places.values():
            names = [each for each in place.names if not each.startswith(RAFT_NAMES)]
            await engine.connect(place.network, place.container, names)
            stack.push_async_callback(engine.disconnect, place.network, place.container)

        async def carried() -> bool:
            found = [await engine.said(proxy) for proxy in proxies]
            return sum(CARRIES in text for text in found) >= len(proxies) // 2

        await noticed("replicas talk through the proxies", carried)
        yield


async def _proxy(
    rig: Containers, name: str, place: Place, how: tuple[str, ...], stack: AsyncExitStack
) -> str:
    """Start a proxy under the name by which its peers reach the replica `name`; its id."""
    taken = [each for each in place.names if each.startswith(RAFT_NAMES)]
    body = {
        "Image": place.image,
        "Entrypoint": ["python", "-m", "chaos.faultproxy"],
        "Cmd": ["--listen", RAFT_PORT, "--target", f"{name}:{RAFT_PORT}", *how],
        "Tty": True,
        "Labels": {PROXY_OF: rig.project},
        "HostConfig": {"NetworkMode": place.network, "Init": True},
        "NetworkingConfig": {"EndpointsConfig": {place.network: {"Aliases": taken}}},
    }
    proxy = await rig.engine.create(f"{rig.project}-proxy-{name}", body)
    stack.push_async_callback(rig.engine.remove, proxy)
    await rig.engine.act(proxy, "start")
    return proxy


def delay(rig: Containers) -> AbstractAsyncContextManager[None]:
    return proxied(rig, DELAY)


def throttle(rig: Containers) -> AbstractAsyncContextManager[None]:
    return proxied(rig, RATE)


def resets(rig: Containers) -> AbstractAsyncContextManager[None]:
    return proxied(rig, RESETS)


# --- disks ----------------------------------------------------------------------------------------


@asynccontextmanager
async def full_volume(rig: Containers) -> AsyncIterator[None]:
    victim = await rig.leader()
    container = await rig.container(victim)
    filler = f"{DATA_DIR}/filler"

    async def says_so() -> bool:
        return bool(((await rig.status(victim)) or {}).get("readOnlyReason"))

    script = f"cat /dev/zero > {filler} 2>/dev/null; true"
    await rig.engine.run(container, ["sh", "-c", script], user="root")
    try:
        await noticed("the full volume is in the status", says_so)
        yield
    finally:
        await rig.engine.run(container, ["rm", "-f", filler], user="root")


LOSES = "the others elect a leader and go on"
STALE = "it serves nothing stale; the others elect a leader and go on"
SLOW = "slower, and correct"
FULL = "it steps down, says so, and resumes when space returns"

FAULTS = (
    Fault("kill-leader", f"docker kill: {LOSES}", kill_leader),
    Fault("kill-two", f"docker kill of the leader and another: {LOSES}", kill_two, needs="5 voters"),
    Fault("kill-observer", "docker kill: nobody else notices", kill_observer, needs="observers"),
    Fault("kill-all", "what was acknowledged is there after the restart", kill_all, goes_on=False),
    Fault("pause-leader", "docker pause: awake again it serves nothing stale", pause_leader),
    Fault("disconnect-leader", f"docker network disconnect: {STALE}", disconnect_leader),
    Fault("delay", SLOW, delay),
    Fault("throttle", SLOW, throttle),
    Fault("resets", "replicas connect again; nothing is lost or repeated", resets),
    Fault("full-volume", FULL, full_volume, needs="small volumes"),
    Fault("rolling-restart", "docker restart, one by one: writes go on", rolling_restart),
)


async def possible(fault: Fault, rig: Containers) -> bool:
    """Whether this topology can; says so when it cannot."""
    can = {
        "": True,
        "5 voters": len(await rig.voters()) >= 5,
        "observers": bool(await rig.observers()),
        "small volumes": await rig.small_volumes(),
    }
    if not can[fault.needs]:
        print(f"{fault.name:24} LEFT OUT: it needs {fault.needs}", flush=True)
    return can[fault.needs]
