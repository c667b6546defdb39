"""A data directory while its replica is stopped: checked, set aside, or made a cluster of its own.

`verify` reads everything that starting would read, and more: all snapshots, and whether log
and snapshot fit together. `prepare_rebuild` decides what `--recover-from-peers` does: nothing
to data that is whole, so the flag may stay where it is. `new_cluster` is for the day on
which most voters are lost for good.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raftstore import members
from raftstore.datadir import DataDir, read_meta, sync_dir
from raftstore.entries import REGULAR
from raftstore.errors import Corrupt, DiskFailed, WrongDataDir
from raftstore.limits import NEW_LIFE_GAP
from raftstore.machine import StateMachine
from raftstore.members import EVERYBODY_ELSE, ROSTER, Entry, Wanted
from raftstore.snapshot import Header, Snapshot, header_of, load, load_latest, save, snapshot_names
from raftstore.state import State
from raftstore.types import Record
from raftstore.wal import RealDisk, Report, Wal
from raftstore.wal import verify as verify_wal
from raftstore.wal.entries import LogEntries
from raftstore.wal.recovery import recover

_WAL, _SNAPSHOTS = "wal", "snapshots"


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory holds. snapshots: headers, oldest first."""

    node_id: str
    cluster_id: str
    recovering: bool
    log: Report
    snapshots: tuple[Header, ...]

    @property
    def last(self) -> tuple[int, int]:
        """(term, index) of the last entry, in the log or under a snapshot.

        Of the replicas of one cluster, the one with the largest holds all that any of them was told to keep
        (Raft, 5.4.1). The term that a replica knows of says nothing: it may have stood for an election.
        """
        headers = [(header.term, header.index) for header in self.snapshots]
        return max([(self.log.last_term, self.log.last_index), *headers])


def verify(path: Path | str) -> Found:
    """Check every byte of a data directory, changing none. Blocks.

    Raises Corrupt, WrongDataDir (not a data directory), DiskFailed.
    """
    path = Path(path)
    try:
        meta = read_meta(path)
        if meta is None or not (path / _WAL).is_dir():
            raise WrongDataDir(f"{path} is no data directory: there is no meta.json with a log beside it")
        log = verify_wal(path / _WAL)
        headers = []
        for snapshot in _snapshots(path / _SNAPSHOTS):
            if snapshot.header.cluster_id != meta.cluster_id:
                raise WrongDataDir(f"{path} holds a snapshot of cluster {snapshot.header.cluster_id}")
            headers.append(snapshot.header)
    except OSError as error:
        raise DiskFailed(f"reading {path}: {error.strerror or error}") from error
    covered = headers[-1].index if headers else 0
    if log.first_index > covered + 1:
        raise Corrupt(
            f"{path}: the log starts at index {log.first_index} and the newest snapshot ends at {covered}: "
            "what was between them is gone. Restart this replica with --recover-from-peers."
        )
    return Found(meta.node_id, meta.cluster_id, meta.recovering, log, tuple(headers))


def prepare_rebuild(path: Path | str, *, cluster_id: str, node_id: str) -> str:
    """Before a start with --recover-from-peers: what was found and done, for people.

    Whole data stays; corrupt data is moved to set-aside-N; a directory that is empty, or was
    set aside, is marked, so that the replica keeps silent until its peers have readmitted it.
    Raises what DataDir.open and verify raise, but Corrupt.
    """
    path, why = Path(path), "there is no data"
    try:
        if read_meta(path) is None:
            _set_unowned_aside(path)
        elif verify(path).log.records > 0:
            return "the data is whole: starting with it"
    except Corrupt as error:
        why = str(error)
        _drop_unreadable_meta(path)
    try:
        with DataDir.open(path, cluster_id=cluster_id, node_id=node_id) as directory:
            aside = directory.set_aside()
    except OSError as error:
        raise DiskFailed(f"{path}: {error.strerror or error}") from error
    kept = f"; what was here is kept in {aside}" if aside else ""
    return f"rebuilding from the peers, since {why}{kept}"


