"""A worker: the live view and everything that is served from it.

The same class serves the embedded control plane (its store lives in this process) and a
worker process (its store is a socket): it only knows the Store port. Services start once
the view stands, so nobody is ever answered from an empty mesh, and stop in reverse.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import web

from cp.access import Access
from cp.api.app import create_app
from cp.api.context import Context
from cp.auditing import Auditor
from cp.ca.issuer import Issuer
from cp.ca.keeper import create_admin_authority, keep_authorities
from cp.cleanup import keep_clean
from cp.config_schema import Config
from cp.diagnostics import diagnostics_of, diagnostics_of_workers
from cp.generators.keeper import generate as keep_generating
from cp.initial import create_initial, keep_signing_keys
from cp.limits import STOP_TIMEOUT_S
from cp.live import LiveView
from cp.metrics import Metrics
from cp.ports import Unusable
from cp.proxies import Proxies
from cp.resources import Resources
from cp.slowclients import Site
from cp.streams import Connections
from cp.tls import api_context
from cp.verifier import verifier
from raftstore.port import Store
from xds.config.identity import IdentityProvider
from xds.config.limits import LINGER_S
from xds.config.source import Source

log = logging.getLogger(__name__)

IDLE_S = 120.0  # Kuma's idle timeout of API connections
BACKLOG = 1024  # connections waiting to be accepted: a reconnect of all clients at once


class Worker:
    """Serves one view. `start` returns when everything answers; `stop` ends it in good order."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        number: int = 0,
        shared_ports: bool = False,
        identities: IdentityProvider | None = None,
        generate: bool = True,
    ) -> None:
        self.config = config
        self.store = store
        self.number = number
        self.metrics = Metrics()
        self.live = LiveView(store, self.metrics)
        self.resources = Resources(store, self.live, config, self.metrics)
        self.connections = Connections()
        self.context = Context(
            config,
            store,
            self.live,
            self.resources,
            self.metrics,
            verifier(config.api_server.authn.tokens.validator, "apiServer.authn.tokens.validator"),
            Access(config, self.live),
            connections=self.connections,
        )
        self.ports: dict[str, int] = {}
        self._shared_ports = shared_ports
        self._identities = identities
        self._generate = generate
        self._stops: list[Callable[[], Awaitable[object]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, unix_sockets: Sequence[str] = ()) -> None:
        """Fold the feed, then serve. Raises Unusable when a port cannot be opened.

        unix_sockets: where each worker of this replica serves its API to the others; empty
        when there is only this one.
        """
        self._spawn(self.live.run(), "feed")
        while not await self.live.wait_for(0, 10.0):
            log.info("waiting for the store's feed")
        log.info("the view stands at index %d with %d resources", self.live.index, len(self.live.view))
        await self._serve_api(unix_sockets[self.number] if unix_sockets else "")
        if self.number == 0:
            await self._serve_diagnostics(unix_sockets)
        await self.live.catch_up()
        if self.config.mode == "zone":
            await self._serve_proxies()
        if self.number == 0:
            self._spawn(create_initial(self.config, self.resources, self.live), "initial resources")
            self._spawn(keep_signing_keys(self.config, self.resources, self.live), "signing keys")
            self._spawn(keep_authorities(self.config, self.resources, self.live), "certificate authorities")
            self._spawn(create_admin_authority(self.config, self.resources, self.live), "admin authority")
            if self._generate and self.config.mode == "zone":
                self._spawn(keep_generating(self.config, self.store, self.live), "generators")
            self._spawn(keep_clean(self.config, self.store, self.live), "clean-up")

    async def stop(self) -> None:
        """Stop accepting, let requests in flight end, then let go of the feed."""
        self.live.close()
        for stop in reversed(self._stops):
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await stop()
            except TimeoutError:
                log.warning("a service did not stop within %g s", STOP_TIMEOUT_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- services -------------------------------------------------------------------------

    async def _serve_api(self, unix_socket: str) -> None:
        runner = web.AppRunner(
            create_app(self.context), access_log=None, keepalive_timeout=IDLE_S, shutdown_timeout=2.0
        )
        await runner.setup()
        self._stops.append(runner.cleanup)
        api = self.config.api_server
        if api.http.enabled:
            await self._listen_api(runner, api.http.interface, api.http.port, "apiServer.http.port")
        if api.https.enabled:
            tls = api_context(self.config)
            await self._listen_api(runner, api.https.interface, api.https.port, "apiServer.https.port", tls)
        if unix_socket:
            await web.UnixSite(runner, unix_socket).start()

    async def _serve_diagnostics(self, siblings: Sequence[str]) -> None:
        """Health and metrics on a port of their own; nothing else of the API is there."""
        app = diagnostics_of_workers(siblings) if siblings else diagnostics_of(self.context)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._stops.append(runner.cleanup)
        settings = self.config.diagnostics
        opened = self._open(settings.interface, settings.server_port, "diagnostics.serverPort")
        await web.SockSite(runner, opened, backlog=BACKLOG).start()

    async def _serve_proxies(self) -> None:
        """Derive from the view, change by change, and serve what comes of it on the dp-server's port."""
        loop = asyncio.get_running_loop()
        issuer = Issuer(self.live)
        source = Source(
            self.live.view,
            identities=self._identities or issuer,
            later=loop.call_soon,
            linger=partial(loop.call_later, LINGER_S),
            zone=self.config.multizone.zone.name,
        )
        unsubscribe = self.live.subscribe(lambda view, changes, _: source.advance(view, changes))
        proxies = Proxies(
            self.config,
            self.store,
            self.live,
            self.resources,
            source,
            self.connections,
            self.metrics,
            self.context.instance,
            issuer.issued,
        )
        server = self.config.dp_server
        opened = self._open(server.interface, server.port, "dpServer.port")
        await proxies.start(opened)
        if interval_s := self.config.xds_server.consistency_check_interval:
            zone = self.config.multizone.zone.name
            auditor = Auditor(source, self.connections, zone, self.metrics, interval_s)
            self._spawn(auditor.run(), "consistency checks")

        async def stop() -> None:
            await proxies.stop()
            unsubscribe()
            issuer.close()

        self._stops.append(stop)

    async def _listen_api(
        self, runner: web.AppRunner, host: str, port: int, setting: str, tls: ssl.SSLContext | None = None
    ) -> None:
        opened = self._open(host, port, setting)
        await Site(runner, opened, ssl_context=tls, backlog=BACKLOG).start()

    def _open(self, host: str, port: int, setting: str) -> socket.socket:
        """A listening socket. Raises Unusable, naming the setting."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            opened = socket.create_server(
                (host, port), family=family, backlog=BACKLOG, reuse_port=self._shared_ports
            )
        except OSError as error:
            raise Unusable(f"{host}:{port} ({setting}): {error.strerror or error}") from error
        opened.setblocking(False)
        self.ports[setting] = opened.getsockname()[1]
        log.info("listening on %s:%d (%s)", host, self.ports[setting], setting)
        return opened

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception:
                log.exception("%s ended with an error", name)

        self._tasks.append(asyncio.create_task(guarded(), name=name))


async def run_until(stop: asyncio.Event, worker: Worker, unix_sockets: Sequence[str] = ()) -> None:
    """Start the worker and serve until `stop`, which may come while it still starts. Raises Unusable."""
    starting = asyncio.create_task(worker.start(unix_sockets))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        await worker.stop()
