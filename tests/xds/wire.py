"""Playbooks against the real server: what the session does is what comes over gRPC.

`WireDelta` and `WireSotw` are sessions to a playbook; underneath, requests go to an AdsServer through a
channel, and what it sends comes back as `Send` effects. Nobody waits for silence: after each step a resource
of a type of its own is asked for. The server answers in order, so its answer says that all others are there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import grpc.aio

from chaos.fakeenvoy import END_OF_STREAM
from tests.xds.fixtures import StaticSource
from tests.xds.playbook import NODE
from xds.delta import DeltaSession
from xds.effects import Effect, Send
from xds.encode import encode
from xds.proto import msg, serialize
from xds.server import DELTA_METHOD, SERVICE, SOTW_METHOD, AdsServer
from xds.session import Session
from xds.sotw import SotwSession
from xds.types import RUNTIME, Delta, Snapshot

DEADLINE_S = 60.0
PROBES = 100
T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own, since playbooks are synchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()


class Wire:
    """One stream to a server of its own. `exchange` sends requests and takes what comes of them."""

    def __init__(self, loop: Loop, *, sotw: bool) -> None:
        self._loop = loop
        self._sotw = sotw
        self._source = StaticSource(known=False)
        self._server = AdsServer(self._source)
        self._call: Any = None
        self._asked = 0
        self._nonce = ""
        loop.run(self._open())

    async def _open(self) -> None:
        port = await self._server.start("127.0.0.1:0")
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)

    def close(self) -> None:
        self._loop.run(self._close())

    async def _close(self) -> None:
        if self._call is not None:
            self._call.cancel()
        await self._channel.close(None)
        await self._server.stop(0)

    def exchange(self, data: bytes) -> list[Effect]:
        """Send a request; what the server sends until it is done with it."""
        return self._loop.run(self._exchange(data))

    def update(self, snapshot: Snapshot, deltas: Sequence[Delta]) -> list[Effect]:
        """Change what the proxy should have; what the server sends for it."""
        return self._loop.run(self._update(snapshot, deltas))

    async def _exchange(self, data: bytes) -> list[Effect]:
        if self._call is None:
            method = SOTW_METHOD if self._sotw else DELTA_METHOD
            channel: Any = self._channel
            self._call = channel.stream_stream(f"/{SERVICE}/{method}")()
        await self._call.write(data)
        return await self._until_done()

    async def _update(self, snapshot: Snapshot, deltas: Sequence[Delta]) -> list[Effect]:
        self._source.state = {type_url: dict(resources) for type_url, resources in snapshot.items()}
        self._source.state[RUNTIME] = {name: probe(name) for name in map(_name, range(PROBES))}
        self._source.known = True
        self._source.announce(deltas)
        return await self._until_done() if self._call is not None else []

    async def _until_done(self) -> list[Effect]:
        if not self._source.known:
            return []  # nothing is answered before something is known
        await self._call.write(self._probe())
        effects: list[Effect] = []
        while True:
            data = await self._call.read()
            assert data is not END_OF_STREAM, await self._call.details()
            sent = self._sent(data)
            if sent.type_url != RUNTIME:
                effects.append(sent)
            elif _name(self._asked - 1) in sent.names:
                self._nonce = sent.nonce
                return effects

    def _probe(self) -> bytes:
        """Ask for one more resource of the type that no playbook uses, and accept the one before."""
        self._asked += 1
        assert self._asked <= PROBES, "a longer playbook needs more probes"
        asked = [_name(number) for number in range(self._asked)]
        if self._sotw:
            request = msg("envoy.service.discovery.v3.DiscoveryRequest")(
                type_url=RUNTIME, resource_names=asked, response_nonce=self._nonce
            )
        else:
            request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(
                type_url=RUNTIME, resource_names_subscribe=asked[-1:], response_nonce=self._nonce
            )
        request.node.id = NODE
        return serialize(request)

    def _sent(self, data: bytes) -> Send:
        if self._sotw:
            response = msg("envoy.service.discovery.v3.DiscoveryResponse").FromString(data)
            runtime = msg("envoy.service.runtime.v3.Runtime")
            found = [
                runtime.FromString(each.value).name
                for each in response.resources
                if response.type_url == RUNTIME
            ]
            return Send(response.type_url, response.nonce, tuple(found), (), data)
        response = msg("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(data)
        removed = tuple(response.removed_resources)
        return Send(
            response.type_url, response.nonce, tuple(each.name for each in response.resources), removed, data
        )


def _name(number: int) -> str:
    return f"probe-{number}"


def probe(name: str) -> Any:
    """A resource that only says that it was reached."""
    return encode(RUNTIME, name, msg("envoy.service.runtime.v3.Runtime")(name=name))


class WireDelta(DeltaSession):
    """A delta stream over gRPC, as a playbook sees it."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def receive(self, data: bytes, now: float) -> list[Effect]:
        self._open(self._parse(data)) if self.status.node is None else []
        return self.wire.exchange(data)

    def update(self, snapshot: Snapshot, deltas: Sequence[Delta], now: float) -> list[Effect]:
        return self.wire.update(snapshot, deltas)


class WireSotw(SotwSession):
    """A state-of-the-world stream over gRPC, as a playbook sees it."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def receive(self, data: bytes, now: float) -> list[Effect]:
        self._open(self._parse(data)) if self.status.node is None else []
        return self.wire.exchange(data)

    def update(self, snapshot: Snapshot, deltas: Sequence[Delta], now: float) -> list[Effect]:
        return self.wire.update(snapshot, deltas)


def over_wire(loop: Loop, *, sotw: bool) -> tuple[Session, Wire]:
    """A session over gRPC, and what to close after it."""
    wire = Wire(loop, sotw=sotw)
    return (WireSotw(wire) if sotw else WireDelta(wire)), wire
