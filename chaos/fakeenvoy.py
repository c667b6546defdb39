"""A delta ADS client that behaves like Envoy, without the Envoy: for tests, faults and benchmarks.

The core is a pure machine: `hello()` gives the requests of a new connection, `receive(response)`
the requests that answer one. It subscribes in Envoy's order (clusters by wildcard, the endpoints
of EDS clusters, then listeners, and the routes and secrets that clusters and listeners name),
acknowledges everything unless told to reject, and keeps its resources and their versions when the
connection ends. `run` moves the bytes over a gRPC channel.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import grpc.aio

from xds.proto import UnknownMessage, msg, msg_of_url, serialize, struct, unpack_any
from xds.server import DELTA_METHOD, SERVICE
from xds.session import eds_name
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

# Returns why a resource (type URL, name, bytes) is rejected, or None to accept it.
Judge = Callable[[str, str, bytes], str | None]

END_OF_STREAM = cast("Any", grpc.aio).EOF

RDS_MESSAGE = "envoy.extensions.filters.network.http_connection_manager.v3.Rds"
SDS_MESSAGE = "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig"


def accept_all(type_url: str, name: str, body: bytes) -> str | None:
    return None


class FakeEnvoy:
    """One proxy. `resources`: type URL -> name -> bytes; `versions` alike."""

    def __init__(
        self,
        node_id: str,
        metadata: Mapping[str, Any] | None = None,
        cluster: str = "",
        judge: Judge = accept_all,
        wildcards: Sequence[str] = (CLUSTER, LISTENER),
    ) -> None:
        self.node_id = node_id
        self.metadata = dict(metadata or {})
        self.cluster = cluster
        self.judge = judge
        self.wildcards = wildcards
        self.resources: dict[str, dict[str, bytes]] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.subscribed: dict[str, set[str]] = {}
        self.responses = 0
        self.received: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        self._opened: set[str] = set()

    def hello(self) -> list[bytes]:
        """The first requests on a new stream, with what is left from earlier ones."""
        self._opened = set()
        types = [*self.wildcards, *(t for t in self.subscribed if t not in self.wildcards)]
        return [self._request(t, sorted(self.subscribed.get(t, ()))) for t in types]

    def receive(self, data: bytes) -> list[bytes]:
        """Take a DeltaDiscoveryResponse; returns the answers (ACK or NACK, new subscriptions)."""
        response = msg("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(data)
        type_url = response.type_url
        self.responses += 1
        names = tuple(resource.name for resource in response.resources)
        self.received.append((type_url, names, tuple(response.removed_resources)))
        errors = self._apply(response)
        requests = self._follow(type_url)
        request = {"type_url": type_url, "response_nonce": response.nonce}
        if errors:
            detail = ", ".join(f"{name}: {reason}" for name, reason in errors.items())
            request["error_detail"] = {"code": 13, "message": f"Error adding/updating {detail}"}
        return [*requests, serialize(msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(**request))]

    def _apply(self, response: Any) -> dict[str, str]:
        resources = self.resources.setdefault(response.type_url, {})
        versions = self.versions.setdefault(response.type_url, {})
        errors: dict[str, str] = {}
        asked_for = self.subscribed.get(response.type_url, set())
        for resource in response.resources:
            if response.type_url not in self.wildcards and resource.name not in asked_for:
                continue  # it was on its way when we unsubscribed
            reason = self.judge(response.type_url, resource.name, resource.resource.value)
            if reason is not None:
                errors[resource.name] = reason
                continue
            resources[resource.name] = resource.resource.value
        for name in response.removed_resources:
            resources.pop(name, None)
            versions.pop(name, None)
        if not errors:  # like Envoy: good resources of a rejected response apply, unversioned
            received = {resource.name: resource.version for resource in response.resources}
            versions.update((name, received[name]) for name in received if name in resources)
        return errors

    def _follow(self, type_url: str) -> list[bytes]:
        """Subscribe to what the resources of this type refer to, and leave what they no longer do."""
        wanted: dict[str, set[str]] = {}
        if type_url in (CLUSTER, LISTENER):
            for source in (CLUSTER, LISTENER):
                for body in self.resources.get(source, {}).values():
                    for target, name in references(source, body):
                        wanted.setdefault(target, set()).add(name)
        requests = []
        targets = (ENDPOINT, SECRET, ROUTE) if type_url in (CLUSTER, LISTENER) else ()
        for target in targets:
            now, before = wanted.get(target, set()), self.subscribed.get(target, set())
            if now != before:
                self.subscribed[target] = now
                requests.append(self._request(target, sorted(now - before), sorted(before - now)))
                for name in before - now:
                    self.resources.get(target, {}).pop(name, None)
                    self.versions.get(target, {}).pop(name, None)
        return requests

    def _request(self, type_url: str, names: Iterable[str], dropped: Iterable[str] = ()) -> bytes:
        request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(
            type_url=type_url,
            resource_names_subscribe=names,
            resource_names_unsubscribe=dropped,
        )
        if not self._opened:
            request.node.id = self.node_id
            request.node.cluster = self.cluster
            request.node.metadata.CopyFrom(struct(self.metadata))
        if type_url not in self._opened:
            request.initial_resource_versions.update(self.versions.get(type_url, {}))
        self._opened.add(type_url)
        return serialize(request)


@lru_cache(maxsize=16384)
def references(type_url: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """The (type URL, name) of the resources that a cluster or listener asks its control plane for."""
    message = msg_of_url(type_url).FromString(body)
    found = {(ROUTE, m.route_config_name) for m in walk(message) if m.DESCRIPTOR.full_name == RDS_MESSAGE}
    found |= {
        (SECRET, m.name)
        for m in walk(message)
        if m.DESCRIPTOR.full_name == SDS_MESSAGE and m.HasField("sds_config")
    }
    endpoints = eds_name(body) if type_url == CLUSTER else None
    if endpoints is not None:
        found.add((ENDPOINT, endpoints))
    return tuple(sorted(found))


def walk(message: Any) -> Iterator[Any]:
    """The message and all messages inside it, through Any as well."""
    yield message
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        try:
            yield from walk(unpack_any(message))
        except UnknownMessage:
            return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for entry in value.values():
                    yield from walk(entry)
        elif isinstance(value, Sequence) or hasattr(value, "add"):
            for entry in value:
                yield from walk(entry)
        else:
            yield from walk(value)


class Connection:
    """A FakeEnvoy on one gRPC stream. Wait with `until`; leave with `close`."""

    def __init__(self, envoy: FakeEnvoy, channel: Any, headers: Mapping[str, str]) -> None:
        self.envoy = envoy
        self._call = channel.stream_stream(f"/{SERVICE}/{DELTA_METHOD}")(metadata=tuple(headers.items()))
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Until the stream ends; how it ended is the call's status."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._talk()
        self._changed.set()

    async def _talk(self) -> None:
        for request in self.envoy.hello():
            await self._call.write(request)
        while (response := await self._call.read()) is not END_OF_STREAM:
            for request in self.envoy.receive(response):
                await self._call.write(request)
            self._changed.set()

    async def until(self, condition: Callable[[FakeEnvoy], bool], timeout: float = 5.0) -> None:
        """Return when the condition holds. Raises TimeoutError, or the error that ended the stream."""
        async with asyncio.timeout(timeout):
            while not condition(self.envoy):
                self._changed.clear()
                waiter = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait((waiter, self._task), return_when=asyncio.FIRST_COMPLETED)
                waiter.cancel()
                if self._task.done() and not condition(self.envoy):
                    raise ConnectionError(
                        f"the stream ended: {await self._call.code()} {await self._call.details()}"
                    )

    async def ended(self, timeout: float = 5.0) -> tuple[str, str]:
        """Wait until the server ends the stream; the status name and details."""
        async with asyncio.timeout(timeout):
            await asyncio.wait((self._task,))
            return (await self._call.code()).name, await self._call.details()

    async def close(self) -> None:
        self._call.cancel()
        await asyncio.wait((self._task,))
