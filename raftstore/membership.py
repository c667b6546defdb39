"""The shell of members.py: the roster as this replica has applied it, changed and carried out.

Any replica takes an operator's command: it is a transaction on the roster, guarded by the
version that was looked at. Whoever leads looks at the roster every TICK_S, takes the next
step, and waits for its outcome before it looks again. All replicas derive from it whom
they talk to and, should they lead, whom they replicate to without a vote.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from raftstore import members
from raftstore.errors import Unavailable
from raftstore.members import ROSTER, Refused, Roster, Step, Wanted
from raftstore.settings import BadConfig, parse_address
from raftstore.types import Absent, Put, Txn, VersionIs

if TYPE_CHECKING:
    from raftstore.replica import Replica

log = logging.getLogger(__name__)

TICK_S = 0.05
# An observer this close behind is sent the rest faster than the cluster notices its vote.
CAUGHT_UP_ENTRIES = 100
# How long a command waits for what it started. Longer is not its failure: it goes on by itself.
WAIT_S = 8.0
# For so long the leader goes on talking to a replica that is removed, which thus learns of it.
PARTING_S = 1.0
_ATTEMPTS = 5
OUTDATED = "{} is removed from the cluster, and what it holds is out of date: stop it"


class Membership:
    """One replica's. `roster` and `pending` are as of what this replica has applied."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._version = -1
        self._roster: Roster = {}
        self._ticked_at = float("-inf")
        self._stepping: asyncio.Task[None] | None = None
        self._seen: tuple[object, ...] = ()
        self._gone_since: dict[str, float] = {}
        self.parting: tuple[str, ...] = ()  # gone, and still talked to
        # Why this replica belongs to the cluster no more, or "". One that is down when it is removed never
        # learns it.
        self.excluded = ""

    @property
    def roster(self) -> Roster:
        record = self._replica.machine.state.get(ROSTER)
        version = record.version if record else 0
        if version != self._version:
            self._roster = members.decode(record.value if record else None)
            self._version = version
        return self._roster

    def pending(self) -> str:
        """The change that is under way, or ""."""
        return members.unfinished(self.roster, self._voters())

    def is_gone(self, node_id: str) -> bool:
        return members.is_gone(self.roster, self._replica.node.voters, node_id)

    # --- what operators ask -----------------------------------------------------------------

    async def add(
        self,
        node_id: str,
        address: str,
        *,
        voter: bool,
        replaces: str = "",
        others: Txn = Txn(()),
        wait: bool = True,
    ) -> str:
        """Register `node_id` at "host:port"; a voter once it has caught up, else an observer.

        replaces: a member that will not come back and is removed by the same transaction; it makes a voter.
        others: what else the same transaction shall guard and write. Returns what is still under
        way after WAIT_S (without `wait`, at once), or "". Raises Refused, Unavailable, UnknownOutcome.
        """
        check_address(address)
        wanted = Wanted.VOTER if voter else Wanted.OBSERVER

        def change(roster: Roster, voters: tuple[str, ...]) -> Roster:
            if replaces:
                return members.replaced(roster, voters, replaces, node_id, address)
            return members.added(roster, voters, node_id, address, wanted)

        return await self._change(change, others, wait)

    async def promote(self, node_id: str) -> str:
        """Let an observer vote once it has caught up. Returns and raises as add."""
        return await self._change(lambda roster, voters: members.promoted(roster, voters, node_id))

    async def remove(self, node_id: str) -> str:
        """Let `node_id` belong no more; a leader hands over first. Returns and raises as add."""
        address = self._replica.admin.addresses.get(node_id, "")

        def change(roster: Roster, voters: tuple[str, ...]) -> Roster:
            changed = members.removed(roster, voters, node_id, address)
            present = [voter for voter in voters if voter == self._replica.id or self._connected(voter)]
            if node_id in voters and not members.is_spared(voters, node_id, present):
                left = ", ".join(voter for voter in voters if voter != node_id)
                raise Refused(
                    f"without {node_id} there would be no quorum: too few of {left} can be reached from "
                    f"{self._replica.id}; bring them back, or remove or replace those that are gone first"
                )
            return changed

        return await self._change(change)

    async def _change(
        self, make: Callable[[Roster, tuple[str, ...]], Roster], others: Txn = Txn(()), wait: bool = True
    ) -> str:
        replica = self._replica
        for _ in range(_ATTEMPTS):
            await replica.read_index()  # decide by what is, not by what this replica has heard of so far
            roster, version = self.roster, self._version
            guard = VersionIs(ROSTER, version) if version else Absent(ROSTER)
            put = Put(ROSTER, members.encode(make(roster, self._voters())))
            txn = replace(
                others, guards=(guard, *others.guards), writes=(put, *others.writes), cause="membership"
            )
            outcome = await replica.submit(txn)
            if outcome.applied:
                return await self._wait() if wait else self._explained(self.pending())
            if outcome.failed_guard:
                raise Refused("the join token was used or withdrawn in this very moment: ask for another")
        raise Unavailable("other changes of the membership came in between, again and again: try again")

    async def _wait(self) -> str:
        """Until nothing is under way any more, or WAIT_S have passed: then what is."""
        try:
            async with asyncio.timeout(WAIT_S):
                while self.pending():
                    await asyncio.sleep(TICK_S)
        except TimeoutError:
            pass  # not a failure: the leader goes on with it
        return self._explained(self.pending())

    def _explained(self, pending: str) -> str:
        for node_id, line in self.roster.items():
            if pending and line.wanted is Wanted.VOTER and node_id not in self._voters():
                connected = self._connected(node_id)
                why = (
                    "it is catching up"
                    if connected
                    else f"no replica listens as {node_id} at {line.address} yet"
                )
                return f"{pending}: {why}"
        return pending

    # --- life ---------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Follow the roster, and as leader carry it out."""
        if now - self._ticked_at < TICK_S:
            return
        self._ticked_at = now
        replica = self._replica
        roster = self.roster
        self.parting = self._parting(now)
        self.excluded = OUTDATED.format(replica.id) if self.is_gone(replica.id) else ""
        seen = (self._version, replica.node.voters, len(replica.admin.addresses), self.parting)
        if seen != self._seen:
            self._seen = seen
            replica.admin.follow(roster)
        if replica.node.is_leader and self._stepping is None:
            step = members.next_step(roster, replica.node.voters, replica.id, self._caught_up())
            if step is not None:
                self._stepping = asyncio.get_running_loop().create_task(self._take(step))
                self._stepping.add_done_callback(self._taken)

    async def close(self) -> None:
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.wait([self._stepping])

    async def _take(self, step: Step) -> None:
        """One step; what does not succeed is found undone at the next look, here or at the next leader."""
        admin = self._replica.admin
        if step.op == "transfer":
            why = await admin.hand_over(step.node_id)
        else:
            why = await admin.change(step.op, step.node_id)
        if why:
            log.info("%s %s: %s", step.op, step.node_id, why)
            await asyncio.sleep(TICK_S)
        else:
            log.info("%s %s is done", step.op, step.node_id)

    def _taken(self, task: asyncio.Task[None]) -> None:
        self._stepping = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._replica.fail(error)

    def _parting(self, now: float) -> tuple[str, ...]:
        replica = self._replica
        others = replica.admin.addresses.keys() - {replica.id} if replica.node.is_leader else ()
        gone = [node_id for node_id in others if self.is_gone(node_id)]
        self._gone_since = {node_id: self._gone_since.get(node_id, now) for node_id in gone}
        return tuple(sorted(n for n, since in self._gone_since.items() if now - since < PARTING_S))

    def _caught_up(self) -> dict[str, int]:
        node = self._replica.node
        ends = {
            peer: node.match_index(peer) for peer in self._replica.admin.addresses if self._connected(peer)
        }
        return {
            peer: end for peer, end in ends.items() if end + CAUGHT_UP_ENTRIES >= node.last_index > 0 < end
        }

    def _voters(self) -> tuple[str, ...]:
        """Of what is applied, hence committed: a change that is only in the log may yet be undone."""
        node = self._replica.node
        return node.voters_at(node.applied_index)

    def _connected(self, peer: str) -> bool:
        transport = self._replica.transport
        return transport is not None and transport.connected(peer)


def check_address(address: str) -> None:
    """Raises Refused unless it is HOST:PORT with a port that can be dialled."""
    try:
        host, port = parse_address("address", address)
    except BadConfig as error:
        raise Refused(str(error)) from error
    if not host or not port or is_anywhere(address):
        raise Refused(f"address: {address!r} is not HOST:PORT of a replica that others can reach")


def is_anywhere(address: str | None) -> bool:
    """Whether it says nothing of where a replica is, as "0.0.0.0:5683" does not, which it listens on."""
    return address is None or address.startswith(("0.0.0.0:", "[::]:", ":"))
