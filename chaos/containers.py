"""Faults against the containers of a compose topology, under the workload; then the judgement.

    python -m chaos.containers [--project NAME] [--fault NAME ...] [--seconds S]     on the host
    docker compose -f compose/cluster-3.yml --profile chaos run --rm chaos           within the project

Where two services talk through Envoys (compose/mesh.yml), their requests go on meanwhile,
and none may fail.

Exit status: 0 when every promise held, 1 when one was broken, 2 without a cluster to test.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import aiohttp

from chaos.container_faults import FAULTS, possible
from chaos.container_rig import POLL_S, PROJECT, SETTLE_S, Containers, NothingToTest
from chaos.engine import SOCKET, Engine, EngineError
from chaos.history import Stalled
from chaos.trial import Fault, Report, summary, trial
from cp.up.traffic import Traffic
from raftstore.guarantees import Violation

PROJECT_ELSE = "compose"  # compose's own choice for the files of that folder


class DataPlane(Violation):
    """A failure of the control plane became a failed request."""


async def run(project: str, inside: bool, faults: Sequence[Fault], seconds: float) -> list[Report]:
    """Raises NothingToTest."""
    if not SOCKET.exists():
        raise NothingToTest(f"there is no Docker: {SOCKET} does not exist")
    async with Engine() as engine:
        project = project or (await own_project(engine) if inside else PROJECT_ELSE)
        rig = Containers(engine, project, by_name=inside)
        async with rig.session, AsyncExitStack() as stack:
            await rig.find()
            await rig.settled()
            print(f"{len(rig.replicas)} replicas: {', '.join(rig.replicas)}", flush=True)
            traffic = None
            if url := await rig.traffic_url():
                await flows(url)
                traffic = await stack.enter_async_context(Traffic(url, workers=2, pause_s=0.1))
            return [
                await one(rig, fault, seconds, f"c{int(time.time()):x}-{number}", traffic)
                for number, fault in enumerate([each for each in faults if await possible(each, rig)])
            ]


async def own_project(engine: Engine) -> str:
    """The project of the container in which this runs. Raises NothingToTest."""
    try:
        return str((await engine.inspect(socket.gethostname()))["Config"]["Labels"][PROJECT])
    except (EngineError, KeyError):
        raise NothingToTest("this is no container of a compose project; name one with --project") from None


async def one(rig: Containers, fault: Fault, seconds: float, label: str, traffic: Traffic | None) -> Report:
    """One trial. Requests between services must not notice it: proxies keep what they have."""
    failed = traffic.tally.failed if traffic else 0
    report = await trial(rig, fault, seconds, label)
    if traffic is not None and traffic.tally.failed > failed:
        text = (
            f"{traffic.tally.failed - failed} requests between services failed: {traffic.tally.failures[-1]}"
        )
        report.violations.append(DataPlane(text))
    print(report.line() + (f"  {traffic.tally.ok} requests served" if traffic else ""), flush=True)
    for violation in report.violations:
        print(f"  {type(violation).__name__}: {str(violation)[:4000]}", flush=True)
    return report


async def flows(url: str) -> None:
    """Wait for the first request that goes through both Envoys. Raises Stalled."""
    deadline = time.monotonic() + SETTLE_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session:
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(POLL_S)
    raise Stalled(f"no request gets through {url} within {SETTLE_S:g} s")


async def until_signal(project: str, inside: bool, faults: Sequence[Fault], seconds: float) -> list[Report]:
    """`run`, ended in good order by SIGINT and SIGTERM too: what is broken is mended."""
    task = asyncio.ensure_future(run(project, inside, faults, seconds))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def main() -> int:
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(prog="python -m chaos.containers")
    parser.add_argument(
        "--project", help=f"the compose project (default: {PROJECT_ELSE}, or this container's)"
    )
    parser.add_argument("--inside", action="store_true", help="this runs in a container of the project")
    parser.add_argument("--fault", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each fault lasts")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if fault.name in (options.fault or names)]
    try:
        reports = asyncio.run(until_signal(options.project, options.inside, chosen, options.seconds))
    except (NothingToTest, Stalled) as error:
        print(f"cannot run: {error}", file=sys.stderr)
        return 2
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130
    print(summary("containers", reports))
    return int(any(report.violations for report in reports))


if __name__ == "__main__":
    sys.exit(main())
