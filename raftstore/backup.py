"""Backup and restore of a whole store, as one file.

A backup is a snapshot (snapshot.py) under a name of its own: everything up to one index,
request memory included. `restore` makes a data directory for each replica of a *new*
cluster out of it: versions stay what they were, and the indexes go on NEW_LIFE_GAP above the backup's, so
that none that the old cluster gave out after it is given out again. Cluster id and voters are the new
ones, so that a replica of the old cluster that is still running somewhere cannot join in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from raftstore import limits
from raftstore.compaction import paced, worked_out
from raftstore.datadir import DataDir
from raftstore.errors import DiskFailed, WrongDataDir
from raftstore.members import OWN_KIND
from raftstore.recover import start_from
from raftstore.snapshot import (
    Header,
    Snapshot,
    SnapshotReader,
    commit_file,
    encode,
    header_of,
)
from raftstore.state import State
from raftstore.types import Scope
from raftstore.wal.disk import RealDisk, disk_error

if TYPE_CHECKING:
    from raftstore.replica import Replica

_READ_BYTES = 1 << 20


async def stream(replica: Replica) -> AsyncIterator[bytes]:
    """The bytes of a backup of what a running replica holds, which is at least what was acknowledged before.

    The state is persistent, so writes go on meanwhile and are not in it. Raises Unavailable.
    """
    await replica.read_index()
    node, state = replica.node, replica.machine.state
    index = node.applied_index
    term = node.term_at(index) or state.term
    voters = node.voters_at(index)
    await worked_out(state)
    header = header_of(state, term=term, voters=voters, cluster_id=replica.cluster_id, index=index)
    async for chunk in paced(encode(header, state)):
        yield chunk


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
    alone = voters == (node_id,) and cluster_id == node_id  # without TLS: nobody could join it
    if cluster_id == snapshot.header.cluster_id and not alone:
        raise WrongDataDir(
            f"{path} was made by cluster {cluster_id!r}: choose another cluster id for the restored one "
            "(with a new CA), or what is left of the old one could join in"
        )
    state = _without_members(snapshot.state)
    index = snapshot.header.index + limits.NEW_LIFE_GAP
    header = header_of(state, term=snapshot.header.term, voters=voters, cluster_id=cluster_id, index=index)
    try:
        with DataDir.open(data_dir, cluster_id=cluster_id, node_id=node_id) as directory:
            if any(directory.snapshot_path.iterdir()) or any(directory.wal_path.iterdir()):
                raise WrongDataDir(f"{data_dir} is not empty: restore into a new directory")
            directory.set_aside()  # while half of it is there, it must not be started from
            start_from(directory, header, state, term=header.term)
            directory.recovered()
    except OSError as error:
        raise DiskFailed(f"{data_dir}: {error.strerror or error}") from error
    return header


def _without_members(state: State) -> State:
    """The old cluster's replicas and join tokens are not the new one's."""
    records = state.records
    for record in list(state.scan(Scope(OWN_KIND))):
        records = records.delete(record.key)
    return replace(state, records=records)
