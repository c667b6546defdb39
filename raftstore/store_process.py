"""The main of a store process: one replica, its socket for workers, and an orderly end.

    python -m raftstore.store_process --config-json '{"node_id": "n1", ...}'

SIGTERM and SIGINT hand leadership over, finish what is being written and exit with 0. Whatever
keeps it from running is said in ONE line on standard error, with an exit status of its own:
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import uvloop

from raftstore import collector
from raftstore.certs import BadCertificate
from raftstore.errors import Corrupt, DataDirInUse, DiskFailed, DiskFull, StoreError, WrongDataDir
from raftstore.replica import Replica
from raftstore.service import Service
from raftstore.settings import BadConfig, StoreConfig
from raftstore.transport import AddressInUse

log = logging.getLogger(__name__)

HAND_OVER_S = 2.0
SWITCH_S = 0.0005


class Exit(IntEnum):
    """Why the process ended. 78 is EX_CONFIG: starting again would end the same."""

    STOPPED = 0
    BUG = 70  # EX_SOFTWARE
    DISK = 74  # EX_IOERR
    BAD_CONFIG = 78
    ADDRESS_IN_USE = 80
    DATA_DIR_IN_USE = 81
    CORRUPT = 82
    BAD_CERTIFICATE = 83
    WRONG_DATA_DIR = 84


_EXITS: tuple[tuple[type[StoreError], Exit], ...] = (
    (BadConfig, Exit.BAD_CONFIG),
    (AddressInUse, Exit.ADDRESS_IN_USE),
    (DataDirInUse, Exit.DATA_DIR_IN_USE),
    (Corrupt, Exit.CORRUPT),
    (BadCertificate, Exit.BAD_CERTIFICATE),
    (WrongDataDir, Exit.WRONG_DATA_DIR),
    (DiskFailed, Exit.DISK),
    (DiskFull, Exit.DISK),
)


def exit_of(error: BaseException) -> Exit:
    return next((code for kind, code in _EXITS if isinstance(error, kind)), Exit.BUG)


MakeService = Callable[[Replica, str], Service]


async def run_store(
    config: StoreConfig,
    stop: asyncio.Event | None = None,
    replica_type: type[Replica] = Replica,
    make_service: MakeService = Service,
) -> None:
    """Run a replica until SIGTERM or SIGINT, or until `stop` is set.

    make_service(replica, socket_path): how it is served.
    Raises what Replica.start raises, and the error that ended the replica.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    collector.tame(loop)
    replica = await replica_type.start(config)
    service = make_service(replica, config.socket_path) if config.socket_path else None
    try:
        if service is not None:
            await service.start()
        # The log's thread comes back from a sync and wants the interpreter: at Python's 5 ms, a
        # busy loop would make each commit wait for longer than the sync took.
        sys.setswitchinterval(SWITCH_S)
        log.info("%s runs in cluster %s", config.node_id, replica.cluster_id)
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        ends: set[asyncio.Future[Any]] = {stopped, replica.failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if replica.failed.done():
            await replica.failed
        await hand_over(replica)
    finally:
        if service is not None:
            await service.close()
        await replica.close()


async def hand_over(replica: Replica) -> None:
    """A leader that leaves lets the best follower lead first, which spares the cluster an election."""
    status = await replica.status()
    others = [m for m in status.members if m.role == "follower" and m.connected and m.match_index is not None]
    if status.role == "leader" and others:
        best = max(others, key=lambda member: member.match_index or 0)
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(HAND_OVER_S):
                await replica.admin.transfer(best.id)


def run(config: StoreConfig, make_service: MakeService = Service) -> Exit:
    """run_store on uvloop; errors become one line on standard error and an exit status."""
    try:
        uvloop.run(run_store(config, make_service=make_service))
    except StoreError as error:
        say(config.node_id, error)
        return exit_of(error)
    except Exception as error:  # noqa: BLE001 - the last resort of a process
        traceback.print_exc()
        say(config.node_id, error)
        return Exit.BUG
    return Exit.STOPPED


def say(node_id: str, error: BaseException) -> None:
    text = " ".join(str(error).split()) or type(error).__name__
    sys.stderr.write(f"raftstore: {node_id or 'replica'} cannot run: {text}\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("raftstore.store_process", description="one replica of the event log")
    parser.add_argument("--config-json", required=True, help="raftstore.settings.StoreConfig as JSON")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=given.log_level, format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    try:
        config = StoreConfig.from_json(given.config_json)
    except BadConfig as error:
        say("", error)
        return exit_of(error)
    return run(config)


__doc__ = f"{__doc__}\n" + "\n".join(f"    {code:3}  {code.name.lower()}" for code in Exit)

if __name__ == "__main__":
    sys.exit(main())
