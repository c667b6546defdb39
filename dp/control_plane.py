"""Asking the control planes for a bootstrap, one after the other, until one gives it."""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import ssl
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from dp.errors import NoControlPlane, Refused
from dp.options import Options
from dp.ports import free_port

log = logging.getLogger("raftmesh.dp")

BOOTSTRAP_BYTES_MAX = 4 << 20
REQUEST_TIMEOUT_S = 10.0
BACKOFF_FIRST_S = 0.1

# What this runner can do; the control plane turns things on only for those who say so.
FEATURES = (
    "feature-delta-grpc",
    "feature-dynamic-routes",
    "feature-strict-inbound-ports",
    "feature-reuse-port",
    "feature-envoy-metrics",
    "feature-no-kafka-filter",
)

# Answers that asking again, or asking another replica, cannot change.
_FINAL = (400, 401, 403, 422)


def bootstrap_request(options: Options, host: str, envoy_version: str) -> dict[str, Any]:
    """The body of `POST /bootstrap` (REFERENCE of the protocol: Kuma 2.14, dp-server)."""
    request: dict[str, Any] = {
        "mesh": options.mesh,
        "name": options.name,
        "proxyType": options.proxy_type,
        "dataplaneToken": options.token,
        "host": host,
        "cpAddresses": list(options.cp_addresses),
        "version": {
            "kumaDp": {"version": version("raftmesh"), "gitTag": "", "gitCommit": "", "buildDate": ""},
            "envoy": {"version": envoy_version, "build": ""},
        },
        "dynamicMetadata": dict(options.dynamic_metadata),
        "features": list(FEATURES),
        "operatingSystem": platform.system().lower(),
        "workdir": str(options.work_dir),
    }
    if options.admin_port != 0:
        # Should somebody take the port before Envoy does, Envoy refuses that listener alone and serves on.
        request["adminPort"] = options.admin_port or free_port()
    if options.resource is not None:
        request["dataplaneResource"] = json.dumps(options.resource)
    if options.ca_cert is not None:
        request["caCert"] = options.ca_cert.decode()
    return request


def tls_context(options: Options) -> ssl.SSLContext:
    """Verify the control plane by the given CA, by the system's, or (asked for) not at all."""
    if options.skip_verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.ca_cert is not None:
        context = ssl.create_default_context(cadata=options.ca_cert.decode())
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def fetch_bootstrap(options: Options, envoy_version: str, clock: Callable[[], float]) -> bytes:
    """The Envoy bootstrap (YAML). Tries every address in turn with back-off until the time is up.

    Raises Refused when a control plane answered with a final error, NoControlPlane otherwise.
    """
    deadline = clock() + options.bootstrap_timeout_s
    backoff_s = BACKOFF_FIRST_S
    connector = aiohttp.TCPConnector(ssl=tls_context(options))
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        while True:
            reasons = []
            for address in options.cp_addresses:
                try:
                    return await _ask(session, address, options, envoy_version)
                except (aiohttp.ClientError, TimeoutError, _Again) as error:
                    reasons.append(f"{address}: {_reason(error)}")
            if clock() + backoff_s > deadline:
                raise NoControlPlane("no control plane gave a bootstrap: " + "; ".join(reasons))
            log.warning("no bootstrap yet, trying again in %.1f s: %s", backoff_s, "; ".join(reasons))
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, options.backoff_max_s)


class _Again(Exception):
    """An answer that may be different later, or from another control plane."""


def _reason(error: BaseException) -> str:
    told = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{told}; name the CA of the control plane with --ca-cert-file"
    return told


async def _ask(session: aiohttp.ClientSession, address: str, options: Options, envoy_version: str) -> bytes:
    body = bootstrap_request(options, urlsplit(address).hostname or "", envoy_version)
    async with session.post(f"{address}/bootstrap", json=body) as response:
        content = await response.content.read(BOOTSTRAP_BYTES_MAX + 1)
        while not response.content.at_eof() and len(content) <= BOOTSTRAP_BYTES_MAX:
            content += await response.content.read(BOOTSTRAP_BYTES_MAX + 1 - len(content))
        if len(content) > BOOTSTRAP_BYTES_MAX:
            raise Refused(f"{address}: the bootstrap is larger than {BOOTSTRAP_BYTES_MAX} bytes")
        text = content.decode(errors="replace").strip()
        if response.status in _FINAL:
            raise Refused(f"{address} refused the bootstrap ({response.status}): {text}")
        if response.status == 404:
            raise _Again(f"there is no {options.proxy_type} {options.name!r} in mesh {options.mesh!r} yet")
        if response.status != 200:
            raise _Again(f"status {response.status}: {text[:200]}")
        return content
