"""A client of Envoy's admin interface, over its Unix socket or its TCP port.

https://www.envoyproxy.io/docs/envoy/latest/operations/admin
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml

from dp.errors import EnvoyFailed

REQUEST_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class AdminAddress:
    """Where Envoy's admin interface listens: `path` of a Unix socket, or `host` and `port`."""

    path: str = ""
    host: str = "127.0.0.1"
    port: int = 0


def admin_address(bootstrap: bytes) -> AdminAddress:
    """Read the admin address out of a bootstrap; it is the control plane that chose it."""
    document: Any = yaml.safe_load(bootstrap)
    address = ((document or {}).get("admin") or {}).get("address") or {}
    if "pipe" in address:
        return AdminAddress(path=address["pipe"]["path"])
    socket = address.get("socketAddress")
    if not socket:
        raise EnvoyFailed("the bootstrap has no admin address; without it Envoy cannot be drained")
    return AdminAddress(host=socket["address"], port=int(socket["portValue"]))


class Admin:
    """One request per call: the admin interface is asked seldom, and Envoy may be gone."""

    def __init__(self, address: AdminAddress) -> None:
        self._address = address

    async def request(self, method: str, path: str) -> tuple[int, str]:
        """(status, body). Raises aiohttp.ClientError or TimeoutError when Envoy does not answer."""
        connector: aiohttp.BaseConnector
        if self._address.path:
            connector, base = aiohttp.UnixConnector(path=self._address.path), "http://envoy"
        else:
            connector, base = aiohttp.TCPConnector(), f"http://{self._address.host}:{self._address.port}"
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, base + path) as response,
        ):
            return response.status, await response.text()

    async def is_live(self) -> bool:
        """Whether Envoy finished its initialisation (`/ready` answers 200 LIVE)."""
        try:
            status, _ = await self.request("GET", "/ready")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return status == 200
