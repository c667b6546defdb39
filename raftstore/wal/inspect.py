"""Reading a log without opening it: what an operator runs on a stopped or sick replica.

Neither function takes the data directory's lock or changes a byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raftstore.errors import Corrupt
from raftstore.wal.disk import RealDisk
from raftstore.wal.format import Damage, Type, decode_header, decode_record, is_blank
from raftstore.wal.recovery import recover, segment_names


@dataclass(frozen=True, slots=True)
class Report:
    """What a log holds. `torn` is the part that opening it would cut; "" when it ends cleanly.

    term: the newest that the replica knows of; last_term: the last entry's, which may be older.
    """

    segments: int
    records: int
    first_index: int
    last_index: int
    term: int
    vote: str | None
    commit_index: int
    torn: str
    last_term: int


@dataclass(frozen=True, slots=True)
class Line:
    """One record of a dump. `fields` as in format.Type, an entry's command included."""

    segment: str
    offset: int
    kind: str
    fields: tuple[Any, ...]


def verify(path: Path | str) -> Report:
    """Check every record of the log in directory `path`. Raises Corrupt, OSError."""
    disk = RealDisk(path)
    try:
        state = recover(disk)
    finally:
        disk.close()
    log = state.log
    return Report(
        segments=len(state.segments),
        records=state.lsn,
        first_index=log.first_index,
        last_index=log.last_index,
        term=state.term,
        vote=state.vote,
        commit_index=state.commit,
        torn=state.torn,
        last_term=log.term(len(log) - 1) if len(log) else 0,
    )


def dump(path: Path | str) -> Iterator[Line]:
    """Every record as it lies on disk, up to the first damaged one. Raises Corrupt there."""
    disk = RealDisk(path)
    try:
        for name in segment_names(disk):
            yield from _dump_segment(name, disk.read(name))
    finally:
        disk.close()


def _dump_segment(name: str, data: bytes) -> Iterator[Line]:
    try:
        header, offset = decode_header(data, name)
        identity = (header.cluster_id, header.node_id, header.sequence, header.first_index)
        yield Line(name, 0, "header", identity)
        while offset < len(data) and not is_blank(data, offset):
            raw = decode_record(data, offset, header.seeds)
            yield Line(name, offset, Type(raw.kind).name.lower(), raw.fields())
            offset = raw.end
    except Damage as damage:
        raise Corrupt(f"{name} is damaged at {damage}") from damage