def new_cluster(path: Path | str) -> Found:
    """Make the replica of a stopped data directory the only voter. Blocks.

    Everything in its log counts from now on as committed. What was there is kept in
    set-aside-N. Returns what was found; the log goes on NEW_LIFE_GAP above its last index.
    Raises as verify and DataDir.open.
    """
    path = Path(path)
    found = verify(path)
    if found.recovering:
        raise WrongDataDir(
            f"{path} has not all data: it was being rebuilt, or recovered; what it held before is in its "
            "set-aside directory. Use another replica's directory"
        )
    with DataDir.open(path, cluster_id=found.cluster_id, node_id=found.node_id) as directory:
        state, term = _replayed(directory)
        state = _alone(state, found.node_id, path)
        header = header_of(
            state,
            term=state.term,
            voters=[found.node_id],
            cluster_id=found.cluster_id,
            index=state.index + NEW_LIFE_GAP,
        )
        directory.set_aside()
        start_from(directory, header, state, term=term)
        directory.recovered()
        (path / "addresses.json").unlink(missing_ok=True)
    return found


def start_from(directory: DataDir, header: Header, state: State, *, term: int) -> None:
    """Fill an empty directory: the snapshot, and a log that knows of `term`, so that no entry gets an
    older one than the snapshot's. Raises DiskFull, DiskFailed."""
    disk = RealDisk(directory.snapshot_path)
    try:
        save(disk, header, state)
    finally:
        disk.close()
    meta = directory.meta
    wal = Wal.open(RealDisk(directory.wal_path), cluster_id=meta.cluster_id, node_id=meta.node_id)
    try:
        wal.setCurrentTerm(max(term, header.term), None)
    finally:
        wal.close()


# --- inside -------------------------------------------------------------------------------------


def _snapshots(path: Path) -> Iterable[Snapshot]:
    if not path.is_dir():
        return
    disk = RealDisk(path)
    try:
        for name in snapshot_names(disk):
            yield load(disk, name)
    finally:
        disk.close()


def _drop_unreadable_meta(path: Path) -> None:
    """A damaged meta.json would keep the directory from being opened; its bytes are kept beside it."""
    try:
        read_meta(path)
    except Corrupt:
        _set_unowned_aside(path)  # first: interrupted, the next try finds the damage again
        os.replace(path / "meta.json", path / "meta.json.corrupt")
        sync_dir(path)


def _set_unowned_aside(path: Path) -> None:
    """DataDir.open refuses logs that it cannot tell the owner of."""
    for name in (_WAL, _SNAPSHOTS):
        if (path / name).is_dir() and any((path / name).iterdir()):
            _move_aside(path, name)


def _move_aside(path: Path, name: str) -> None:
    number = 1
    while (path / f"set-aside-unowned-{number}" / name).exists():
        number += 1
    aside = path / f"set-aside-unowned-{number}"
    aside.mkdir(mode=0o700, exist_ok=True)
    (path / name).rename(aside / name)
    sync_dir(aside)
    sync_dir(path)


def _replayed(directory: DataDir) -> tuple[State, int]:
    """The state after every entry of the log, and the term."""
    logs, snapshots = RealDisk(directory.wal_path), RealDisk(directory.snapshot_path)
    try:
        snapshot, found = load_latest(snapshots), recover(logs)
        machine = StateMachine(snapshot.state) if snapshot else StateMachine()
        index, term = (snapshot.header.index, snapshot.header.term) if snapshot else (0, 0)
        for position in range(_position_after(found.log, index, term), len(found.log)):
            payload, index, term = found.log.entry(position)
            if payload[:1] == REGULAR:
                machine.apply(index, term, payload[1:])
    finally:
        logs.close()
        snapshots.close()
    return machine.state.at(index, term), found.term


def _position_after(log: LogEntries, index: int, term: int) -> int:
    """Where the log goes on after the snapshot. Its end, when it contradicts the snapshot: then it is the stale log
    that the snapshot was to replace (see core_start.align), and what is in it above is not the cluster's."""
    at = index - log.first_index
    stale = 0 <= at < len(log) and log.term(at) != term
    return len(log) if stale else max(0, at + 1)


def _alone(state: State, node_id: str, path: Path) -> State:
    """With a roster of one, so that nobody of the old cluster is talked to, whatever a configuration says."""
    record = state.get(ROSTER)
    line = members.decode(record.value if record else None).get(node_id)
    address = line.address if line else _remembered(path).get(node_id, "")
    roster = {EVERYBODY_ELSE: Entry("", Wanted.REMOVED)}
    if address:
        roster[node_id] = Entry(address, Wanted.VOTER)
    created_ms = record.created_ms if record else state.log_time_ms
    kept = Record(ROSTER, members.encode(roster), state.index, created_ms, state.log_time_ms)
    return replace(state, records=state.records.put(kept))


def _remembered(path: Path) -> dict[str, str]:
    try:
        found: Any = json.loads((path / "addresses.json").read_text())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
