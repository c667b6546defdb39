"""The diagnostics port (5680): health, readiness and metrics of the whole replica.

A replica has several workers behind one set of ports, so whoever asks the API's port for
metrics meets one of them. This port asks all of them, over their Unix sockets, and answers
with every metric of each under a label `worker`; it is ready when all of them are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from cp.api.answers import json_answer
from cp.api.context import Context
from cp.api.meta import health_routes
from cp.metrics import CONTENT_TYPE

ASK_TIMEOUT_S = 5.0


class _Merged(Collector):
    """Families of several processes, each sample under the label of its process."""

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        self._texts = list(texts)

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for worker, text in self._texts:
            for family in text_string_to_metric_families(text):
                into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    labels = {"worker": worker} | sample.labels
                    into.samples.append(sample._replace(labels=labels))
        yield from merged.values()


def merge(texts: Iterable[tuple[str, str]]) -> bytes:
    """Metrics of several processes in one exposition: (worker, text of its metrics)."""
    registry = CollectorRegistry()
    registry.register(_Merged(texts))
    return generate_latest(registry)


def diagnostics_of(context: Context) -> web.Application:
    """The diagnostics port of a replica with one worker: this one."""
    app = web.Application()
    app.add_routes(health_routes(context))
    return app


def diagnostics_of_workers(sockets: Sequence[str]) -> web.Application:
    """The diagnostics port over the Unix sockets of several workers."""
    diagnostics = _Diagnostics(sockets)
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthy", diagnostics.healthy),
            web.get("/ready", diagnostics.ready),
            web.get("/metrics", diagnostics.metrics),
        ]
    )
    return app


class _Diagnostics:
    def __init__(self, sockets: Sequence[str]) -> None:
        self._sockets = sockets

    async def healthy(self, request: web.Request) -> web.Response:
        return json_answer({"status": "healthy"})

    async def ready(self, request: web.Request) -> web.Response:
        answers = await self._ask("/ready")
        workers = {str(n): status == 200 for n, (status, _) in enumerate(answers)}
        ready = all(workers.values())
        return json_answer(
            {"status": "ready" if ready else "not ready", "workers": workers}, 200 if ready else 503
        )

    async def metrics(self, request: web.Request) -> web.Response:
        answers = await self._ask("/metrics")
        texts = [(str(n), text) for n, (status, text) in enumerate(answers) if status == 200]
        return web.Response(body=merge(texts), headers={"Content-Type": CONTENT_TYPE})

    async def _ask(self, path: str) -> list[tuple[int, str]]:
        """(status, text) of each worker; status 0 for one that does not answer."""
        return list(await asyncio.gather(*(_get(each, path) for each in self._sockets)))


async def _get(socket_path: str, path: str) -> tuple[int, str]:
    timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
    connector = aiohttp.UnixConnector(socket_path)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(f"http://worker{path}") as response,
        ):
            return response.status, await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return 0, ""
