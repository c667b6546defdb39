"""A replica's place in the cluster, as it sees it: what `status` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftstore.members import Wanted
from raftstore.port import Member, Status

if TYPE_CHECKING:
    from raftstore.replica import Replica


def status_of(replica: Replica, now: float) -> Status:
    """`now` in seconds of the loop's clock."""
    node = replica.node
    has_quorum = node.has_quorum(now)
    return Status(
        id=replica.id,
        cluster_id=replica.cluster_id,
        role=node.role,
        leader=node.leader if has_quorum else None,
        term=node.term,
        commit_index=node.commit_index,
        applied_index=node.applied_index,
        durable_index=replica.wal.durable_index,
        has_quorum=has_quorum,
        members=tuple(_member(replica, peer) for peer in sorted({*node.voters, *replica.admin.addresses})),
        read_only_reason=replica.disk.trouble,
    )


def _member(replica: Replica, peer: str) -> Member:
    node, me = replica.node, peer == replica.id
    connected = me or (replica.transport is not None and replica.transport.connected(peer))
    if me:
        role = node.role
    elif peer == node.leader:
        role = "leader"
    elif peer not in node.voters:
        role = "observer"
    else:
        role = "follower" if connected else "unknown"
    match = node.match_index(peer) if node.is_leader and not me else None
    line = replica.admin.membership.roster.get(peer)
    is_voter = peer in node.voters
    pending = (
        line is not None and line.wanted is not Wanted.OBSERVER and (line.wanted is Wanted.VOTER) != is_voter
    )
    wanted = str(line.wanted) if line is not None and pending else ""
    return Member(peer, replica.admin.addresses.get(peer, ""), role, connected, match, wanted)
