"""A small mesh of real parts in one process: what shows that a policy does what it says.

    client ──> web's Envoy ──> backend-1's Envoy ──> application v1
                         └──> backend-2's Envoy ──> application v2

The control plane is a real worker on a log in memory; the Envoys start with its real bootstrap and
follow its dp-server. Applications are servers of the test, so that a test sees what reached them and
decides what they answer. Nothing is assumed to have arrived: every test waits for the effect itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from cp.config import load
from cp.up.story import until
from cp.worker import Worker
from dp.admin import Admin, admin_address
from dp.control_plane import fetch_bootstrap
from dp.envoy import command_line, envoy_version, find_envoy
from dp.options import Options
from dp.ports import free_ports
from dp.runner import write_bootstrap
from mesh.registry import KINDS
from raftstore.memory import MemoryStore
from xds.config.audit import audit, held
from xds.config.identity import IdentityProvider

HOST = "127.0.0.1"
MESH = "default"
# A busy machine takes its time; whoever passes does not wait for it.
DEADLINE_S = 60.0

ENVIRON = {
    "RAFTMESH_API_SERVER_HTTP_PORT": "0",
    "RAFTMESH_API_SERVER_HTTP_INTERFACE": HOST,
    "RAFTMESH_API_SERVER_HTTPS_ENABLED": "false",
    "RAFTMESH_DIAGNOSTICS_SERVER_PORT": "0",
    "RAFTMESH_DIAGNOSTICS_INTERFACE": HOST,
    "RAFTMESH_DP_SERVER_PORT": "0",
    "RAFTMESH_DP_SERVER_INTERFACE": HOST,
    "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_TYPE": "none",
    "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_ENABLE_ISSUER": "false",
    "RAFTMESH_DP_SERVER_AUTHN_ZONE_PROXY_ZONE_TOKEN_ENABLE_ISSUER": "false",
    "RAFTMESH_DP_SERVER_GRACEFUL_SHUTDOWN_TIMEOUT": "1s",
    "RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER": "false",
    "RAFTMESH_DEFAULTS_SKIP_MESH_CREATION": "true",
    "RAFTMESH_DEFAULTS_SKIP_HOSTNAME_GENERATORS": "true",
}


# --- applications ----------------------------------------------------------------------------------


@dataclass
class Seen:
    """A request as an application saw it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class App:
    """An HTTP application: it answers with its name, unless a test says otherwise with `answer`."""

    name: str
    port: int = 0
    address: str = HOST
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[Seen], Awaitable[web.Response]] | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = Seen(request.method, request.path_qs, dict(request.headers), await request.read())
        self.seen.append(seen)
        if self.answer is not None:
            return await self.answer(seen)
        return web.Response(text=self.name)

    def forget(self) -> None:
        self.seen.clear()
        self.answer = None

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]


