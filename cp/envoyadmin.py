"""The way to the admin interface of a proxy's Envoy, from any replica.

    control plane --mutual TLS--> admin listener of the proxy --> Envoy's admin port or socket

The listener is part of every proxy's configuration (xds/config/admin.py). It shows a certificate of the
authority in `envoy-admin-ca` and lets in whom that authority vouches for as the control plane; since the secret
is replicated, every replica can make itself a certificate, and no replica needs to hold the proxy's stream.

Where the listener is: at the proxy's address, on `networking.admin.port`, or on the port that the proxy told when
it connected (kuma-dp's is 9901; our runner takes a free one, so that many proxies share a machine). An Envoy
whose admin port is on the proxy's own address (127.0.0.1, on a developer's machine) needs no listener: it is
asked itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from cp.ca.keeper import admin_client
from cp.problems import Problem
from mesh.resource import Resource
from mesh.view import View
from xds.config.admintls import ADMIN_CA, sort_pem
from xds.config.client import client_of
from xds.source import NodeInfo

# A configuration dump of a large mesh is tens of megabytes; Envoy makes it in its main thread.
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 512 << 20
# Longer than a token may be (cp/tokens.py), with its surroundings.
CREDENTIAL_BYTES_MAX = 64 << 10
# Envoy writes the fields of a message in the order of their numbers: the key of a header before its value.
_CREDENTIAL = re.compile(
    rb'("key":\s*"authorization",\s*"(?:raw_)?value":\s*")(?:[^"\\]|\\.)*(?=")', re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class AdminTarget:
    """Where an admin interface is reached. tls: through the proxy's admin listener."""

    host: str
    port: int
    tls: bool

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class WithoutCredentials:
    """A configuration dump on its way, without what a proxy proves itself by.

    The bootstrap in it names the proxy's token, as metadata of its streams. Who may look at a proxy must not be
    able to be it.
    """

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may go on. The end is kept back: a credential may have arrived in part."""
        text = _CREDENTIAL.sub(rb"\1[redacted]", self._kept + chunk)
        cut = max(len(text) - CREDENTIAL_BYTES_MAX, 0)
        self._kept = text[cut:]
        return text[:cut]

    def end(self) -> bytes:
        """The rest, once everything was fed."""
        return self._kept


def target_of(proxy: Resource, insight: Resource | None) -> AdminTarget:
    """Where the admin interface of a Dataplane, ZoneIngress or ZoneEgress is. Raises Problem (404)."""
    networking = proxy.spec.networking
    metadata = (insight.spec.metadata if insight is not None else None) or {}
    told = client_of(NodeInfo(f"{proxy.mesh}.{proxy.name}", metadata=metadata))
    declared = networking.admin.port if networking is not None and networking.admin is not None else 0
    port = declared or told.admin_port
    if networking is None or not port:
        raise Problem(
            404,
            "No admin interface",
            f"{proxy.kind} {proxy.name!r} told no admin port; set networking.admin.port in it, "
            "or run its proxy with --admin-port",
        )
    tls = bool(told.admin_socket) or networking.address != told.admin_address
    return AdminTarget(networking.address, port, tls)


class EnvoyAdmin:
    """Asks admin interfaces; keeps the certificate that it made for that."""

    def __init__(self) -> None:
        self._made: tuple[bytes, ssl.SSLContext] | None = None

    @contextlib.asynccontextmanager
    async def get(
        self, view: View, target: AdminTarget, path: str, query: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Envoy's answer, to be read. Raises Problem (502) when there is none."""
        context = await self._context(view) if target.tls else False
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        connector = aiohttp.TCPConnector(ssl=context)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.get(target.url + path, params=query, allow_redirects=False) as response,
            ):
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Problem(
                502,
                "Could not reach the admin interface of the proxy",
                f"{target.host}:{target.port}: {error or type(error).__name__}",
            ) from error

    async def _context(self, view: View) -> ssl.SSLContext:
        secret = view.get("GlobalSecret", "", ADMIN_CA)
        if secret is None:
            raise Problem(
                503, "Service unavailable", f"the GlobalSecret {ADMIN_CA} is missing; it comes with a proxy"
            )
        bundle: bytes = secret.spec.value()
        if self._made is None or self._made[0] != bundle:
            self._made = (bundle, await asyncio.to_thread(client_context, bundle))
        return self._made[1]


def client_context(bundle: bytes) -> ssl.SSLContext:
    """TLS with which a control plane opens admin listeners, made from the contents of `envoy-admin-ca`."""
    pair = admin_client(bundle, time.time())
    authority = sort_pem(bundle).certificates[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # All proxies show one certificate, which names none of their addresses; the authority signs nothing else.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.decode())
    with tempfile.NamedTemporaryFile(prefix="raftmesh-", suffix=".pem") as file:  # mode 0600
        Path(file.name).write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(file.name)
    return context
