"""Thousands of fake Envoys in one process: the load of the xDS benchmark.

    python -m bench.envoys PORT NODE_PREFIX [--ack-only | SECRET...]

One HTTP/2 connection and one delta ADS stream each, as Envoy has, on one epoll. Each subscribes in
Envoy's order (clusters and listeners by wildcard, then the endpoints and routes that these name),
acknowledges every response and keeps names and versions, which it presents when it comes back. Told
by lines on stdin:

    connect A B    proxies A..B-1 connect
    reconnect      all close their connections, then all connect again at once

SECRET...: names of secrets, which all subscribe to.
--ack-only: one request at the start, then nothing but ACKs: the client of the bare server that
sets the floor.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import struct as structs
import sys
from collections.abc import Iterable

from bench import wire
from bench.wire import Frames, Messages, field, fields, frame, grpc_message, payload
from chaos.fakeenvoy import references
from xds.proto import serialize, struct
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

PATH = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
FEATURES = ["feature-delta-grpc", "feature-dynamic-routes", "feature-strict-inbound-ports"]
READ_BYTES = 1 << 18


def _literal(name: bytes, value: bytes) -> bytes:
    """A header, without indexing or compression (RFC 7541, 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


_POST, _HTTP = b"\x83", b"\x86"  # :method POST, :scheme http in the static table
HEADERS = _POST + _HTTP + _literal(b":path", PATH) + _literal(b":authority", b"bench")
HEADERS += _literal(b"content-type", b"application/grpc") + _literal(b"te", b"trailers")
_WINDOW, _FRAME_SIZE = 4, 5  # names of settings
SETTINGS = structs.pack(">HIHI", _WINDOW, wire.WINDOW_MAX, _FRAME_SIZE, wire.FRAME_BYTES_MAX)
OPENING = (
    wire.PREFACE
    + frame(wire.SETTINGS, 0, 0, SETTINGS)
    + frame(wire.WINDOW_UPDATE, 0, 0, structs.pack(">I", wire.WINDOW_MAX - 65535))
    + frame(wire.HEADERS, wire.END_HEADERS, 1, HEADERS)
)


def request(
    type_url: str,
    *,
    node: bytes = b"",
    subscribe: Iterable[str] = (),
    unsubscribe: Iterable[str] = (),
    versions: dict[str, bytes] | None = None,
    nonce: bytes = b"",
) -> bytes:
    """A DATA frame with a DeltaDiscoveryRequest."""
    parts = [field(1, node)] if node else []
    parts.append(field(2, type_url.encode()))
    parts += [field(3, name.encode()) for name in subscribe]
    parts += [field(4, name.encode()) for name in unsubscribe]
    for name, version in (versions or {}).items():
        parts.append(field(5, field(1, name.encode()) + field(2, version)))
    if nonce:
        parts.append(field(6, nonce))
    return frame(wire.DATA, 0, 1, grpc_message(b"".join(parts)))


class Envoy:
    """One proxy: what it knows survives its connections."""

    def __init__(self, node_id: str, ack_only: bool, secrets: set[str]) -> None:
        metadata = serialize(struct({"features": FEATURES}))
        self._node = field(1, node_id.encode()) + field(2, b"bench") + field(3, metadata)
        self._ack_only = ack_only
        self._versions: dict[str, dict[str, bytes]] = {}
        self._subscribed: dict[str, set[str]] = {ENDPOINT: set(), ROUTE: set(), SECRET: secrets}
        self._references: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
        self._frames, self._messages = Frames(), Messages()

    def hello(self) -> bytes:
        """The first bytes of a new connection."""
        self._frames, self._messages = Frames(), Messages()
        first = request(CLUSTER, node=self._node, versions=self._versions.get(CLUSTER))
        if self._ack_only:
            return OPENING + first
        rest = request(LISTENER, versions=self._versions.get(LISTENER))
        for type_url, names in self._subscribed.items():
            if names:
                rest += request(type_url, subscribe=sorted(names), versions=self._versions.get(type_url))
        return OPENING + first + rest

    def receive(self, data: bytes) -> bytes:
        """The answers to what arrived. Raises ConnectionError when the server ended the stream."""
        out = []
        for kind, flags, _, body in self._frames.feed(data):
            if kind == wire.DATA:
                out += [self._answer(each) for each in self._messages.feed(payload(flags, body))]
            elif kind == wire.SETTINGS and not flags & wire.ACK:
                out.append(frame(wire.SETTINGS, wire.ACK, 0))
            elif kind == wire.PING and not flags & wire.ACK:
                out.append(frame(wire.PING, wire.ACK, 0, body))
            elif kind in (wire.RESET, wire.GOAWAY) or (kind == wire.HEADERS and flags & wire.END_STREAM):
                raise ConnectionError(f"the server ended the stream: {body!r}")
        return b"".join(out)

    def _answer(self, message: bytes) -> bytes:
        type_url, nonce = "", b""
        resources: list[bytes] = []
        removed: list[str] = []
        for number, value in fields(message):
            match number:
                case 2:
                    resources.append(value)
                case 4:
                    type_url = value.decode()
                case 5:
                    nonce = value
                case 6:
                    removed.append(value.decode())
        if self._ack_only:
            return request(type_url, nonce=nonce)
        follow = self._apply(type_url, resources, removed)
        return b"".join(follow) + request(type_url, nonce=nonce)

    def _apply(self, type_url: str, resources: list[bytes], removed: list[str]) -> list[bytes]:
        versions = self._versions.setdefault(type_url, {})
        changed = False
        for each in resources:
            found = dict(fields(each))  # Resource: version 1, resource 2, name 3
            name = found[3].decode()
            versions[name] = found.get(1, b"")
            if type_url in (CLUSTER, LISTENER):
                refers = references(type_url, dict(fields(found[2])).get(2, b""))
                changed |= self._references.get((type_url, name), ()) != refers
                self._references[type_url, name] = refers
        for name in removed:
            versions.pop(name, None)
            changed |= bool(self._references.pop((type_url, name), ()))
        return self._follow() if changed else []

    def _follow(self) -> list[bytes]:
        """Subscribe to what is referred to now, and leave what no longer is."""
        wanted: dict[str, set[str]] = {ENDPOINT: set(), ROUTE: set()}
        for refers in self._references.values():
            for type_url, name in refers:
                wanted.setdefault(type_url, set()).add(name)
        out = []
        for type_url, now in wanted.items():
            before = self._subscribed.get(type_url, set())
            if now != before:
                out.append(request(type_url, subscribe=sorted(now - before), unsubscribe=before - now))
                for name in before - now:
                    self._versions.get(type_url, {}).pop(name, None)
                self._subscribed[type_url] = now
        return out


class Load:
    """All Envoys of this process on one epoll."""

    def __init__(self, port: int, prefix: str, ack_only: bool, secrets: Iterable[str]) -> None:
        self._port, self._prefix, self._ack_only = port, prefix, ack_only
        self._secrets = frozenset(secrets)
        self._poll = select.epoll()
        self._envoys: dict[int, Envoy] = {}
        self._open: dict[int, tuple[Envoy, socket.socket]] = {}
        self._commands = b""

    def run(self) -> None:
        """Until stdin ends."""
        self._poll.register(0, select.EPOLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd:
                    self._read(fd)
                elif not self._command():
                    return

    def _command(self) -> bool:
        data = os.read(0, READ_BYTES)
        *lines, self._commands = (self._commands + data).split(b"\n")
        for words in map(bytes.split, lines):
            if words[0] == b"connect":
                for number in range(int(words[1]), int(words[2])):
                    self._connect(number)
            else:
                self._reconnect()
        return bool(data)

    def _connect(self, number: int) -> None:
        envoy = self._envoys.get(number)
        if envoy is None:
            envoy = self._envoys[number] = Envoy(
                f"{self._prefix}{number}", self._ack_only, set(self._secrets)
            )
        wire_ = socket.create_connection(("127.0.0.1", self._port))
        wire_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire_.sendall(envoy.hello())
        self._open[wire_.fileno()] = (envoy, wire_)
        self._poll.register(wire_.fileno(), select.EPOLLIN)

    def _reconnect(self) -> None:
        for fd, (_, wire_) in self._open.items():
            self._poll.unregister(fd)
            wire_.close()
        self._open.clear()
        for number in list(self._envoys):
            self._connect(number)

    def _read(self, fd: int) -> None:
        if fd not in self._open:
            return  # closed by a command of the same turn
        envoy, wire_ = self._open[fd]
        data = wire_.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed a connection")
        answers = envoy.receive(data)
        if answers:
            wire_.sendall(answers)


def open_many_files() -> None:
    """A socket a proxy: raise the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    open_many_files()
    named = set(sys.argv[3:])
    Load(int(sys.argv[1]), sys.argv[2], "--ack-only" in named, named - {"--ack-only"}).run()
