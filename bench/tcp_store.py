"""A store process that is also served on plain TCP, for a client that must be like etcd's.

    python -m bench.tcp_store --config-json '{...}'

Workers speak to a store over a Unix socket that only its user may open; etcd is spoken to over
TCP. So that both sides of a race pay for the same, the same protocol is served on loopback TCP
here (the port is written to a file beside the socket), and one request is added: a linearizable
read of one value,

    (id, "get", timeout_s, kind, mesh, name)    (id, "ok", value or None)

which is what a worker does with the index that it is told. Not for use outside of benchmarks:
nobody is asked who he is.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from raftstore.errors import StoreError
from raftstore.frames import Value
from raftstore.replica import Replica
from raftstore.service import Connection, Service
from raftstore.settings import StoreConfig
from raftstore.store_process import run
from raftstore.types import Key


class TcpConnection(Connection):
    """A worker's connection that can also be asked for a value."""

    def _request(self, value: Value) -> None:
        match value:
            case (int(number), "get", float(timeout_s), str(kind), str(mesh), str(name)):
                self._get(number, timeout_s, Key(kind, mesh, name))
            case _:
                super()._request(value)

    def _get(self, number: int, timeout_s: float, key: Key) -> None:
        def confirmed(index: int | StoreError) -> None:
            if isinstance(index, StoreError):
                self._answer(number, index)
                return
            record = self._replica.machine.state.get(key)
            self._answer(number, None if record is None else record.value)

        self._replica.read_index_nowait(timeout_s, confirmed)


class TcpService(Service):
    """Listens at its path, and on a TCP port of loopback."""

    def __init__(self, replica: Replica, path: str) -> None:
        super().__init__(replica, path)
        self._port_file = tcp_port_file(path)
        self._tcp: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tcp = await loop.create_server(lambda: TcpConnection(self), "127.0.0.1", 0, backlog=2000)
        made = self._port_file.with_suffix(".port.new")
        made.write_text(str(self._tcp.sockets[0].getsockname()[1]))
        made.replace(self._port_file)
        await super().start()  # last: whoever is answered there may come here

    async def close(self) -> None:
        if self._tcp is not None:
            self._tcp.close()
        await super().close()


def tcp_port_file(socket_path: str) -> Path:
    return Path(socket_path).with_suffix(".port")


def main() -> int:
    parser = argparse.ArgumentParser("bench.tcp_store")
    parser.add_argument("--config-json", required=True)
    given = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s")
    config = StoreConfig.from_json(given.config_json)
    return run(config, TcpService)


if __name__ == "__main__":
    sys.exit(main())
