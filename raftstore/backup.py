"""Backup and restore of a whole store, as one file.

A backup is a snapshot (snapshot.py) under a name of its own: everything up to one index,
request memory included. `restore` makes a data directory for each replica of a *new*
cluster out of it: the indexes go on where the backup ends, so versions and watch
positions stay comparable, but cluster id and voters are the new ones, so that a replica of
the old cluster that is still running somewhere cannot join in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from raftstore.datadir import DataDir
from raftstore.errors import DiskFailed, WrongDataDir
from raftstore.snapshot import (
    Header,
    Snapshot,
    SnapshotReader,
    commit_file,
    encode,
    save,
    snapshot_names,
)
from raftstore.state import State
from raftstore.wal.disk import RealDisk, disk_error

_READ_BYTES = 1 << 20


def backup(path: Path | str, header: Header, state: State) -> int:
    """Write the backup file; its size in bytes. Blocks. Raises DiskFull, DiskFailed.

    An existing file is replaced only when the new one is complete.
    """
    path = Path(path)
    temporary = path.name + ".tmp"
    size = 0
    try:
        disk = RealDisk(path.parent)
        try:
            disk.truncate(temporary, 0)
            for data in encode(header, state):
                disk.append(temporary, data)
                size += len(data)
            commit_file(disk, temporary, path.name)
        finally:
            disk.close()
    except OSError as error:
        raise disk_error(error, f"writing backup {path}") from error
    return size


def read_backup(path: Path | str) -> Snapshot:
    """Read and verify a backup. Blocks. Raises Corrupt, WrongDataDir, DiskFailed."""
    reader = SnapshotReader(str(path))
    try:
        with Path(path).open("rb") as file:
            while data := file.read(_READ_BYTES):
                reader.feed(data)
    except OSError as error:
        raise DiskFailed(f"reading backup {path}: {error.strerror or error}") from error
    return reader.finish()


def restore(
    path: Path | str, data_dir: Path | str, *, cluster_id: str, node_id: str, voters: Iterable[str]
) -> Header:
    """Make `data_dir` the directory of `node_id` in a new cluster that starts from a backup.

    Run it with the same arguments but the node id for every voter. Returns the header of the
    snapshot that it starts from. Blocks.

    Raises WrongDataDir when the directory holds a log or a snapshot already, when
    `cluster_id` is the backup's own or `node_id` is no voter; and as read_backup does.
    """
    voters = tuple(sorted(voters))
    if node_id not in voters:
        raise WrongDataDir(f"node {node_id!r} is not among the voters {', '.join(voters)}")
    snapshot = read_backup(path)
    if cluster_id == snapshot.header.cluster_id:
        raise WrongDataDir(
            f"{path} was made by cluster {cluster_id!r}: choose another cluster id for the restored one"
        )
    header = replace(snapshot.header, cluster_id=cluster_id, voters=voters)
    with DataDir.open(data_dir, cluster_id=cluster_id, node_id=node_id) as directory:
        disk = RealDisk(directory.snapshot_path)
        try:
            if snapshot_names(disk) or any(directory.wal_path.iterdir()):
                raise WrongDataDir(f"{data_dir} is not empty: restore into a new directory")
            save(disk, header, snapshot.state)
        finally:
            disk.close()
    return header
