"""What policies do to single requests: time limits, retries, rate limits, circuits, faults."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from cp.up.story import StoryFailed, until
from tests.policies.harness import App, Reply, Seen, Services

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

TO_ALL = {"targetRef": {"kind": "Mesh"}}
AT_V1 = {"targetRef": {"kind": "Dataplane", "name": "backend-v1"}}


async def reaches(mesh: Services, status: int, port: int, path: str = "/") -> Reply:
    """Wait until a request is answered with a status."""
    reply = Reply(0)

    async def answered() -> bool:
        nonlocal reply
        reply = await mesh.request(port, path)
        return reply.status == status

    await until(f"{path} is answered {status}", answered)
    return reply


async def test_meshtimeout_answers_504_for_a_slow_upstream(mesh: Services) -> None:
    async def slow(seen: Seen) -> web.Response:
        await asyncio.sleep(0.5)  # longer than the limit to come, shorter than that of a route without one
        return web.Response(text="late")

    mesh.apps["v1"].answer = slow
    assert (await mesh.request(mesh.ports.v1)).text == "late"
    spec = {"to": [{**TO_ALL, "default": {"http": {"requestTimeout": "100ms"}}}]}
    async with mesh.policy("MeshTimeout", spec):
        reply = await reaches(mesh, 504, mesh.ports.v1)
        assert reply.took_s >= 0.1
        assert await mesh.proxies["web"].stat("upstream_rq_timeout$") > 0
    assert (await reaches(mesh, 200, mesh.ports.v1)).text == "late"


async def test_meshretry_tries_again_and_the_upstream_sees_it(mesh: Services) -> None:
    app = mesh.apps["v1"]

    async def every_third(seen: Seen) -> web.Response:
        attempts = app.paths().count(seen.path)
        return web.Response(status=200 if attempts % 3 == 0 else 503, text=f"attempt {attempts}")

    app.answer = every_third
    assert [(await mesh.request(mesh.ports.v1, "/before")).status for _ in range(3)] == [503, 503, 200]
    back_off = {"baseInterval": "1ms", "maxInterval": "2ms"}
    conf = {"http": {"numRetries": 2, "retryOn": ["5xx"], "backOff": back_off}}
    async with mesh.policy("MeshRetry", {"to": [{**TO_ALL, "default": conf}]}):

        async def tried_again() -> bool:
            app.forget()
            app.answer = every_third
            return (await mesh.request(mesh.ports.v1, "/retried")).status == 200

        await until("two failures are not seen by the client", tried_again)
        assert app.paths() == ["/retried"] * 3


async def test_meshratelimit_answers_429(mesh: Services) -> None:
    rate = {"requestRate": {"num": 2, "interval": "600s"}}
    limited = {"status": 429, "headers": {"set": [{"name": "x-limited", "value": "yes"}]}}
    conf = {"local": {"http": {**rate, "onRateLimit": limited}}}
    async with mesh.policy("MeshRateLimit", {**AT_V1, "rules": [{"default": conf}]}):
        reply = await reaches(mesh, 429, mesh.ports.v1)
        assert reply.headers["x-limited"] == "yes"
        seen = len(mesh.apps["v1"].seen)
        assert [(await mesh.request(mesh.ports.v1)).status for _ in range(3)] == [429] * 3
        assert len(mesh.apps["v1"].seen) == seen
        assert [(await mesh.request(mesh.ports.v2)).status for _ in range(5)] == [200] * 5
    await reaches(mesh, 200, mesh.ports.v1)


async def test_meshcircuitbreaker_refuses_what_exceeds_its_limits(mesh: Services) -> None:
    release = asyncio.Event()

    async def held(seen: Seen) -> web.Response:
        await release.wait()
        return web.Response(text="held")

    limits = {"maxConnections": 1, "maxPendingRequests": 1, "maxRequests": 1}
    spec = {"to": [{**TO_ALL, "default": {"connectionLimits": limits}}]}
    async with mesh.policy("MeshCircuitBreaker", spec):

        async def overflows() -> bool:
            release.clear()
            mesh.apps["v1"].answer = held
            asked = [asyncio.create_task(mesh.request(mesh.ports.v1)) for _ in range(6)]
            done, _ = await asyncio.wait(asked, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            release.set()
            replies = await asyncio.gather(*asked)
            refused = [reply for reply in replies if reply.status == 503]
            assert all(reply.headers.get("x-envoy-overloaded") == "true" for reply in refused)
            return len(refused) >= 3 and bool(done)

        await until("requests beyond the limit are answered 503", overflows)
        assert await mesh.proxies["web"].stat("upstream_rq_(active|pending)_overflow$") >= 3


async def test_meshcircuitbreaker_opens_for_an_endpoint_that_fails(mesh: Services) -> None:
    failing = mesh.apps["v1"]
    failing.answer = _failing
    detection = {
        "interval": "100ms",
        "baseEjectionTime": "30s",
        "maxEjectionPercent": 100,  # whatever else was taken out for a moment must not keep this one in
        "detectors": {"totalFailures": {"consecutive": 3}},
    }
    spec = {"to": [{**TO_ALL, "default": {"outlierDetection": detection}}]}
    async with mesh.policy("MeshCircuitBreaker", spec):

        async def taken_out() -> bool:
            replies = [await mesh.request(mesh.ports.backend) for _ in range(6)]
            return {reply.text for reply in replies} == {"v2"}

        try:
            await until("the failing endpoint gets no more requests", taken_out)
        except StoryFailed as failed:
            known = await mesh.proxies["web"].stats("backend__.*(outlier_detection|membership)")
            raise AssertionError(f"{failed}; Envoy counts {known}") from failed
        assert await mesh.proxies["web"].stat("outlier_detection.ejections_active$") >= 1


async def _failing(seen: Seen) -> web.Response:
    return web.Response(status=500)


async def test_meshfaultinjection_aborts(mesh: Services) -> None:
    conf = {"http": [{"abort": {"httpStatus": 418, "percentage": 100}}]}
    async with mesh.policy("MeshFaultInjection", {**AT_V1, "rules": [{"default": conf}]}):
        reply = await reaches(mesh, 418, mesh.ports.v1)
        assert "fault filter abort" in reply.text
        seen = len(mesh.apps["v1"].seen)
        assert (await mesh.request(mesh.ports.v1)).status == 418
        assert len(mesh.apps["v1"].seen) == seen, "an aborted request reached the application"
        assert (await mesh.request(mesh.ports.v2)).status == 200
    await reaches(mesh, 200, mesh.ports.v1)


async def test_meshfaultinjection_delays(mesh: Services) -> None:
    app: App = mesh.apps["v1"]
    conf = {"http": [{"delay": {"value": "300ms", "percentage": 100}}]}
    async with mesh.policy("MeshFaultInjection", {**AT_V1, "rules": [{"default": conf}]}):

        async def held_back() -> bool:
            reply = await mesh.request(mesh.ports.v1)
            delayed = await mesh.proxies["backend-v1"].stat("fault.delays_injected$") > before
            return reply.status == 200 and reply.took_s >= 0.3 and delayed

        before = await mesh.proxies["backend-v1"].stat("fault.delays_injected$")
        await until("requests are held back", held_back)
        assert app.seen
