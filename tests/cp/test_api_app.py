"""What the one middleware sees to: an answer is whole, or it is known not to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from raftstore.errors import Unavailable
from raftstore.memory import MemoryStore
from tests.cp.conftest import ApiFactory


class BreaksOff(MemoryStore):
    """Its backup fails after the first piece."""

    async def backup(self) -> AsyncIterator[bytes]:
        yield b"the first piece"
        raise Unavailable("the store process ended")


async def test_an_answer_that_fails_halfway_is_cut_off(make_api: ApiFactory) -> None:
    """Not followed by a second one, that of the failure, as if it were a part of it."""
    api = await make_api(BreaksOff())
    reader, writer = await asyncio.open_connection("127.0.0.1", api.worker.ports["apiServer.http.port"])
    writer.write(b"GET /cluster/backup HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(60.0):
        received = await reader.read()
    writer.close()
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.endswith(b"the first piece\r\n")  # of chunks, and the last one is missing
