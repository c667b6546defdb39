"""The dp-server of one worker, put together: bootstrap, admission, registration, xDS."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from aiohttp import web

from cp.admission import TokenAdmission
from cp.balance import Balancer
from cp.bootstrap import Bootstrap, Settings
from cp.config_schema import Config
from cp.dpserver import DpServer
from cp.duration import format_duration
from cp.live import LiveView
from cp.metrics import Metrics
from cp.registration import Registrar
from cp.reporting import CertificateOf, Reporter
from cp.resources import Resources
from cp.streams import Connections
from cp.tls import server_context, server_files
from cp.xdsmetrics import XdsMetrics
from mesh.resource import Resource
from raftstore.port import Store
from xds.gate import Gate
from xds.server import AdsServer
from xds.source import ConfigSource


class Proxies:
    """Serves the proxies of one worker."""

    def __init__(
        self,
        config: Config,
        store: Store,
        live: LiveView,
        resources: Resources,
        source: ConfigSource,
        connections: Connections,
        metrics: Metrics,
        instance: str,
        issued: CertificateOf,
    ) -> None:
        self._config = config
        self._live = live
        self._registrar = Registrar(
            store,
            live,
            resources,
            source,
            then=TokenAdmission(live, config),
            instance=instance,
            deregistration_delay_s=config.xds_server.dataplane_deregistration_delay,
            connections=connections,
        )
        self._reporter = Reporter(
            store,
            live,
            connections,
            self._registrar.whose,
            config.xds_server.dataplane_status_flush_interval,
            issued,
        )
        streams = config.xds_server.streams
        self._balancer = Balancer(
            store, connections, streams, instance, config.raft.node_id, alone=config.workers == 1
        )
        gate = Gate(streams.admission_per_second, streams.admission_burst)
        metrics.gauge("xds_streams_waiting", "Streams that wait to be let in.", lambda: len(gate))
        metrics.gauge(
            "xds_streams_sent_away",
            "Streams ended because other replicas serve fewer.",
            lambda: self._balancer.sent_away,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._ads = AdsServer(
            self._registrar,
            self._registrar,
            [connections, XdsMetrics(metrics, connections)],
            control_plane=instance,
            gate=gate,
            drain_rate=streams.drain_per_second,
        )
        self._server: DpServer | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve on a bound socket."""
        server = self._config.dp_server
        cert, _ = server_files(self._config, server.tls_cert_file, server.tls_key_file)
        tls = server_context(self._config, server.tls_cert_file, server.tls_key_file)
        params = self._config.bootstrap_server.params
        settings = Settings(
            cert_pem=Path(cert).read_bytes(),
            listen_port=listening.getsockname()[1],
            xds_host=params.xds_host,
            xds_port=params.xds_port,
            connect_timeout=format_duration(params.xds_connect_timeout),
            admin_port=params.admin_port,
            admin_access_log=params.admin_access_log_path,
            hds=server.hds.enabled,
            dp_token_required=server.authn.dp_proxy.type != "none",
            zone_token_required=server.authn.zone_proxy.type != "none",
            reloadable_tokens=server.authn.enable_reloadable_tokens,
        )
        app = web.Application()
        app.add_routes(Bootstrap(settings, self._find).routes())
        self._server = DpServer(self._ads, app, tls)
        await self._server.start(listening)
        self._tasks = [asyncio.create_task(self._reporter.run(), name="statuses of proxies")]
        streams = self._config.xds_server.streams
        if streams.balance_per_second and streams.balance_interval:
            self._tasks.append(asyncio.create_task(self._balancer.run(self._live), name="balance"))

    async def stop(self) -> None:
        """Send the proxies to another replica; none of them is taken away for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._registrar.stop()
        if self._server is not None:
            await self._server.stop(self._config.dp_server.graceful_shutdown_timeout)

    def _find(self, kind: str, mesh: str, name: str) -> Resource | None:
        return self._live.view.get(kind, mesh, name)
