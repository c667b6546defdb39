"""Who belongs to the cluster: what operators want, kept in the log, and the next step towards it.

One record of the log, `ROSTER`, says of each replica where it is and what it shall be:

    observer   gets the log, serves reads and proxies, has no vote
    voter      votes as soon as it has caught up
    removed    has no vote and no connection

An operator's command changes this record and nothing else, with a guard on its version, so
two operators cannot undo each other. The leader compares it with the voters that Raft knows and takes one
step at a time (`next_step`): each a single-server change, which is safe by itself. Whoever
leads after a crash looks at the same record and goes on, so there is no half-done
change to repair: every interrupted prefix of a change is a state to go on from. (The idea is
Patroni's quorum.py: a pure function from what is to the next safe step.)

A replica of the first start stands in no record until somebody changes it: it is what Raft
says it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from raftstore.certs import BadCertificate, check_node_id
from raftstore.entries import VOTERS_MAX
from raftstore.errors import Corrupt, StoreError
from raftstore.types import Key

# Records of this kind are the store's own: they are replicated, and no feed shows them.
OWN_KIND = "raftstore"
ROSTER = Key(OWN_KIND, "", "members")
# In a roster's keys (it is no node id): who is not named, however well a configuration knows him.
EVERYBODY_ELSE = "*"
# 9 voters and the observers of a large installation; every replica links to every other.
MEMBERS_MAX = 64


class Refused(StoreError):
    """The cluster will not do that; the message says why."""

    status = 409


class Wanted(StrEnum):
    OBSERVER = "observer"
    VOTER = "voter"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One replica's line of the roster. address: "host:port" of its raft port."""

    address: str
    wanted: Wanted


Roster = Mapping[str, Entry]


def decode(value: bytes | None) -> dict[str, Entry]:
    """The roster of a record's value; None: there is no record yet. Raises Corrupt."""
    if value is None:
        return {}
    try:
        found: Any = json.loads(value)
        return {
            node_id: Entry(str(line["address"]), Wanted(line["wanted"])) for node_id, line in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"the list of members in the log is unreadable ({error!r})") from error


def encode(roster: Roster) -> bytes:
    lines = {
        node_id: {"address": entry.address, "wanted": str(entry.wanted)} for node_id, entry in roster.items()
    }
    return json.dumps(lines, sort_keys=True).encode()


# --- what operators ask ---------------------------------------------------------------------


def added(roster: Roster, voters: Collection[str], node_id: str, address: str, wanted: Wanted) -> Roster:
    """With a replica more, or a known one at another address. Raises Refused."""
    try:
        check_node_id(node_id)
    except BadCertificate as error:
        raise Refused(str(error)) from error
    _refuse_two_at_a_time(roster, voters, node_id)
    if wanted is Wanted.OBSERVER and node_id in voters:
        raise Refused(f"{node_id} is a voter; an observer is made of it by removing and adding it")
    taken = [other for other, line in _present(roster).items() if line.address == address]
    if taken and taken != [node_id]:
        raise Refused(f"{address} is the address of {taken[0]}; remove that one first")
    if wanted is Wanted.VOTER and node_id not in voters and len(voters) >= VOTERS_MAX:
        raise Refused(f"there are {len(voters)} voters already, and at most {VOTERS_MAX} may vote")
    changed = {**_without_old_tombstones(roster, node_id), node_id: Entry(address, wanted)}
    if len(changed) > MEMBERS_MAX:
        raise Refused(f"a cluster has at most {MEMBERS_MAX} replicas")
    return changed


def promoted(roster: Roster, voters: Collection[str], node_id: str) -> Roster:
    """With an observer that shall vote once it has caught up. Raises Refused."""
    line = roster.get(node_id)
    if node_id in voters:
        raise Refused(f"{node_id} is a voter already")
    if line is None or line.wanted is Wanted.REMOVED:
        known = ", ".join(sorted(other for other in _present(roster) if other not in voters))
        raise Refused(f"{node_id} is not an observer of this cluster; observers: {known or 'none'}")
    return added(roster, voters, node_id, line.address, Wanted.VOTER)


