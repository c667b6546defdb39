"""A replica's place in the cluster, as it sees it: what `status` answers, and why it cannot serve."""

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
        members=tuple(_member(replica, peer) for peer in _present(replica)),
        read_only_reason=replica.disk.trouble or replica.admin.membership.excluded,
    )


def _present(replica: Replica) -> list[str]:
    """All members, and this replica also when it is none any more."""
    known = (peer for peer in replica.admin.addresses if not replica.admin.membership.is_gone(peer))
    return sorted({*replica.node.voters, *known, replica.id})


def _member(replica: Replica, peer: str) -> Member:
    node, me = replica.node, peer == replica.id
    connected = me or replica.connected(peer)
    if me:
        role = "removed" if replica.admin.membership.excluded else node.role
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


def why_no_leader(replica: Replica) -> str:
    """Why nothing can be written or read linearizably through it, for whoever waited for it in vain."""
    node, me = replica.node, replica.id
    if replica.admin.membership.excluded:
        return replica.admin.membership.excluded
    reached = [peer for peer in node.voters if peer == me or replica.connected(peer)]
    if 2 * len(reached) <= len(node.voters):
        others = " or ".join(peer for peer in node.voters if peer not in reached)
        return (
            f"no quorum: of {', '.join(node.voters)} only {', '.join(reached) or 'none'} can be reached; "
            f"ask {others}, which may have one"
        )
    if node.is_leader:
        return f"no majority of {', '.join(node.voters)} has confirmed in time that {me} still leads"
    if node.leader is None:
        return f"no leader: {', '.join(reached)} of {', '.join(node.voters)} are electing one"
    if replica.connected(node.leader):
        return f"the leader {node.leader} did not answer in time"
    return f"the leader {node.leader} cannot be reached from {me}"