@contextlib.asynccontextmanager
async def serving(app: App) -> AsyncIterator[App]:
    """Serve an application at its address, on a port of its own unless it has one."""
    runner = web.ServerRunner(web.Server(app.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, app.address, app.port).start()
    app.port = runner.addresses[0][1]
    try:
        yield app
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def serving_lines(name: str) -> AsyncIterator[int]:
    """A TCP application: it answers each line with its name before the line. Its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                writer.write(f"{name}: ".encode() + line)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


# --- proxies -----------------------------------------------------------------------------------------


@dataclass
class Proxy:
    """A running Envoy. `directory` is its working directory; its log is `envoy.log` in there."""

    name: str
    directory: Path
    admin: Admin

    async def stats(self, pattern: str) -> dict[str, int]:
        _, text = await self.admin.request("GET", f"/stats?format=json&filter={pattern}")
        return {found["name"]: found["value"] for found in json.loads(text)["stats"] if "value" in found}

    async def stat(self, pattern: str) -> int:
        """The sum of all counters and gauges that match."""
        return sum((await self.stats(pattern)).values())


@dataclass
class Reply:
    """An answer, or status 0 when the connection failed."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    took_s: float = 0.0


# --- the whole ---------------------------------------------------------------------------------------


class World:
    """A worker, and whatever is started beside it; `close` ends everything."""

    def __init__(self, directory: Path, identities: IdentityProvider | None = None) -> None:
        self.directory = directory
        self._identities = identities
        self._stack = contextlib.AsyncExitStack()
        self.proxies: dict[str, Proxy] = {}
        self.apps: dict[str, App] = {}

    async def start(self, mesh: Mapping[str, Any]) -> None:
        """Start the control plane, with one mesh that has no policies."""
        environ = ENVIRON | {"RAFTMESH_GENERAL_WORK_DIR": str(self.directory / "cp")}
        self.store = MemoryStore()
        config = load(None, environ).config
        self.worker = Worker(config, self.store, identities=self._identities, generate=False)
        self._stack.push_async_callback(self.store.close)
        self._stack.push_async_callback(self.worker.stop)
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        self.session = await self._stack.enter_async_context(session)
        await self.worker.start()
        self.api = f"http://{HOST}:{self.worker.ports['apiServer.http.port']}"
        self.cp = f"https://{HOST}:{self.worker.ports['dpServer.port']}"
        body = {"type": "Mesh", "name": MESH, "skipCreatingInitialPolicies": ["*"], **mesh}
        await self.call("PUT", f"/meshes/{MESH}", body)

    async def close(self) -> None:
        await self._stack.aclose()

    # --- the API ---

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """A request to the API; its JSON. Fails with the answer's text."""
        async with self.session.request(method, self.api + path, json=body) as response:
            text = await response.text()
            assert response.status < 300, f"{method} {path}: {response.status} {text}"
            return json.loads(text) if text else None

    async def put(self, path: str, kind: str, name: str, **fields: Any) -> None:
        body = {"type": kind, "mesh": MESH, "name": name, **fields}
        await self.call("PUT", f"/meshes/{MESH}/{path}/{name}", body)

    @contextlib.asynccontextmanager
    async def policy(
        self, kind: str, spec: Mapping[str, Any], name: str = "tried", labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[None]:
        """A policy that is in force in the block, and taken away after it."""
        path = KINDS[kind].path
        await self.put(path, kind, name, spec=spec, labels=dict(labels or {}))
        try:
            yield
        finally:
            await self.call("DELETE", f"/meshes/{MESH}/{path}/{name}")

    async def streams(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.call("GET", "/xds/streams")
        return found

    async def settled(self) -> None:
        """Wait until every proxy has acknowledged everything; fail if one refused anything."""

        async def all_acknowledged() -> bool:
            found = await self.streams()
            for stream in found:
                assert not stream["rejections"] and not stream["responsesRejected"], stream
            return len(found) == len(self.proxies) and all(
                stream["responsesSent"] == stream["responsesAcknowledged"] for stream in found
            )

        await until("every proxy acknowledged everything", all_acknowledged)
        self.equals_full()

    def equals_full(self) -> None:
        """What each proxy was given, event by event, is what a build from scratch gives."""
        for connection in self.worker.connections:
            node, snapshot = connection.stream.node, connection.stream.snapshot()
            assert node is not None and snapshot is not None
            zone = self.worker.config.multizone.zone.name
            found = audit(self.worker.live.view, node, zone, held(snapshot))
            assert not found, f"{node.id}: {found}"

    # --- applications and proxies ---

    async def app(self, name: str) -> App:
        app = self.apps[name] = await self._stack.enter_async_context(serving(App(name)))
        return app

    async def lines(self, name: str) -> int:
        return await self._stack.enter_async_context(serving_lines(name))

    async def proxy(
        self, name: str, networking: Mapping[str, Any], *, mesh: str = MESH, **fields: Any
    ) -> Proxy:
        """Start the Envoy of a Dataplane, and wait until it serves."""
        resource = {"type": "Dataplane", "mesh": mesh, "name": name, **fields}
        resource["networking"] = {"address": HOST, **networking}
        options = Options(
            cp_addresses=(self.cp,),
            name=name,
            mesh=mesh,
            resource=resource,
            skip_verify=True,
            work_dir=self.directory / name,
            concurrency=1,
            envoy_log_level="warning",
            drain_time_s=1.0,
        )
        binary = find_envoy("")
        bootstrap = await fetch_bootstrap(options, envoy_version(binary), time.monotonic)
        config = write_bootstrap(options.work_dir, bootstrap)
        proxy = Proxy(name, options.work_dir, Admin(admin_address(bootstrap)))
        await self._stack.enter_async_context(_process(command_line(binary, config, options), proxy))
        self.proxies[name] = proxy
        await until(f"the Envoy of {name} is live", proxy.admin.is_live)
        return proxy

    # --- traffic ---

    async def request(
        self, port: int, path: str = "/", method: str = "GET", host: str = "", **headers: str
    ) -> Reply:
        """One request on a connection of its own, redirects not followed."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if host:
            named["Host"] = host
        began = time.monotonic()
        try:
            async with self.session.request(
                method, f"http://{HOST}:{port}{path}", headers=named, allow_redirects=False
            ) as response:
                text = await response.text()
                took_s = time.monotonic() - began
                return Reply(response.status, text, response.headers, took_s)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Reply(0, repr(error), {}, time.monotonic() - began)

    async def says(self, port: int, line: str = "hello") -> str:
        """What a TCP application answers to a line; "" when the connection is closed."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                reader, writer = await asyncio.open_connection(HOST, port)
                try:
                    writer.write(f"{line}\n".encode())
                    return (await reader.readline()).decode().rstrip("\n")
                finally:
                    writer.close()
        except ConnectionError:
            return ""


@contextlib.asynccontextmanager
async def _process(command: Iterable[str], proxy: Proxy) -> AsyncIterator[None]:
    with (proxy.directory / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


# --- the usual mesh ----------------------------------------------------------------------------------


@dataclass
class Ports:
    """Where a client of `web` finds each destination."""

    backend: int
    v1: int
    v2: int
    lines: int


class Services(World):
    """The usual mesh: `web` in front of two instances of `backend`, each with HTTP and with TCP."""

    async def start(self, mesh: Mapping[str, Any]) -> None:
        await super().start(mesh)
        self.ports = Ports(*free_ports(4))
        self.inbounds: dict[str, int] = {}
        await self._services()
        await self.prepare()
        await asyncio.gather(self._backend("v1"), self._backend("v2"), self._web())

        async def served() -> bool:
            replies = [await self.request(port) for port in (self.ports.v1, self.ports.v2)]
            return [reply.text for reply in replies] == ["v1", "v2"]

        await until("both backends answer", served)
        for app in self.apps.values():
            app.forget()

    async def _services(self) -> None:
        ports = [
            {"port": 80, "targetPort": "http", "appProtocol": "http", "name": "http"},
            {"port": 90, "targetPort": "lines", "appProtocol": "tcp", "name": "lines"},
        ]
        for name, tags in (
            ("backend", {}),
            ("backend-v1", {"version": "v1"}),
            ("backend-v2", {"version": "v2"}),
        ):
            selector = {"dataplaneTags": {"kuma.io/service": "backend", **tags}}
            spec = {"selector": selector, "ports": ports, "state": "Available", **self.identities()}
            await self.put("meshservices", "MeshService", name, spec=spec)

    async def prepare(self) -> None:
        """What shall be there before the proxies."""

    def identities(self) -> Mapping[str, Any]:
        return {}

    async def _backend(self, version: str) -> None:
        http, lines = free_ports(2)
        app = await self.app(version)
        tags = {"kuma.io/service": "backend", "version": version}
        inbound = [
            {
                "name": "http",
                "port": http,
                "servicePort": app.port,
                "serviceAddress": HOST,
                "tags": {**tags, "kuma.io/protocol": "http"},
            },
            {
                "name": "lines",
                "port": lines,
                "servicePort": await self.lines(version),
                "serviceAddress": HOST,
                "tags": {**tags, "kuma.io/protocol": "tcp"},
            },
        ]
        self.inbounds[version] = http
        await self.proxy(f"backend-{version}", {"inbound": inbound}, labels={"app": "backend"})

    async def _web(self) -> None:
        (own,) = free_ports(1)
        app = await self.app("web")
        tags = {"kuma.io/service": "web", "kuma.io/protocol": "http"}
        self.inbounds["web"] = own
        inbound = {"port": own, "servicePort": app.port, "serviceAddress": HOST, "tags": tags}
        outbound = [
            {"port": port, "backendRef": {"kind": "MeshService", "name": name, "port": number}}
            for port, name, number in (
                (self.ports.backend, "backend", 80),
                (self.ports.v1, "backend-v1", 80),
                (self.ports.v2, "backend-v2", 80),
                (self.ports.lines, "backend-v1", 90),
            )
        ]
        await self.proxy("web", {"inbound": [inbound], "outbound": outbound})
