"""Links between replicas over real mutual TLS on loopback: who is let in, who is not and why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from raftstore import limits
from raftstore.certs import create_ca, issue
from raftstore.frames import FrameError, Value, encode
from raftstore.tls import load_tls
from raftstore.transport import PROTOCOL, AddressInUse, Transport

DEADLINE_S = 30.0


class Recorder:
    """An owner that notes what it is told."""

    def __init__(self) -> None:
        self.up: list[str] = []
        self.down: list[str] = []
        self.got: list[tuple[str, Value]] = []
        self.batches = 0
        self.failures: list[BaseException] = []

    def peer_up(self, peer: str) -> None:
        self.up.append(peer)

    def peer_down(self, peer: str) -> None:
        self.down.append(peer)

    def frame(self, peer: str, value: Value) -> None:
        if value == "bad":
            raise FrameError("nobody sends that")
        self.got.append((peer, value))

    def batch_end(self) -> None:
        self.batches += 1

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"not within {DEADLINE_S} s: {what}")


class Net:
    """Transports a, b, ... of one cluster, on ephemeral ports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.transports: dict[str, Transport] = {}
        self.owners: dict[str, Recorder] = {}
        create_ca(root)

    async def add(self, node_id: str, port: int = 0) -> Transport:
        if not (self.root / f"{node_id}.pem").exists():
            issue(self.root, node_id)
        self.owners[node_id] = Recorder()
        tls = load_tls(self.root, node_id)
        made = Transport(tls, ("127.0.0.1", port), self.owners[node_id], random.Random(node_id))
        self.transports[node_id] = made
        await made.start()
        return made

    def connect(self) -> None:
        addresses = {n: ("127.0.0.1", t.port) for n, t in self.transports.items()}
        for transport in self.transports.values():
            transport.set_peers(addresses)

    async def close(self) -> None:
        for transport in self.transports.values():
            await transport.close()


class Resetting:
    """A server that resets each connection with the last byte of its handshake, before any other of its loop."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._loop = asyncio.get_running_loop()
        self.port = int(self._listening.getsockname()[1])
        self.connections = 0

    def __enter__(self) -> Resetting:
        self._loop.add_reader(self._listening, self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        connection, _ = self._listening.accept()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = self._tls.wrap_bio(incoming, outgoing, server_side=True)
        self.connections += 1

        def handshake() -> None:
            incoming.write(connection.recv(1 << 16))
            with contextlib.suppress(ssl.SSLWantReadError):
                session.do_handshake()
            connection.sendall(outgoing.read())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._loop.remove_reader(connection)
            connection.close()

        self._loop.add_reader(connection, handshake)


@pytest.fixture
async def net(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Net]:
    caplog.set_level(logging.WARNING)
    made = Net(tmp_path)
    yield made
    await made.close()


async def pair(net: Net) -> tuple[Transport, Transport]:
    a, b = await net.add("a"), await net.add("b")
    net.connect()
    await until(lambda: a.connected("b") and b.connected("a"), "a and b are connected")
    return a, b


async def stranger(net: Net, tls_of: str | None, first: bytes, root: Path | None = None) -> bytes:
    """Connect to transport a by hand; what it answers until it hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    root = root or net.root
    if tls_of:
        context.load_cert_chain(root / f"{tls_of}.pem", root / f"{tls_of}.key")
    port = net.transports["a"].port
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(first)
            try:
                return await reader.read()
            finally:
                writer.close()
    except (OSError, ssl.SSLError):
        return b""


def hello(net: Net, node_id: str, **changed: object) -> bytes:
    cluster = load_tls(net.root, "a").identity.cluster_id
    return encode({"protocol": PROTOCOL, "cluster": cluster, "node": node_id, "to": "a"} | changed, 1 << 20)


async def refused(caplog: pytest.LogCaptureFixture, why: str) -> None:
    await until(lambda: any(why in r.getMessage() for r in caplog.records), f"a log line with {why!r}")
    lines = [r.getMessage() for r in caplog.records if why in r.getMessage()]
    assert len(lines) == 1 and "\n" not in lines[0]


async def test_values_arrive_in_order_and_only_after_flush(net: Net) -> None:
    a, b = await pair(net)
    for i in range(500):
        assert a.send("b", {"n": i})
    assert net.owners["b"].got == []
    a.flush()
    await until(lambda: len(net.owners["b"].got) == 500, "500 frames arrive")
    assert net.owners["b"].got == [("a", {"n": i}) for i in range(500)]
    assert net.owners["b"].batches < 500, "frames that arrive together are one batch"
    b.send("a", (1, b"x" * 3_000_000))
    b.flush()
    await until(lambda: net.owners["a"].got == [("b", (1, b"x" * 3_000_000))], "a large frame arrives")


async def test_sending_to_nobody_says_so_and_too_large_is_an_error(net: Net) -> None:
    a, _ = await pair(net)
    assert not a.send("c", 1)
    with pytest.raises(FrameError, match="the limit"):
        a.send("b", b"x" * (limits.PEER_FRAME_BYTES_MAX + 1))


async def test_a_restarted_peer_is_found_again(net: Net) -> None:
    _a, b = await pair(net)
    port = b.port
    await b.close()
    await until(lambda: net.owners["a"].down == ["b"], "a notices that b went")
    await net.add("b", port)
    net.connect()
    await until(lambda: net.owners["a"].up == ["b", "b"], "a sees b again")


