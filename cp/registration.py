"""Proxies come and go: the control plane's part of a proxy's life, as log events.

A proxy that brings its Dataplane with it is registered when its stream begins, and taken
away some time after its stream has ended, unless it came back, here or to another replica.
Why this needs no agreement but the log's: docs/adr/0004.

A replica without quorum still serves the proxies that it knows: what cannot be written is
tried again until the stream ends, and no proxy is refused for it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from cp.live import LiveView
from cp.plan import PutOp
from cp.presence import connected, disconnected, may_be_removed, stream_status
from cp.problems import Problem
from cp.reporting import Reported
from cp.resources import Origin, Resources
from cp.streams import Connections
from mesh.codec import decode, encode_value, rfc3339, to_document
from mesh.errors import BadRequest, Invalid
from mesh.resource import Resource
from raftstore.errors import StoreError
from raftstore.port import Store
from raftstore.types import Absent, Delete, Exists, Guard, Key, Put, Txn, VersionIs
from xds.source import Admission, ConfigSource, NodeInfo, OnChange, ProxyHandle, Refused
from xds.types import Snapshot

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0
KNOWN_WAIT_S = 5.0  # for a Dataplane written by another replica a moment ago
RESOURCE_BYTES_MAX = 1 << 20
METADATA_BYTES_MAX = 8 << 10  # of a node in its insight; Kuma's data-plane runner tells about 1 KiB

# proxy type -> (kind of the proxy, kind of its insight)
_KINDS = {
    "dataplane": ("Dataplane", "DataplaneInsight"),
    "ingress": ("ZoneIngress", "ZoneIngressInsight"),
    "egress": ("ZoneEgress", "ZoneEgressInsight"),
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """Who a stream is for. `document`: the resource that it brought, if any; `metadata`: what it
    told of itself beyond that, as its insight records it."""

    kind: str
    insight_kind: str
    mesh: str
    name: str
    document: Mapping[str, Any] | None
    version: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return Key(self.kind, self.mesh, self.name)

    @property
    def insight_key(self) -> Key:
        return Key(self.insight_kind, self.mesh, self.name)


def proxy_of(node: NodeInfo) -> Proxy:
    """Read the node. Raises Refused("INVALID_ARGUMENT") with what is wrong with it."""
    mesh, separator, name = node.id.partition(".")
    proxy_type = str(node.metadata.get("dataplane.proxyType") or "dataplane")
    if not separator or not name or proxy_type not in _KINDS or bool(mesh) != (proxy_type == "dataplane"):
        raise Refused(
            "INVALID_ARGUMENT", f"node id {node.id!r} must be <mesh>.<name> (zone proxies: .<name>)"
        )
    kind, insight_kind = _KINDS[proxy_type]
    raw = node.metadata.get("dataplane.resource")
    document = None
    if raw:
        if not isinstance(raw, str) or len(raw) > RESOURCE_BYTES_MAX:
            raise Refused(
                "INVALID_ARGUMENT", f"dataplane.resource must be JSON of at most {RESOURCE_BYTES_MAX} bytes"
            )
        try:
            document = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise Refused("INVALID_ARGUMENT", f"dataplane.resource is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise Refused("INVALID_ARGUMENT", "dataplane.resource must be a JSON object")
    version = node.metadata.get("version")
    known = version if isinstance(version, dict) else {}
    return Proxy(kind, insight_kind, mesh, name, document, known, _recorded(node.metadata))


# What of a node is recorded elsewhere: the resource as such, the version with each subscription.
_RECORDED_ELSEWHERE = ("dataplane.resource", "version")


def _recorded(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What of a node goes into its insight, so that any replica can tell the proxy's configuration.

    Nothing, when it is larger than what a proxy needs to say: insights are written at each connection.
    A token is nobody else's to read, wherever a runner may put it.
    """
    recorded = {
        key: value
        for key, value in metadata.items()
        if key not in _RECORDED_ELSEWHERE and "token" not in key.lower()
    }
    return recorded if len(orjson.dumps(recorded)) <= METADATA_BYTES_MAX else {}


