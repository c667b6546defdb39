"""The running API keeps its description: schemathesis makes requests from it and checks the answers.

Requests come from the schemas, the same in every run; half of the paths name what exists, so that there is
something to answer with. An answer must not be an error of the server, and status, media type, headers
and body must be as described. Parameters that make the server wait are left out: they have tests of
their own (test_api_reads.py, test_api_watch.py).
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi import checks

from cp.config import load
from cp.worker import Worker
from mesh.registry import KINDS
from raftstore.memory import MemoryStore
from tests.cp.conftest import ENVIRON
from tests.mesh.samples import WRITTEN, sample

WAITS = ("watch", "since", "at", "index", "X-Raftmesh-Min-Index")
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# A request with a body is made from the whole schema of a kind, which takes its time.
EXAMPLES, EXAMPLES_WITH_BODY = 4, 2
KEPT = ("DELETE /meshes/{name}",)  # everything else is asked of what is in there


class Running(NamedTuple):
    """A worker on a loop in a thread of its own, its address, and what it says of itself."""

    worker: Worker
    store: MemoryStore
    base: str
    described: dict[str, Any]


async def start() -> Running:
    """A worker with one resource of each kind."""
    store = MemoryStore()
    worker = Worker(load(None, ENVIRON).config, store)
    await worker.start()
    base = f"http://127.0.0.1:{worker.ports['apiServer.http.port']}"
    documents = [sample(KINDS["Mesh"], "default"), *map(sample, WRITTEN)]
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{base}/transactions", json=documents) as answer:
            assert answer.status == 200, await answer.text()
        async with session.get(f"{base}/openapi.json") as answer:
            return Running(worker, store, base, await answer.json())


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = asyncio.run_coroutine_threadsafe(start(), loop).result(30.0)

    async def stop() -> None:
        await running.worker.stop()
        await running.store.close()

    yield running
    asyncio.run_coroutine_threadsafe(stop(), loop).result(30.0)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10.0)
    loop.close()


def test_answers_are_as_described(running: Running) -> None:
    schema = schemathesis.openapi.from_dict(running.described)
    schema.config.base_url = running.base
    failures: dict[str, list[str]] = {}
    seen: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.label not in KEPT:
            try_out(operation, failures, seen.setdefault(operation.label, set()))
    assert not failures, "\n".join(f"{label}: {texts[0]}" for label, texts in failures.items())
    assert len(seen) > 250
    # What exists was really found, or the checks of bodies would have checked errors alone.
    for kind in WRITTEN:
        path = f"/meshes/{{mesh}}/{kind.path}" if kind.scope == "mesh" else f"/{kind.path}"
        assert 200 in seen[f"GET {path}"] and 200 in seen[f"GET {path}/{{name}}"], kind.name


def try_out(
    operation: schemathesis.schemas.APIOperation,  # type: ignore[name-defined]
    failures: dict[str, list[str]],
    statuses: set[int],
) -> None:
    turn = itertools.count()

    @settings(
        max_examples=EXAMPLES_WITH_BODY if operation.body else EXAMPLES,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def request(case: schemathesis.Case) -> None:
        given = case.path_parameters or {}
        if "mesh" in given:
            given["mesh"] = "default"
        if "name" in given and case.method == "GET" and next(turn) % 2 == 0:
            given["name"] = "sample"
        for container in (case.query, case.headers):
            for name in WAITS:
                (container or {}).pop(name, None)
        answer = case.call(timeout=30.0)
        statuses.add(answer.status_code)
        try:
            case.validate_response(answer, checks=CHECKS)
        except (Failure, FailureGroup) as error:
            failures.setdefault(operation.label, []).append(f"{error} {answer.text[:300]}")

    request()