async def test_a_newer_connection_of_the_same_peer_takes_the_place_of_the_old(net: Net) -> None:
    await pair(net)
    context = load_tls(net.root, "b").client
    _, writer = await asyncio.open_connection("127.0.0.1", net.transports["a"].port, ssl=context)
    writer.write(hello(net, "b") + encode("from the new one", 100))
    await until(lambda: ("b", "from the new one") in net.owners["a"].got, "the new link is heard")
    assert net.owners["a"].up[:2] == ["b", "b"] and net.owners["a"].down[:1] == ["b"]
    writer.close()


async def test_without_certificate(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    await net.add("a")
    net.connect()
    await stranger(net, None, b"")
    await refused(caplog, "it shows no certificate")
    assert net.owners["a"].up == []


async def test_with_a_certificate_of_another_authority(
    net: Net, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await net.add("a")
    create_ca(tmp_path / "evil")
    issue(tmp_path / "evil", "b")
    await stranger(net, "b", b"", tmp_path / "evil")
    await refused(caplog, "not of this cluster's CA")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"node": "c"}, "it claims to be 'c' and its certificate says 'b'"),
        ({"cluster": "0" * 32}, "it is of cluster '000"),
        ({"protocol": 99}, "it speaks protocol 99; this replica speaks 1"),
        ({"to": "z"}, "it looks for 'z' and this is 'a'"),
    ],
)
async def test_a_hello_that_disagrees(
    net: Net, caplog: pytest.LogCaptureFixture, changed: dict, why: str
) -> None:
    await net.add("a")
    issue(net.root, "b")
    net.transports["a"].set_peers({"b": ("127.0.0.1", 1), "c": ("127.0.0.1", 1)})
    await stranger(net, "b", hello(net, "b", **changed))
    await refused(caplog, why)
    assert net.owners["a"].up == []


async def test_a_stranger_of_the_same_cluster_and_oneself(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    await net.add("a")
    issue(net.root, "x")
    await stranger(net, "x", hello(net, "x"))
    await refused(caplog, "x is not a peer of this replica")
    await stranger(net, "a", hello(net, "a"))
    await refused(caplog, "which is this replica itself")


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (encode("hi", 100), "its first frame is not a hello"),
        (struct.pack(">I", 1 << 31), "announces a frame of 2147483648 bytes; the limit is 4096"),
        (struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1", "not msgpack"),
    ],
)
async def test_garbage_inside_tls(net: Net, caplog: pytest.LogCaptureFixture, first: bytes, why: str) -> None:
    await net.add("a")
    issue(net.root, "b")
    await stranger(net, "b", first)
    await refused(caplog, why)


async def test_bytes_that_are_not_tls(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    await net.add("a")
    for first, why in ((b"GET / HTTP/1.1\r\n\r\n", "speaks HTTP"), (b"\x80\x02cposix\nsystem\n", "(")):
        reader, writer = await asyncio.open_connection("127.0.0.1", net.transports["a"].port)
        writer.write(first * 3)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await reader.readexactly(10_000)
        writer.close()
        await until(lambda why=why: why in caplog.text, f"a log line with {why}")
    await pair_after_abuse(net)


async def pair_after_abuse(net: Net) -> None:
    await net.add("b")
    net.connect()
    await until(lambda: net.owners["a"].up == ["b"], "the port still serves peers")


async def test_a_frame_that_its_owner_refuses_cuts_the_link(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    a, _ = await pair(net)
    a.send("b", "bad")
    a.flush()
    await refused(caplog, "nobody sends that")
    await until(lambda: net.owners["b"].up == ["a", "a"], "and it comes back")


async def test_an_address_in_use_is_named(net: Net) -> None:
    a = await net.add("a")
    with pytest.raises(AddressInUse, match=f"127.0.0.1:{a.port}: Address already in use"):
        await net.add("b", a.port)


async def test_a_peer_at_the_wrong_address_is_not_mistaken(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    """c dials where it thinks b is, and finds a."""
    a = await net.add("a")
    c = await net.add("c")
    c.set_peers({"b": ("127.0.0.1", a.port)})
    await until(lambda: "says a, and b was expected at this address" in caplog.text, "c notices")
    assert net.owners["c"].up == []


async def test_who_is_refused_by_the_other_side_dials_less_and_less(net: Net) -> None:
    """Otherwise a replica that is not registered yet knocks a dozen times a second."""
    a, b = await net.add("a"), await net.add("b")
    began = time.monotonic()
    b.set_peers({"a": ("127.0.0.1", a.port)})
    await until(lambda: len(net.owners["b"].up) >= 6, "b was let in by its own side six times")
    pauses_s = [min(limits.REDIAL_S_MIN * 2**n, limits.REDIAL_S_MAX) for n in range(1, 6)]
    assert time.monotonic() - began >= 0.5 * sum(pauses_s)


async def test_who_is_reset_right_after_the_handshake_dials_again(net: Net) -> None:
    """As a proxy does that breaks connections. The transport has no socket any more when it is made."""
    b = await net.add("b")
    issue(net.root, "a")
    with Resetting(load_tls(net.root, "a").server) as a:
        b.set_peers({"a": ("127.0.0.1", a.port)})
        await until(lambda: a.connections >= 3, "b has come three times")


async def test_a_task_that_ends_over_the_unexpected_is_told(net: Net) -> None:
    """A replica that does not dial any more only seems to live."""
    b = await net.add("b")
    b.set_peers({"a": None})  # type: ignore[dict-item]
    await until(lambda: net.owners["b"].failures, "the owner is told")
    assert isinstance(net.owners["b"].failures[0], TypeError)


async def test_a_peer_that_is_removed_is_cut(net: Net) -> None:
    a, _b = await pair(net)
    a.set_peers({})
    await until(lambda: net.owners["b"].down == ["a"], "b is cut off")
    assert not a.connected("b")
