"""A TCP proxy that misbehaves on demand: delay, throttling, resets, silence.

For kernels without netem. It knows nothing of what it carries: TLS stays end to end.
Settings may change at any time and hold for connections that are open already.

As a process of its own (in a container, between two replicas), until it is ended:

    python -m chaos.faultproxy --listen PORT --target HOST:PORT [--delay S] [--bytes-per-s N] [--reset-each S]

It says `it carries` when the first byte went through.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK = 16 * 1024
CHUNKS_WAITING_MAX = 256  # per direction: a proxy must not be an endless buffer
CARRIES = "it carries"
TURN_S = 0.1


@dataclass
class Misbehaviour:
    """delay_s: for each byte, on its way in either direction. bytes_per_s: 0 is no limit.
    silent: accept and read, and deliver nothing."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    silent: bool = False


class FaultProxy:
    """Accepts connections, and connects to `target` for each."""

    def __init__(self, target: tuple[str, int], how: Misbehaviour | None = None) -> None:
        self.how = how or Misbehaviour()
        self.carried = 0  # bytes, both directions
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port, of the system's choice for 0."""
        self._server = await asyncio.start_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End everything at once."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        return len(self._writers) // 2

    def reset(self) -> None:
        """Break all open connections with a TCP reset, at both ends."""
        for writer in list(self._writers):
            wire = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with self._tracked(writer):
                there, back = await asyncio.open_connection(*self._target)
                with self._tracked(back):
                    await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            return  # one end is gone, and so is the other
        except asyncio.CancelledError:
            return  # closing; the server's own callback would log the cancellation
        finally:
            self._tasks.discard(task)

    @contextlib.contextmanager
    def _tracked(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: chunks leave in order, each when its time has come."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_WAITING_MAX)
        delivering = asyncio.create_task(self._deliver(waiting, writer))
        try:
            while chunk := await reader.read(CHUNK):
                await waiting.put((asyncio.get_running_loop().time(), chunk))
            await waiting.put((0.0, b""))
            await delivering
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _deliver(
        self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            arrived, chunk = await waiting.get()
            if not chunk:
                writer.write_eof()
                return
            await asyncio.sleep(max(0.0, arrived + self.how.delay_s - clock()))
            if self.how.bytes_per_s:
                await asyncio.sleep(len(chunk) / self.how.bytes_per_s)
            if self.how.silent:
                continue
            self.carried += len(chunk)
            writer.write(chunk)
            await writer.drain()


async def serve(proxy: FaultProxy, port: int, reset_each_s: float) -> None:
    """Listen on every address until SIGTERM or SIGINT. reset_each_s: 0 is never."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await proxy.start("0.0.0.0", port)
    said, reset_at = False, loop.time() + reset_each_s
    while not stop.is_set():
        if proxy.carried and not said:
            print(CARRIES, flush=True)
            said = True
        if reset_each_s and loop.time() >= reset_at:
            proxy.reset()
            reset_at += reset_each_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TURN_S)
    await proxy.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.faultproxy")
    parser.add_argument("--listen", type=int, required=True, metavar="PORT")
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--delay", type=float, default=0.0, metavar="S", help="each way")
    parser.add_argument("--bytes-per-s", type=float, default=0.0, metavar="N")
    parser.add_argument("--reset-each", type=float, default=0.0, metavar="S")
    options = parser.parse_args()
    host, _, port = options.target.rpartition(":")
    if not host or not port.isdecimal():
        parser.error(f"--target {options.target}: HOST:PORT is needed")
    how = Misbehaviour(delay_s=options.delay, bytes_per_s=options.bytes_per_s)
    asyncio.run(serve(FaultProxy((host, int(port)), how), options.listen, options.reset_each))
    return 0


if __name__ == "__main__":
    sys.exit(main())
