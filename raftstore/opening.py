"""From a configuration to what is on disk: lock, log and snapshot of one replica, checked."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TypeVar

from raftstore import collector
from raftstore.core import SnapshotMeta
from raftstore.datadir import DataDir
from raftstore.errors import DiskFailed
from raftstore.group_commit import ReplicaWal
from raftstore.machine import StateMachine
from raftstore.settings import StoreConfig, parse_address
from raftstore.snapshot import load_latest
from raftstore.tls import Tls, load_tls
from raftstore.transport import Address
from raftstore.wal import RealDisk

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class Opened:
    """Everything a replica starts from. The log's disk is closed with the log."""

    cluster_id: str
    tls: Tls | None
    listen: Address
    directory: DataDir
    snapshot_disk: RealDisk
    wal: ReplicaWal
    machine: StateMachine
    snapshot: SnapshotMeta | None

    async def close(self) -> None:
        """Release the directory; the log must be closed already, or not be in use."""
        self.snapshot_disk.close()
        self.directory.close()


async def open_replica(config: StoreConfig) -> Opened:
    """Raises BadCertificate, DataDirInUse, WrongDataDir, Corrupt, DiskFull, DiskFailed."""
    tls = load_tls(config.tls_dir, config.node_id) if config.tls_dir else None
    cluster_id = config.cluster_id or (tls.identity.cluster_id if tls else config.node_id)
    listen = parse_address("listen", config.listen)
    return await _in_thread(lambda: _open_disk(config, cluster_id, tls, listen))


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)


def _open_disk(config: StoreConfig, cluster_id: str, tls: Tls | None, listen: Address) -> Opened:
    with ExitStack() as undo:
        try:
            directory = DataDir.open(config.data_dir, cluster_id=cluster_id, node_id=config.node_id)
            undo.callback(directory.close)
            if config.recover_from_peers:
                aside = directory.set_aside()
                log.warning(
                    "rebuilding from the peers; what was here is in %s", aside or "no place: it was empty"
                )
            snapshots, logs = (
                undo.enter_context(closing(RealDisk(path)))
                for path in (directory.snapshot_path, directory.wal_path)
            )
            with collector.settling():
                snapshot = load_latest(snapshots, cluster_id=cluster_id)
                wal = ReplicaWal.open(logs, cluster_id=cluster_id, node_id=config.node_id)
        except OSError as error:
            raise DiskFailed(f"{config.data_dir}: {error.strerror or error}") from error
        undo.pop_all()
    assert isinstance(wal, ReplicaWal)  # open() makes what it was called on
    if wal.torn:
        log.warning("%s", wal.torn)
    meta = None
    if snapshot is not None:
        header = snapshot.header
        meta = SnapshotMeta(header.index, header.term, header.voters)
    machine = StateMachine(snapshot.state) if snapshot else StateMachine()
    log.info(
        "%s opened %s at snapshot %d, log to %d",
        config.node_id,
        os.path.abspath(config.data_dir),
        meta.index if meta else 0,
        wal.last_index,
    )
    return Opened(cluster_id, tls, listen, directory, snapshots, wal, machine, meta)