class Registrar:
    """Admits proxies, registers what they bring, and follows their streams.

    `then` decides first (authentication). As a ConfigSource it wraps another one, to learn
    when streams begin and end.
    """

    def __init__(
        self,
        store: Store,
        live: LiveView,
        resources: Resources,
        source: ConfigSource,
        *,
        then: Admission,
        instance: str,
        deregistration_delay_s: float,
        connections: Connections | None = None,
    ) -> None:
        self._store = store
        self._live = live
        self._resources = resources
        self._source = source
        self._then = then
        self._instance = instance
        self._delay_s = deregistration_delay_s
        self._connections = connections if connections is not None else Connections()
        self._streams: dict[Key, str] = {}  # proxy -> its newest subscription here
        self._by_node: dict[str, Reported] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def stop(self) -> None:
        """Streams that end from now on end because of us: no proxy is taken away for it."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- Admission ---

    async def admit(self, node: NodeInfo, headers: Mapping[str, str]) -> None:
        await self._then.admit(node, headers)
        proxy = proxy_of(node)
        if proxy.document is None:
            await self._expect_known(proxy)
            return
        try:
            await self._register(proxy)
        except Problem as problem:
            raise Refused("INVALID_ARGUMENT", _told(problem)) from problem
        except StoreError as error:
            if self._live.view.get(*proxy.key) is None:
                raise Refused("UNAVAILABLE", str(error)) from error

    async def _register(self, proxy: Proxy) -> None:
        """Write the resource that the proxy brought, unless the log has it. Raises Problem, StoreError."""
        if proxy.document is None or self._is_registered(proxy):
            return
        operation = PutOp(proxy.document, kind=proxy.kind, mesh=proxy.mesh or None, name=proxy.name)
        origin = Origin(actor=f"proxy {proxy.mesh}.{proxy.name}", cause="proxy registration")
        await self._resources.write([operation], origin)

    def _is_registered(self, proxy: Proxy) -> bool:
        """Whether the log has what the proxy brought already; then nothing is written."""
        stored = self._live.view.get(*proxy.key)
        if stored is None or proxy.document is None:
            return False
        try:
            return bool(decode(proxy.document).spec == stored.spec)
        except (Invalid, BadRequest):
            return False

    async def _expect_known(self, proxy: Proxy) -> None:
        deadline = time.monotonic() + KNOWN_WAIT_S
        while self._live.view.get(*proxy.key) is None:
            if time.monotonic() > deadline:
                where = f" in mesh {proxy.mesh!r}" if proxy.mesh else ""
                raise Refused("NOT_FOUND", f"there is no {proxy.kind} {proxy.name!r}{where}")
            await self._live.wait_for(self._live.index + 1, 0.5)

    # --- ConfigSource ---

    def connect(self, node: NodeInfo, on_change: OnChange) -> ProxyHandle:
        proxy = proxy_of(node)
        subscription = secrets.token_hex(8)
        self._streams[proxy.key] = subscription
        self._by_node[node.id] = Reported(proxy.key, proxy.insight_key, subscription)
        handle = self._source.connect(node, on_change)
        self._spawn(self._began(proxy, subscription))
        return _Handle(handle, lambda: self._ended(proxy, node.id, subscription))

    def whose(self, node_id: str) -> Reported | None:
        """Where the status of a node's newest stream is written; None when it has none here."""
        return self._by_node.get(node_id)

    def _ended(self, proxy: Proxy, node_id: str, subscription: str) -> None:
        if self._streams.get(proxy.key) == subscription:
            del self._streams[proxy.key]
            self._by_node.pop(node_id, None)
            if not self._stopping:
                self._spawn(self._leave(proxy, subscription, self._status(node_id)))

    def _status(self, node_id: str) -> dict[str, Any] | None:
        """What a stream that ends came to."""
        connection = self._connections.of_node(node_id)
        return None if connection is None else stream_status(connection.stream.status, _now())

    # --- what follows a stream, in the background ---

    async def _began(self, proxy: Proxy, subscription: str) -> None:
        def subscriptions(insight: dict[str, Any] | None) -> Sequence[Mapping[str, Any]]:
            return connected(
                insight, subscription=subscription, instance=self._instance, now=_now(), version=proxy.version
            )

        await self._update_insight(
            proxy, subscriptions, lambda: self._streams.get(proxy.key) == subscription, "proxy connected"
        )

    async def _leave(self, proxy: Proxy, subscription: str, status: dict[str, Any] | None) -> None:
        def subscriptions(insight: dict[str, Any] | None) -> Sequence[Mapping[str, Any]] | None:
            return disconnected(insight, subscription=subscription, now=_now(), status=status)

        def still_gone() -> bool:
            return proxy.key not in self._streams

        if not await self._update_insight(proxy, subscriptions, still_gone, "proxy disconnected"):
            return
        if proxy.document is None:
            return  # created through the API: not the proxy's to take away
        await asyncio.sleep(self._delay_s)
        if still_gone():
            await self._remove(proxy, subscription)

    async def _remove(self, proxy: Proxy, subscription: str) -> None:
        """Delete it, unless the insight says, or the log by then says, that it came back."""
        insight = self._live.view.get(*proxy.insight_key)
        if insight is None or not may_be_removed(to_document(insight), subscription=subscription):
            return
        txn = Txn(
            writes=(Delete(proxy.key), Delete(proxy.insight_key)),
            guards=(VersionIs(proxy.insight_key, insight.version), Exists(proxy.key)),
            actor="raftmesh",
            cause="the proxy disconnected and did not come back",
            request_id=f"deregister {subscription}",
        )
        try:
            outcome = await self._store.submit(txn)
        except StoreError as error:
            log.warning("%s %s stays registered: %s", proxy.kind, proxy.name, error)
            return
        if outcome.applied:
            log.info("%s %s in mesh %s has left", proxy.kind, proxy.name, proxy.mesh)

    async def _update_insight(
        self,
        proxy: Proxy,
        subscriptions: Callable[[dict[str, Any] | None], Sequence[Mapping[str, Any]] | None],
        still_wanted: Callable[[], bool],
        cause: str,
    ) -> bool:
        """Write the insight, over races and outages, for as long as it is wanted; whether it was written.

        A lost race is tried again at once (the view has what won it), an outage after a pause.
        """
        retry_s = RETRY_FIRST_S
        while still_wanted():
            stored = self._live.view.get(*proxy.insight_key)
            wanted = subscriptions(to_document(stored) if stored else None)
            if wanted is None:
                return False
            try:
                if await self._write_insight(proxy, stored, wanted, cause):
                    return True
                if self._live.view.get(*proxy.key) is not None:
                    continue
                if proxy.document is None or proxy.key not in self._streams:
                    return False  # deleted, and not ours to bring back
                await self._register(proxy)  # taken away while it moved here
                continue
            except (StoreError, Problem) as error:
                log.debug("insight of %s: %s; trying again", proxy.name, error)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MAX_S)
        return False

    async def _write_insight(
        self, proxy: Proxy, stored: Resource | None, subscriptions: Sequence[Mapping[str, Any]], cause: str
    ) -> bool:
        key = proxy.insight_key
        document: dict[str, Any] = to_document(stored) if stored else {"type": key.kind, "name": key.name}
        if key.mesh:
            document["mesh"] = key.mesh
        document.pop("metadata", None)
        if proxy.metadata:
            document["metadata"] = dict(proxy.metadata)
        resource = decode({**document, "subscriptions": list(subscriptions)})
        unchanged: Guard = VersionIs(key, stored.version) if stored else Absent(key)
        txn = Txn(
            writes=(Put(key, encode_value(resource)),),
            guards=(unchanged, Exists(proxy.key)),
            actor="raftmesh",
            cause=cause,
        )
        outcome = await self._store.submit(txn)
        if not outcome.applied:
            await self._live.wait_for(outcome.index, RETRY_MAX_S)
        return outcome.applied

    def _spawn(self, work: Any) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception:
                log.exception("following a proxy's stream failed")

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _now() -> str:
    return rfc3339(int(time.time() * 1000))


def _told(problem: Problem) -> str:
    """A problem on one line, with each field that is at fault."""
    fields = "; ".join(f"{each.field}: {each.reason}" for each in problem.invalid)
    return f"{problem.title}: {problem.detail}" + (f" ({fields})" if fields else "")


class _Handle:
    """The source's handle, which also says when the stream has ended."""

    def __init__(self, handle: ProxyHandle, ended: Callable[[], None]) -> None:
        self._handle = handle
        self._ended = ended
        self._closed = False

    def snapshot(self) -> Snapshot | None:
        return self._handle.snapshot()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._handle.close()
            self._ended()
