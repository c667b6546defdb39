"""Talking to the API: through whichever of the context's addresses answers.

A write carries a request id, so that sending it again through another replica after a
broken connection applies it once. A command sees its own writes: what it asks carries the highest
index that it was told, so that another replica, which may be behind, waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson

from cp.cli.contexts import ControlPlane
from cp.cli.errors import CommandError, Unreachable, from_problem

log = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Raftmesh-Request-Id"
INDEX_HEADER = "X-Raftmesh-Index"
MIN_INDEX_HEADER = "X-Raftmesh-Min-Index"
ANSWER_BYTES_MAX = 256 << 20
CONNECT_S = 5.0  # an address that swallows packets must not use up the patience for the others

# A replica that answers so could not do it, but another one may.
_TRY_ANOTHER = (502, 503, 504)


class Answer(NamedTuple):
    """status, decoded JSON (or text), headers."""

    status: int
    body: Any
    headers: Mapping[str, str]


def tls_context(control_plane: ControlPlane) -> ssl.SSLContext:
    """Verify by the context's CA, by the system's, or (asked for) not at all."""
    try:
        context = ssl.create_default_context(cafile=control_plane.ca_cert_file or None)
        if control_plane.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if control_plane.client_cert_file:
            context.load_cert_chain(control_plane.client_cert_file, control_plane.client_key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise CommandError(
            f"the TLS files of control plane {control_plane.name!r} cannot be used: {error}"
        ) from None
    return context


def why(error: Exception) -> str:
    """Why an address could not be asked, in the words of the system: "Connection refused"."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        number, cause = error.os_error.errno or 0, error.os_error
        return os.strerror(number) if number > 0 else cause.strerror or str(cause)
    return str(error) or type(error).__name__


class Client:
    """One command's connection. Use `call`; it raises CommandError for everything but success."""

    def __init__(self, control_plane: ControlPlane, *, timeout_s: float = 60.0, at: str = "") -> None:
        """at: the index or time that every GET is about, "" for now."""
        self._control_plane = control_plane
        self._at = at
        self._timeout_s = timeout_s
        self._addresses = list(control_plane.addresses)  # the one that answered last comes first
        self._index = 0
        self._tls: ssl.SSLContext | None = None

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        missing_ok: bool = False,
    ) -> Answer:
        """Send one request. A 304 is an answer; with missing_ok a 404 is one, too, and no error."""
        asked = {"at": self._at, **(params or {})} if self._at and method == "GET" else params or {}
        answer = asyncio.run(self._call(method, path, body, asked, headers or {}))
        if answer.status < 300 or answer.status == 304 or (missing_ok and answer.status == 404):
            return answer
        raise from_problem(answer.status, answer.body)

    async def _call(
        self, method: str, path: str, body: Any, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> Answer:
        sent = {**self._control_plane.headers, **headers}
        if self._control_plane.token:
            sent["Authorization"] = f"Bearer {self._control_plane.token}"
        if method != "GET":
            sent.setdefault(REQUEST_ID_HEADER, str(uuid.uuid4()))
        data = None
        if body is not None:
            data = orjson.dumps(body)
            sent["Content-Type"] = "application/json"
        if self._index:
            sent.setdefault(MIN_INDEX_HEADER, str(self._index))
        failures: list[str] = []
        unavailable: Answer | None = None
        timeout = aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S)
        connector = aiohttp.TCPConnector(ssl=self._verification())
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            for address in tuple(self._addresses):
                try:
                    async with session.request(
                        method, address + path, data=data, params=params, headers=sent
                    ) as got:
                        answer = Answer(got.status, await _decode(got), got.headers)
                except (aiohttp.ClientError, TimeoutError) as error:
                    failures.append(f"{address}: {why(error)}")
                    log.info("%s %s%s: %s", method, address, path, failures[-1])
                    continue
                log.info("%s %s%s: status %d", method, address, path, answer.status)
                if answer.status not in _TRY_ANOTHER:
                    self._note(address, answer)
                    return answer
                unavailable = answer
        if unavailable is not None:
            return unavailable
        raise Unreachable("no control plane could be reached: " + "; ".join(failures))

    def _verification(self) -> ssl.SSLContext | bool:
        """Made once, and only where it is needed: reading the system's authorities takes a while."""
        if not any(address.startswith("https:") for address in self._addresses):
            return True
        if self._tls is None:
            self._tls = tls_context(self._control_plane)
        return self._tls

    def _note(self, address: str, answer: Answer) -> None:
        self._addresses.sort(key=lambda each: each != address)
        index = answer.headers.get(INDEX_HEADER, "")
        if index.isdecimal():
            self._index = max(self._index, int(index))


async def _decode(response: aiohttp.ClientResponse) -> Any:
    content = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise CommandError(f"the answer is larger than {ANSWER_BYTES_MAX} bytes; use --size and --offset")
    try:
        return orjson.loads(bytes(content))
    except orjson.JSONDecodeError:
        return bytes(content).decode(errors="replace")
