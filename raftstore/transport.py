"""Connections between replicas: one mutual-TLS port, one live connection per peer.

Who dials: of two replicas the one with the greater id, so there is one connection and no
tie to break. A dropped one is dialled again with jittered, growing pauses. Both sides
speak first, with one hello frame:

    {"protocol": 1, "cluster": id, "node": who I am, "to": whom I mean (dialler only)}

Identity is the certificate (raftstore/certs.py); the hello must agree with it. Whoever
comes without a certificate of the cluster's CA, as somebody else, for somebody else, from
another cluster, with another protocol or with bytes that are not our frames is refused
with one log line that says why, and nothing else happens.

After the hello each frame is one value for the owner (Owner.frame). An idle side sends an
empty frame (None) so that a silent peer, one behind a cut network, is noticed: TCP alone
would take minutes, and as long again to recover after the cut is healed.

Frames are collected and written once per turn of the loop (flush()): one system call and
one TLS record for many small messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Protocol, cast

from raftstore import limits
from raftstore.certs import BadCertificate, peer_identity
from raftstore.errors import StoreError
from raftstore.frames import FrameDecoder, FrameError, Value, encode
from raftstore.quiet import QuietLog
from raftstore.tls import Tls

log = logging.getLogger(__name__)

PROTOCOL = 1
# How often to look for a new certificate: well within the hour that renewals are early.
RENEWAL_S = 60.0
Address = tuple[str, int]


class AddressInUse(StoreError):
    """The address to listen on cannot be bound."""


class Owner(Protocol):
    """Who uses the transport. All calls come on the loop and must return soon."""

    def peer_up(self, peer: str) -> None: ...

    def peer_down(self, peer: str) -> None: ...

    def frame(self, peer: str, value: Value) -> None:
        """Raises FrameError for a value that a peer of ours cannot have sent: the link is cut."""
        ...

    def batch_end(self) -> None:
        """All frames that had arrived are delivered."""
        ...

    def fail(self, error: BaseException) -> None:
        """A task of the transport ended over what must not happen: links would come back no more."""
        ...


class Link(asyncio.Protocol):
    """One TLS connection, from its first byte to its end."""

    def __init__(self, transport: Transport, expected: str | None) -> None:
        self._owner = transport
        self._decoder = FrameDecoder(limits.HELLO_BYTES_MAX)
        self._out: list[bytes] = []
        self.expected = expected  # whom we dialled
        self.peer: str | None = None  # set when the hello was good
        self.claimed: str | None = None  # whom the certificate names
        self.heard = self.spoke = 0.0
        self.closed = asyncio.Event()
        self.where = "?"
        self._wire: asyncio.Transport | None = None

    # --- asyncio.Protocol -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        self.where = _printable(transport.get_extra_info("peername"))
        self.heard = self.spoke = self._owner.now()
        self._owner.opened(self)
        try:
            self._identify(transport.get_extra_info("ssl_object"))
        except BadCertificate as error:
            self.refuse(str(error))
            return
        self._wire.write(encode(self._owner.hello(self.expected), limits.HELLO_BYTES_MAX))

    def data_received(self, data: bytes) -> None:
        self.heard = self._owner.now()
        self._decoder.feed(data)
        try:
            while (item := self._decoder.next()) is not None:
                if not self._take(item[0]):
                    return
        except FrameError as error:
            self.refuse(str(error))
            return
        if self.peer is not None:
            self._owner.owner.batch_end()

    def connection_lost(self, error: Exception | None) -> None:
        self._wire = None
        self.closed.set()
        self._owner.lost(self, error)

    # --- used by Transport ----------------------------------------------------------------

    def refuse(self, why: str, verb: str = "refused") -> None:
        self._owner.refused(self.where, f"{verb} {self.claimed or 'peer'} at {self.where}", why)
        self.abort()

    def abort(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    def append(self, frame: bytes) -> None:
        self._out.append(frame)

    def flush(self) -> None:
        if self._out and self._wire is not None:
            self.spoke = self._owner.now()
            self._wire.write(b"".join(self._out))
        self._out.clear()

    def backlog_bytes(self) -> int:
        return 0 if self._wire is None else self._wire.get_write_buffer_size()

    # --- inside ---------------------------------------------------------------------------

    def _identify(self, session: ssl.SSLObject | None) -> None:
        certificate = session.getpeercert() if session is not None else None
        if not certificate:
            raise BadCertificate("it shows no certificate")
        identity = peer_identity(cast(Mapping[str, Any], certificate))
        self.claimed = identity.node_id
        self._owner.check_identity(identity.cluster_id, identity.node_id, self.expected)

    def _take(self, value: Value) -> bool:
        """Deliver one value; False when the link ended over it."""
        if self.peer is None:
            fault = self._owner.fault_in_hello(value, self)
            if fault:
                self.refuse(fault)
                return False
            self._decoder.bytes_max = limits.PEER_FRAME_BYTES_MAX
            self.peer = self.claimed
            self._owner.up(self)
        elif not self._owner.is_live(self):
            return False
        elif value is not None:
            self._owner.owner.frame(self.peer, value)
        return self._wire is not None


class Transport:
    """All links of one replica. `addresses`: node id to (host, port) of the peers to know."""

    def __init__(self, tls: Tls, listen: Address, owner: Owner, rng: random.Random | None = None) -> None:
        self.owner = owner
        self._tls = tls
        self._me = tls.identity
        self._listen = listen
        self._rng = rng or random.Random()
        self._loop = asyncio.get_running_loop()
        self._addresses: dict[str, Address] = {}
        self._links: dict[str, Link] = {}
        self._dirty: set[Link] = set()
        self._pending: set[Link] = set()  # hello not yet seen
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._socket: socket.socket | None = None
        self._handshakes = 0
        self._quiet = QuietLog(log, self._loop.time)

    # --- life -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and keep dialling the peers. Raises AddressInUse."""
        self._socket = _listening_socket(self._listen)
        self._spawn(self._accept(self._socket))
        self._spawn(self._watch())

    async def close(self) -> None:
        for task in [*self._tasks, *self._dialling.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._dialling.values(), return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        links = [*self._links.values(), *self._pending]
        self._links.clear()
        for link in links:
            link.flush()
            link.abort()
        for link in links:
            await link.closed.wait()

    @property
    def port(self) -> int:
        """The port in use, also when 0 was asked for."""
        assert self._socket is not None, "start() comes first"
        return int(self._socket.getsockname()[1])

    def set_peers(self, addresses: Mapping[str, Address]) -> None:
        """Whom to talk to from now on. Links to others are cut."""
        self._addresses = {peer: where for peer, where in addresses.items() if peer != self._me.node_id}
        for peer in [p for p in self._dialling if p not in self._addresses]:
            self._dialling.pop(peer).cancel()
        for peer in [p for p in self._links if p not in self._addresses]:
            self._links[peer].abort()
        for peer in self._addresses:
            if self._me.node_id > peer and peer not in self._dialling:
                self._dialling[peer] = self._loop.create_task(self._dial(peer))
                self._dialling[peer].add_done_callback(self._ended)

    # --- sending --------------------------------------------------------------------------

    def connected(self, peer: str) -> bool:
        return peer in self._links

    def backlog_bytes(self, peer: str) -> int:
        """Bytes that wait for `peer` to read; 0 when it is not connected."""
        link = self._links.get(peer)
        return 0 if link is None else link.backlog_bytes()

    def send(self, peer: str, value: object) -> bool:
        """Queue one value until flush(). False when the peer is not connected: it is dropped.

        Raises FrameError when it is larger than a peer accepts.
        """
        link = self._links.get(peer)
        if link is None:
            return False
        link.append(encode(value, limits.PEER_FRAME_BYTES_MAX))
        self._dirty.add(link)
        return True

    def flush(self) -> None:
        """Write what was queued. A peer that lets too much pile up is cut; Raft sends again."""
        dirty, self._dirty = self._dirty, set()
        for link in dirty:
            link.flush()
            if link.backlog_bytes() > limits.PEER_BACKLOG_BYTES_MAX:
                link.refuse(f"it does not read: {link.backlog_bytes()} bytes wait for it", "cut off")

    # --- used by Link ---------------------------------------------------------------------

    def now(self) -> float:
        return self._loop.time()

    def hello(self, to: str | None) -> dict[str, object]:
        return {"protocol": PROTOCOL, "cluster": self._me.cluster_id, "node": self._me.node_id, "to": to}

    def check_identity(self, cluster_id: str, node_id: str, expected: str | None) -> None:
        """Raises BadCertificate with what is wrong with a verified certificate's identity."""
        if cluster_id != self._me.cluster_id:
            raise BadCertificate(
                f"its certificate is of cluster {cluster_id}; this is cluster {self._me.cluster_id}"
            )
        if expected is not None and node_id != expected:
            raise BadCertificate(
                f"its certificate says {node_id}, and {expected} was expected at this address"
            )
        if node_id == self._me.node_id:
            raise BadCertificate(f"its certificate says {node_id}, which is this replica itself")

    def fault_in_hello(self, value: Value, link: Link) -> str | None:
        if not isinstance(value, dict) or "protocol" not in value:
            return "its first frame is not a hello"
        if value["protocol"] != PROTOCOL:
            return f"it speaks protocol {value['protocol']!r}; this replica speaks {PROTOCOL}"
        if value.get("cluster") != self._me.cluster_id:
            return f"it is of cluster {value.get('cluster')!r}; this is cluster {self._me.cluster_id}"
        if value.get("node") != link.claimed:
            return f"it claims to be {value.get('node')!r} and its certificate says {link.claimed!r}"
        if value.get("to") not in (None, self._me.node_id):
            return f"it looks for {value['to']!r} and this is {self._me.node_id!r}"
        if link.claimed not in self._addresses:
            return f"{link.claimed} is not a peer of this replica"
        return None

    def refused(self, where: str, who: str, why: str) -> None:
        """Whoever is refused comes again, from another port: one line a minute tells enough."""
        self._quiet.warning((where.rpartition(":")[0], who.partition(" at ")[0], why), f"{who}: {why}")

    def opened(self, link: Link) -> None:
        self._pending.add(link)

    def up(self, link: Link) -> None:
        assert link.peer is not None
        self._pending.discard(link)
        old = self._links.pop(link.peer, None)
        if old is not None:  # the peer restarted, or came back before we noticed that it had gone
            old.abort()
            self.owner.peer_down(link.peer)
        self._links[link.peer] = link
        log.info("connected to %s at %s", link.peer, link.where)
        self.owner.peer_up(link.peer)

    def is_live(self, link: Link) -> bool:
        return link.peer is not None and self._links.get(link.peer) is link

    def lost(self, link: Link, error: Exception | None) -> None:
        self._pending.discard(link)
        self._dirty.discard(link)
        if link.peer is not None and self.is_live(link):
            del self._links[link.peer]
            log.info("lost %s at %s%s", link.peer, link.where, f": {error}" if error else "")
            self.owner.peer_down(link.peer)
            self.owner.batch_end()
        elif link.peer is None and error is not None:
            self.refused(link.where, f"refused by {link.expected or 'peer'} at {link.where}", _reason(error))

    # --- tasks ----------------------------------------------------------------------------

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a task of the transport failed: %r", error, exc_info=error)
            self.owner.fail(error)

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(listening)
            except OSError as error:  # out of file descriptors, or the caller vanished
                log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(0.1)
                continue
            if self._handshakes >= limits.HANDSHAKES_MAX:
                sock.close()
                continue
            self._handshakes += 1
            self._spawn(self._welcome(sock))

    async def _welcome(self, sock: socket.socket) -> None:
        link = Link(self, None)
        where = "?"
        try:
            where = _printable(sock.getpeername())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                lambda: link, sock, ssl=self._tls.server, ssl_handshake_timeout=limits.HANDSHAKE_S
            )
        except Exception as error:  # noqa: BLE001 - whatever a stranger made of a handshake
            sock.close()
            self.refused(where, f"refused peer at {where}", _reason(error))
        finally:
            self._handshakes -= 1

    async def _dial(self, peer: str) -> None:
        pause_s = limits.REDIAL_S_MIN
        while True:
            link, dialed_at = Link(self, peer), self.now()
            try:
                await self._connect(peer, link)
                await link.closed.wait()
            except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
                log.debug("cannot reach %s at %s: %s", peer, self._addresses[peer], _reason(error))
            # Whoever is refused by the other side has been let in by this one, for a moment.
            lasted = link.peer and self.now() - dialed_at >= limits.REDIAL_LASTED_S
            pause_s = limits.REDIAL_S_MIN if lasted else min(2 * pause_s, limits.REDIAL_S_MAX)
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.5))

    async def _connect(self, peer: str, link: Link) -> None:
        host, port = self._addresses[peer]
        async with asyncio.timeout(limits.HANDSHAKE_S):
            wire, _ = await self._loop.create_connection(lambda: link, host, port, ssl=self._tls.client)
        sock = wire.get_extra_info("socket")
        if sock is None:
            return  # it was reset right after the handshake
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def _watch(self) -> None:
        """Ping where it is silent; cut who has been silent for too long."""
        ping = encode(None, limits.HELLO_BYTES_MAX)
        renewal_at = self.now() + RENEWAL_S
        while True:
            await asyncio.sleep(limits.PING_S / 2)
            now = self.now()
            if now >= renewal_at:
                renewal_at = now + RENEWAL_S
                self._renew()
            for link in [*self._links.values(), *self._pending]:
                allowed = limits.SILENCE_S if link.peer else limits.HANDSHAKE_S
                if now - link.heard > allowed:
                    link.refuse(f"it has been silent for {allowed:g} s", "cut off")
                elif link.peer and now - link.spoke >= limits.PING_S:
                    link.append(ping)
                    link.flush()

    def _renew(self) -> None:
        """A certificate that was replaced on disk serves the connections from now on."""
        try:
            if self._tls.renewed():
                log.info("using the new certificate of %s", self._me.node_id)
        except BadCertificate as error:
            self._quiet.warning("renewal", f"the new certificate is not used: {error}")


def _listening_socket(listen: Address) -> socket.socket:
    host, port = listen
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return sock


def _printable(address: object) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and len(address) >= 2 else "?"


_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not of this cluster's CA, or not valid now",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it speaks HTTP, not TLS",
    "UNSUPPORTED_PROTOCOL": "it cannot speak TLS 1.3",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not accept our certificate's CA",
}


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no TLS handshake in time"
    name = getattr(error, "reason", None)
    if isinstance(name, str):
        return f"{_REASONS.get(name, 'TLS handshake failed')} ({name})"
    return str(error) or type(error).__name__
