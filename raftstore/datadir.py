"""The data directory of one replica: whose it is, and that only one process uses it.

    <data>/LOCK         flock, held while the process lives; names its pid
    <data>/meta.json    format, cluster id, node id
    <data>/wal/         the log's segments
    <data>/snapshots/   whole snapshots, and parts of one that is on its way here
    <data>/addresses.json   who is where, a cache (admin.py)
    <data>/set-aside-N/     what was here before a rebuild or a recovery (recover.py)

A log that is replayed by the wrong node votes twice; two processes that append to one
log destroy it. Both are checked before anything is read.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from raftstore.errors import Corrupt, DataDirInUse, WrongDataDir

FORMAT_VERSION = 1
_LOCK, _META, _WAL, _SNAPSHOTS = "LOCK", "meta.json", "wal", "snapshots"


@dataclass(frozen=True, slots=True)
class Meta:
    """Whose directory it is.

    recovering: its log was set aside and is being rebuilt from the peers. A replica that
    forgot its vote must not vote, nor count for a quorum, before it has caught up.
    """

    cluster_id: str
    node_id: str
    format: int = FORMAT_VERSION
    recovering: bool = False


class DataDir:
    """An open, locked data directory. Made by `DataDir.open`; close() releases the lock."""

    def __init__(self, path: Path, meta: Meta, lock: int) -> None:
        self.path = path
        self.meta = meta
        self.wal_path = path / _WAL
        self.snapshot_path = path / _SNAPSHOTS
        self._lock = lock

    @classmethod
    def open(cls, path: Path | str, *, cluster_id: str, node_id: str) -> DataDir:
        """Lock the directory, creating it when absent, and check that it is this node's.

        Raises DataDirInUse, WrongDataDir, Corrupt (unreadable meta.json), OSError.
        """
        path = Path(path)
        _make(path, 0o700)
        lock = _take_lock(path)
        try:
            meta = read_meta(path)
            if meta is None:
                _refuse_foreign_content(path)
                meta = Meta(cluster_id, node_id)
                _write_meta(path, meta)
            _check(path, meta, cluster_id, node_id)
            for name in (_WAL, _SNAPSHOTS):
                (path / name).mkdir(mode=0o700, exist_ok=True)
            sync_dir(path)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, meta, lock)

    def set_aside(self) -> Path | None:
        """Make room for a rebuild from the peers: move log and snapshots away, keeping them.

        Where they are now; None when there was nothing. Sets meta.recovering until recovered().
        """
        self.meta = replace(self.meta, recovering=True)
        _write_meta(self.path, self.meta)  # first: an interrupted rebuild must not vote either
        if not any(self.wal_path.iterdir()) and not any(self.snapshot_path.iterdir()):
            return None
        aside = next(p for p in _numbered(self.path / "set-aside") if not p.exists())
        aside.mkdir(mode=0o700)
        for source in (self.wal_path, self.snapshot_path):
            source.rename(aside / source.name)
            source.mkdir(mode=0o700)
        sync_dir(aside)
        sync_dir(self.path)
        return aside

    def recovered(self) -> None:
        """The replica has caught up with its peers and may vote again."""
        self.meta = replace(self.meta, recovering=False)
        _write_meta(self.path, self.meta)

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)  # releases the flock
            self._lock = -1

    def __enter__(self) -> DataDir:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_meta(path: Path | str) -> Meta | None:
    """Whose directory it is; None when it is nobody's yet. Takes no lock. Raises Corrupt, WrongDataDir."""
    file = Path(path) / _META
    try:
        data = json.loads(file.read_bytes())
        if data["format"] > FORMAT_VERSION:
            raise WrongDataDir(
                f"{path} has format {data['format']}, this release reads format {FORMAT_VERSION}: "
                "start the release that wrote it, or a newer one"
            )
        return Meta(str(data["cluster_id"]), str(data["node_id"]), data["format"], bool(data["recovering"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{file} is unreadable ({error!r}): restore it, or rebuild this replica") from error


def _make(path: Path, mode: int = 0o777) -> None:
    """With its parents, durably: what is synced in a directory is lost with the directory's name."""
    if path.is_dir():
        return
    _make(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    sync_dir(path.parent)


def _check(path: Path, meta: Meta, cluster_id: str, node_id: str) -> None:
    for what, found, wanted in (
        ("cluster", meta.cluster_id, cluster_id),
        ("node", meta.node_id, node_id),
    ):
        if found != wanted:
            raise WrongDataDir(
                f"{path} belongs to {what} {found!r}, but this replica is configured as {wanted!r}: "
                f"point it to its own directory, or set its {what} id to {found!r}"
            )


def _refuse_foreign_content(path: Path) -> None:
    held = [p.name for p in path.iterdir() if p.name in (_WAL, _SNAPSHOTS) and any(p.iterdir())]
    if held:
        raise Corrupt(f"{path} holds {' and '.join(sorted(held))} but no {_META}: restore that file")


def _take_lock(path: Path) -> int:
    fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
            raise
        raise DataDirInUse(
            f"{path} is in use by process {pid}: stop that process, or give this replica its own directory"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _write_meta(path: Path, meta: Meta) -> None:
    temporary = path / (_META + ".tmp")
    with temporary.open("w") as file:
        json.dump(asdict(meta), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path / _META)
    sync_dir(path)


def sync_dir(path: Path) -> None:
    """Return once creations, renames and removals in a directory are on the platter."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _numbered(path: Path) -> Iterator[Path]:
    number = 1
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1
