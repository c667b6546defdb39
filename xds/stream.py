"""Joins one session to its transport, its source of configuration and the clock.

The transport seam is two calls: the transport gives `on_message(bytes)` and `on_close()`, and is
given `send(bytes)` and `end(code, detail)`. Neither side waits for the other; everything happens
on the event loop. What can wait is admission, which may ask the store: requests that arrive
meanwhile are taken in, and answered once the source has a snapshot.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from xds.effects import Effect, Opened, Refuse, Send
from xds.gate import Gate
from xds.limits import FIRST_REQUEST_LOOKS, FIRST_REQUEST_TIMEOUT_S
from xds.pacing import Pacer
from xds.session import Session
from xds.source import Admission, ConfigSource, NodeInfo, ProxyHandle, Refused
from xds.status import StreamStatus
from xds.types import Delta, Snapshot

log = logging.getLogger(__name__)
_ids = itertools.count(1)


class Transport(Protocol):
    """What a stream needs of the wire."""

    def send(self, data: bytes) -> None:
        """Write one message; never blocks."""

    def end(self, code: str, detail: str) -> None:
        """Finish the call with this gRPC status."""


class Observer(Protocol):
    """Follows streams, e.g. for insights and metrics. Called on the loop; must not block."""

    def stream_opened(self, stream: Stream) -> None:
        """The proxy was admitted; `stream.node` is set."""

    def stream_effect(self, stream: Stream, effect: Effect) -> None:
        """A response was sent, acknowledged or rejected; `stream.status` includes it."""

    def stream_closed(self, stream: Stream) -> None:
        """An admitted stream ended."""


class Stream:
    """One open stream of one proxy."""

    def __init__(
        self,
        session: Session,
        transport: Transport,
        source: ConfigSource,
        admission: Admission,
        headers: Mapping[str, str],
        observers: Sequence[Observer] = (),
        first_request_timeout: float = FIRST_REQUEST_TIMEOUT_S,
        gate: Gate | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        self._gate = gate if gate is not None else Gate()
        self.id = next(_ids)
        self.session = session
        self.headers = headers
        self._transport = transport
        self._source = source
        self._admission = admission
        self._observers = observers
        self._loop = asyncio.get_running_loop()
        self._pacer = pacer if pacer is not None else Pacer(self._loop.call_soon)
        self._handle: ProxyHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._expect(first_request_timeout / FIRST_REQUEST_LOOKS, FIRST_REQUEST_LOOKS)

    @property
    def status(self) -> StreamStatus:
        return self.session.status

    @property
    def node(self) -> NodeInfo | None:
        return self.session.status.node

    @property
    def admitted(self) -> bool:
        return self._handle is not None

    def snapshot(self) -> Snapshot | None:
        """What the proxy should have now; None while that is not known."""
        return None if self._handle is None else self._handle.snapshot()

    # --- from the transport --------------------------------------------------------------------

    def on_message(self, data: bytes) -> None:
        """A request arrived."""
        self._do(self.session.receive(data, self._loop.time()))

    def on_close(self) -> None:
        """The stream ended, whoever ended it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._disarm()
        self._pacer.drop(self._tick)
        if self._opening is not None:
            self._opening.cancel()
        if self._handle is not None:
            self._handle.close()
            for observer in self._observers:
                observer.stream_closed(self)

    def end(self, code: str, detail: str) -> None:
        """End the stream from our side."""
        self._transport.end(code, detail)
        self.on_close()

    # --- from the source -----------------------------------------------------------------------

    def _on_change(self, deltas: Sequence[Delta]) -> None:
        if self._closed or self._handle is None:
            return
        snapshot = self._handle.snapshot()
        if snapshot is not None:
            self.session.note(snapshot, deltas)
            self._pacer.submit(self._tick)

    async def _open(self, node: NodeInfo, resumed: bool) -> None:
        await self._gate.enter(resumed)
        try:
            await self._admission.admit(node, self.headers)
            self._handle = self._source.connect(node, self._on_change)
        except Refused as refusal:
            log.info("stream of %s refused: %s", node.id, refusal)
            self.end(refusal.code, refusal.detail)
            return
        except Exception:
            log.exception("stream of %s could not be opened", node.id)
            self.end("INTERNAL", "the control plane could not open the stream; see its log")
            return
        for observer in self._observers:
            observer.stream_opened(self)
        self._on_change(())

    # --- effects -------------------------------------------------------------------------------

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Opened(node, resumed):
                    self._opening = self._loop.create_task(self._open(node, resumed))
                case Send():
                    self._transport.send(effect.data)
                case Refuse(code, detail):
                    log.warning("stream of %s broke the protocol: %s", self._name(), detail)
                    self.end(code, detail)
                    return
            if not isinstance(effect, Opened):
                for observer in self._observers:
                    observer.stream_effect(self, effect)
        self._arm()

    def _name(self) -> str:
        return self.node.id if self.node is not None else "an unknown node"

    # --- the clock -----------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer, for the session's deadline."""
        self._disarm()
        deadline = self.session.deadline()
        if deadline is not None and not self._closed:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._disarm()
        self._do(self.session.tick(self._loop.time()))

    def _expect(self, pause: float, looks: int) -> None:
        """A first request, before we looked so many times. However late the loop comes to look, it reads what
        is there several times in between: that it was busy itself is not silence."""
        if looks:
            self._timer = self._loop.call_later(pause, self._expect, pause, looks - 1)
        else:
            self._timer = None
            self.end("DEADLINE_EXCEEDED", "no request came after the stream was opened")
