"""A client of one keep-alive connection that costs next to nothing, so that servers are what is measured."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def message(method: str, path: str, body: bytes = b"") -> bytes:
    """The bytes of a request; made once and sent often."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Connection:
    """One request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))

    def close(self) -> None:
        self._writer.close()

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read the answer, which must tell its length."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return Answer(int(head[9:12]), await self._reader.readexactly(int(length)))

    async def stream(self, request: bytes) -> None:
        """Send a request whose answer does not end, and read its head."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if int(head[9:12]) != 200:
            raise RuntimeError(f"the stream was refused: {head!r}")

    async def until(self, text: bytes) -> bytes:
        """Read the stream up to and with `text`."""
        return await self._reader.readuntil(text)