def removed(roster: Roster, voters: Collection[str], node_id: str, address: str) -> Roster:
    """Without a replica. Raises Refused when it is none, or the last that votes."""
    _refuse_two_at_a_time(roster, voters, node_id)
    if node_id not in voters and node_id not in _present(roster):
        raise Refused(f"{node_id} is not a member of this cluster")
    if set(voters) == {node_id}:
        raise Refused(f"{node_id} is the only voter: a cluster without voters is none")
    return {**roster, node_id: Entry(address, Wanted.REMOVED)}


def replaced(roster: Roster, voters: Collection[str], old: str, node_id: str, address: str) -> Roster:
    """With a new voter in the place of one that will not come back. Raises Refused."""
    if node_id == old:
        raise Refused(
            f"{old} cannot be replaced by a replica of the same name: choose another raft.nodeId, or bring "
            f"{old} itself back with `raftmesh cp run --recover-from-peers`"
        )
    left = [voter for voter in voters if voter != old]
    line = roster.get(old)
    gone = removed(roster, voters, old, line.address if line else "")
    return {**gone, node_id: added(gone, left, node_id, address, Wanted.VOTER)[node_id]}


def unfinished(roster: Roster, voters: Collection[str]) -> str:
    """What is still under way, for people; "" when the voters are what is wanted."""
    for node_id, line in sorted(roster.items()):
        if line.wanted is Wanted.VOTER and node_id not in voters:
            return f"{node_id} is still to become a voter"
        if line.wanted is Wanted.REMOVED and node_id in voters:
            return f"{node_id} is still to be removed"
    return ""


def _refuse_two_at_a_time(roster: Roster, voters: Collection[str], node_id: str) -> None:
    others = {other: line for other, line in roster.items() if other != node_id}
    if why := unfinished(others, voters):
        raise Refused(f"one change at a time: {why}; wait for it, or remove that replica")


def _present(roster: Roster) -> dict[str, Entry]:
    return {node_id: line for node_id, line in roster.items() if line.wanted is not Wanted.REMOVED}


def _without_old_tombstones(roster: Roster, node_id: str) -> dict[str, Entry]:
    """At the limit, the marks of replicas that are gone make room."""
    if len({*roster, node_id}) <= MEMBERS_MAX:
        return dict(roster)
    return {who: line for who, line in roster.items() if who == EVERYBODY_ELSE or who in _present(roster)}


def is_gone(roster: Roster, voters: Collection[str], node_id: str) -> bool:
    """Removed, and without a vote any more: nobody need talk to it."""
    line = roster.get(node_id) or roster.get(EVERYBODY_ELSE)
    return line is not None and line.wanted is Wanted.REMOVED and node_id not in voters


# --- what the leader does -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """op: "add", "remove" (a voter) or "transfer" (leadership, to `node_id`)."""

    op: str
    node_id: str


def next_step(
    roster: Roster, voters: Collection[str], leader: str, caught_up: Mapping[str, int]
) -> Step | None:
    """The next single change that brings the voters closer to the roster, or None.

    leader: who asks, and leads. caught_up: replica -> how far its log is, of those that are
    connected and about as far as the leader; who is not in it is neither added nor handed the leadership.
    A voter is removed only while most of those that stay are there: its removal takes their majority,
    and without that there would be no leader any more to take it back.
    """
    for node_id, line in sorted(roster.items()):
        if line.wanted is Wanted.REMOVED and node_id in voters:
            if node_id == leader:
                heirs = [peer for peer in sorted(voters) if peer in caught_up and _stays(roster, peer)]
                return Step("transfer", max(heirs, key=lambda peer: caught_up[peer])) if heirs else None
            if is_spared(voters, node_id, {leader, *caught_up}):
                return Step("remove", node_id)
    for node_id, line in sorted(roster.items()):
        if line.wanted is Wanted.VOTER and node_id not in voters and node_id in caught_up:
            return Step("add", node_id)
    return None


def is_spared(voters: Collection[str], node_id: str, present: Collection[str]) -> bool:
    """Whether the voters would have a majority without `node_id`, too. present: who is in reach."""
    left = [voter for voter in voters if voter != node_id]
    return 2 * len([voter for voter in left if voter in present]) > len(left)


def _stays(roster: Roster, node_id: str) -> bool:
    line = roster.get(node_id)
    return line is None or line.wanted is not Wanted.REMOVED
