"""`raftmesh up`: start the demo mesh, watch it, try things; or let it tell its story."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from cp.up.client import Api
from cp.up.local import LocalMesh, UpError, fixed_ports
from cp.up.story import Story, StoryFailed, until
from cp.up.traffic import Traffic
from dp.ports import free_ports

LINE_EVERY_S = 1.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("up", help="run a 3-replica cluster with two services behind Envoys, here")
    parser.add_argument("--script", action="store_true", help="run the story unattended; exit status 0 or 1")
    parser.add_argument("--dir", default="", help="where its files go (default: a directory under /tmp)")
    parser.add_argument("--ports", choices=("fixed", "auto"), default=None, help="Kuma's ports, or free ones")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    ports_wanted = args.ports or ("auto" if args.script else "fixed")
    directory = Path(args.dir) if args.dir else Path(tempfile.gettempdir()) / f"raftmesh-up-{ports_wanted}"
    try:
        ports = free_ports(LocalMesh.PORTS) if ports_wanted == "auto" else fixed_ports(LocalMesh.PORTS)
        mesh = LocalMesh(directory.absolute(), ports=ports)
        return asyncio.run(_run(mesh, script=args.script))
    except (UpError, StoryFailed) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


async def _run(mesh: LocalMesh, *, script: bool) -> int:
    stop = asyncio.Event()
    # SIGHUP, too: a terminal that is closed must not leave a mesh behind that nobody sees. nohup ignores it.
    is_kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    for number in (signal.SIGTERM, signal.SIGINT, *(() if is_kept else (signal.SIGHUP,))):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    body = asyncio.ensure_future(_script(mesh) if script else _watch(mesh))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({body, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if body.done():
            return body.result()
        body.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await body
        return 0 if not script else 1
    except StoryFailed:
        _print_logs(mesh)
        raise
    finally:
        stopping.cancel()
        print("stopping", flush=True)
        await mesh.stop()


async def _start(mesh: LocalMesh, api: Api) -> None:
    print(f"files and logs are in {mesh.directory}")
    for replica in mesh.replicas:
        await replica.process.start()
        print(
            f"{replica.name:14} API {replica.api}   proxies {replica.cp}   pid {replica.process.pid}",
            flush=True,
        )

    async def all_ready() -> bool:
        for process in mesh.processes()[: len(mesh.replicas)]:
            if not process.running:
                raise StoryFailed(f"{process.name} ended:\n{process.log_tail()}")
        return all([await api.ready(replica.api) for replica in mesh.replicas])

    await until("all replicas are ready", all_ready)
    print(f"{await api.leader([replica.api for replica in mesh.replicas])} leads", flush=True)
    for service in mesh.services:
        await mesh.start_service(service, api)
        print(
            f"{service.name:14} pid {service.process.pid}, its Envoy at 127.0.0.1:{service.inbound}",
            flush=True,
        )


async def _until_first_answer(mesh: LocalMesh) -> None:
    """Proxies need a moment to get their configuration; only then does counting begin."""
    async with Traffic(mesh.url, workers=1) as probe:

        async def answered() -> bool:
            for process in mesh.processes():
                if not process.running:
                    raise StoryFailed(f"{process.name} ended:\n{process.log_tail()}")
            return probe.tally.ok >= 10

        await until("the first requests are answered", answered)


async def _script(mesh: LocalMesh) -> int:
    started = time.monotonic()
    async with Api() as api:
        await _start(mesh, api)
        await _until_first_answer(mesh)
        async with Traffic(mesh.url) as traffic:
            await Story(mesh, api, traffic, lambda line: print(f"ok  {line}", flush=True)).run()
    print(f"the story holds ({time.monotonic() - started:.1f} s)")
    return 0


async def _watch(mesh: LocalMesh) -> int:
    async with Api() as api:
        await _start(mesh, api)
        await _until_first_answer(mesh)
        print(hints(mesh), flush=True)
        async with Traffic(mesh.url) as traffic:
            while True:
                await asyncio.sleep(LINE_EVERY_S)
                line = traffic.tally.line(time.monotonic())
                print(f"\r\x1b[K{line}" if sys.stdout.isatty() else line, end="", flush=True)
                if not sys.stdout.isatty():
                    print(flush=True)
                for replica in mesh.replicas:
                    if not replica.process.running:
                        print(f"\n{replica.name} is gone; starting it again", flush=True)
                        await replica.process.start()


def hints(mesh: LocalMesh) -> str:
    """What a person can try now, ready to paste."""
    first, second = mesh.replicas[0], mesh.replicas[1]
    raftmesh = os.path.relpath(Path(sys.executable).parent / "raftmesh")
    route = mesh.directory / "route.yaml"
    route.write_text(
        "type: MeshHTTPRoute\nmesh: default\nname: backend-version\nspec:\n  targetRef: {kind: Mesh}\n  to:\n"
        "  - targetRef: {kind: MeshService, name: backend}\n    rules:\n"
        "    - matches: [{path: {type: PathPrefix, value: /}}]\n      default:\n        backendRefs:\n"
        "        - {kind: MeshServiceSubset, name: backend, tags: {version: v2}, weight: 100}\n"
    )
    return (
        "\nTry, in another terminal:\n"
        f"  {raftmesh} apply --cp-address {second.api} -f {route}      # all traffic to backend v2\n"
        f"  curl {first.api}/cluster                                 # who leads\n"
        f"  kill -9 {first.process.pid}                              # traffic goes on; it is started again\n"
        f"  curl {mesh.url}                                          # a request through both proxies\n"
        "Ctrl-C ends it.\n"
    )


def _print_logs(mesh: LocalMesh) -> None:
    for process in mesh.processes():
        if process.log_path.exists() and (tail := process.log_tail().strip()):
            print(f"--- the end of {process.log_path} ---\n{tail}", file=sys.stderr)
