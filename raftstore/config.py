"""The times and sizes by which Raft runs. One place, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from raftstore.limits import KIB, MIB


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Times in seconds. The defaults fit a data centre; a WAN wants about ten times as much.

    election_timeout_min_s, election_timeout_max_s: a follower that heard no leader for a
        random time between the two asks for an election. The minimum is also how long a
        follower stays loyal to its leader, and the maximum how long a leader goes on without
        a quorum: not less, or a stalled event loop would cost an election.
    heartbeat_s: how often an idle leader speaks. At least three must fit into the minimum,
        so that one lost message costs no election.
    append_batch_bytes: how many bytes of entries travel in one message (a single larger
        entry travels alone).
    apply_batch, apply_batch_bytes: entries applied in one tick, by count and by size (one at least),
        so that a long backlog does not hold up the loop.
    read_timeout_s: how long a linearizable read may wait for a quorum to confirm the leader.
    """

    election_timeout_min_s: float = 0.3
    election_timeout_max_s: float = 0.6
    heartbeat_s: float = 0.05
    append_batch_bytes: int = 1 * MIB
    apply_batch: int = 1_000
    apply_batch_bytes: int = 256 * KIB
    read_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        _require(self.heartbeat_s > 0, "heartbeat_s", self.heartbeat_s, "must be above 0")
        _require(
            self.election_timeout_min_s >= 3 * self.heartbeat_s,
            "election_timeout_min_s",
            self.election_timeout_min_s,
            f"must be at least three heartbeats ({3 * self.heartbeat_s:g} s)",
        )
        _require(
            self.election_timeout_max_s >= 1.5 * self.election_timeout_min_s,
            "election_timeout_max_s",
            self.election_timeout_max_s,
            f"must be at least 1.5 times the minimum ({1.5 * self.election_timeout_min_s:g} s), "
            "or candidates collide",
        )
        _require(
            self.append_batch_bytes >= 4 * KIB, "append_batch_bytes", self.append_batch_bytes, "is too small"
        )
        for name in ("apply_batch", "apply_batch_bytes"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        _require(self.read_timeout_s > 0, "read_timeout_s", self.read_timeout_s, "must be above 0")


def _require(holds: bool, field: str, value: float, why: str) -> None:
    if not holds:
        raise ValueError(f"RaftConfig.{field} = {value:g}: {why}")
