"""What must hold after every step, each with its own name and error.

The first five are Raft's own (Ongaro and Ousterhout 2014, figure 3); the rest are the
store's promises (docs/guarantees.md). A checker sees everything at once, which no node
can: it remembers every entry ever written, every vote, every commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chaos.linearizability import Linearizable, check
from chaos.sim.truth import Truth
from raftstore.core import LEADER
from raftstore.errors import StoreError
from raftstore.machine import Applied
from raftstore.node import SnapshotMeta

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster
    from chaos.sim.host import Host


class Violation(AssertionError):
    """A promise is broken. The class is its name."""


class TwoLeaders(Violation):
    """Election safety: at most one leader per term."""


class TwoVotes(Violation):
    """A node votes at most once per term, restarts included."""


class LogMismatch(Violation):
    """Log matching: equal index and term mean equal entry and equal predecessor."""


class CommittedEntryMissing(Violation):
    """Leader completeness: a new leader has every committed entry."""


class CommitChanged(Violation):
    """State machine safety: one index, one entry, on all nodes and for ever."""


class AppliedTwice(Violation):
    """A node applies each index once, in order."""


class AcknowledgedWriteLost(Violation):
    """Durable: an acknowledged write is there after any faults."""


class NotExactlyOnce(Violation):
    """ExactlyOnce: one request id has one effect."""


class StaleRead(Violation):
    """Linearizable: a read sees every write that was acknowledged before it began."""


class NotFenced(Violation):
    """Fenced: who cannot reach a quorum does not lead for longer than an election timeout."""


class NotConverged(Violation):
    """Convergent: after the faults are over, all agree and the next write succeeds."""


class FeedBroken(Violation):
    """Ordered, Unique, Atomic, Reliable, Bookmarkable: a watch is the log, whole and in order."""


class NotLinearizable(Violation):
    """Linearizable: no order of all operations on a register explains what the clients saw."""


class NotDurable(Violation):
    """Durable: what counts as committed is on the disks of a majority at that moment."""


class WentBack(Violation):
    """Commit and applied index of a process only rise."""


class Disrupted(Violation):
    """One node with bad links does not cost the others their leader."""


class RotNotFound(Violation):
    """A replica does not start on a log that is not what it wrote."""


class TornWriteRefused(Violation):
    """A write that a crash has torn is cut off at the next start, and not taken for rot."""


class NodeCrashed(Violation):
    """No message, fault or schedule makes a node raise."""


# The clock moves in steps of 0.01 s, and comparisons with it are sharp.
STEP_SLACK_S = 0.03


@contextmanager
def crashes_are_violations() -> Iterator[None]:
    """What a node raises, other than a Violation of the checkers, is one too."""
    try:
        yield
    except (StoreError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise NodeCrashed(f"{type(error).__name__}: {error}") from error


class Checker:
    """Told of events as they happen; look() after each step; final() at the end."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._leaders: dict[int, str] = {}
        self._votes: dict[tuple[str, int], str] = {}
        self._entries: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._committed: dict[int, int] = {}  # index -> term
        self._committed_in: dict[int, int] = {}  # index -> the term of who had it committed first
        self._commit_seen: dict[str, int] = {}
        self._applied_index: dict[str, int] = {}
        self._effects: dict[str, int] = {}
        self._durable_seen: dict[str, int] = {}
        self._digests: dict[int, tuple[str, str]] = {}  # index -> (node, digest)
        self._reached_at: dict[tuple[str, str], float] = {}  # (leader, voter)
        self.truth = Truth()

    # --- told by the hosts ---------------------------------------------------------------

    def entry_written(self, index: int, term: int, term_before: int, payload: bytes) -> None:
        known = self._entries.setdefault((index, term), (term_before, payload))
        # A log that starts at a snapshot writes a placeholder without a predecessor.
        if term_before >= 0 and known[0] >= 0 and known != (term_before, payload):
            raise LogMismatch(f"entry {index} of term {term} was written with two contents")

    def voted(self, node: str, term: int, vote: str) -> None:
        before = self._votes.setdefault((node, term), vote)
        if before != vote:
            raise TwoVotes(f"{node} voted for {before} and for {vote} in term {term}")

    def promised(self, node: str, term: int, leader: str) -> None:
        """A replica that lost its disk gives its vote to who leads already, and so elects nobody: it may have
        voted for another before, whom that has not helped."""
        if self._leaders.get(term) != leader:
            raise TwoVotes(f"{node} gives its vote of term {term} to {leader}, who does not lead it")
        self._votes[node, term] = leader

    def restarted(self, node: str, applied_index: int) -> None:
        self._applied_index[node] = applied_index
        self._commit_seen[node] = self._durable_seen[node] = 0

    def snapshot_installed(self, node: str, meta: SnapshotMeta) -> None:
        self._applied_index[node] = meta.index
        self._commit(node, meta.index, meta.term)

    def applied(self, node: str, index: int, term: int, applied: Applied, digest: str = "") -> None:
        """digest: of the state that it made; "": unknown."""
        if index <= self._applied_index.get(node, 0):
            raise AppliedTwice(f"{node} applied {index} after {self._applied_index[node]}")
        self._applied_index[node] = index
        self._commit(node, index, term)
        for event in applied.events:
            first = self._effects.setdefault(event.request_id, index)
            if first != index:
                raise NotExactlyOnce(f"{event.request_id} took effect at {first} and, on {node}, at {index}")
        if not self.truth.add(index, applied.events):
            raise CommitChanged(f"{node} made other events of entry {index} than the first that applied it")
        other, known = self._digests.setdefault(index, (node, digest))
        if known != digest:
            raise NotConverged(f"{other} and {node} differ at index {index}: {known} and {digest}")

    # --- after each step -----------------------------------------------------------------

    def look(self) -> None:
        for host in self._cluster.running():
            self._look_at_commits(host)
            self._look_at_leader(host)

    def _look_at_commits(self, host: Host) -> None:
        node = host.node
        start = max(self._commit_seen.get(host.id, 0) + 1, host.wal.first_index)
        for index in range(start, node.commit_index + 1):
            term = node.term_at(index)
            if term is not None:
                self._commit(host.id, index, term)
        if node.commit_index < self._commit_seen.get(host.id, 0):
            raise WentBack(f"{host.id} commits up to {node.commit_index} after {self._commit_seen[host.id]}")
        self._commit_seen[host.id] = node.commit_index

    def _commit(self, node: str, index: int, term: int) -> None:
        self._committed_in.setdefault(index, self._cluster.hosts[node].node.term)
        known = self._committed.setdefault(index, term)
        if known != term:
            raise CommitChanged(f"{node} has entry {index} of term {term} committed; it was of term {known}")

    def _look_at_leader(self, host: Host) -> None:
        node = host.node
        if node.role != LEADER:
            self._durable_seen[host.id] = node.commit_index
            for pair in [pair for pair in self._reached_at if pair[0] == host.id]:
                del self._reached_at[pair]
            return
        first = node.term not in self._leaders
        leader = self._leaders.setdefault(node.term, host.id)
        if leader != host.id:
            raise TwoLeaders(f"{leader} and {host.id} both lead term {node.term}")
        if first:
            self._look_for_committed(host)
        self._look_at_fence(host)
        self._look_at_disks(host)

    def _look_for_committed(self, host: Host) -> None:
        """Of earlier terms: a vote that was long under way may make a leader of a term that is over."""
        for index, term in self._committed.items():
            earlier = self._committed_in[index] < host.node.term
            if earlier and index >= host.wal.first_index and host.node.term_at(index) != term:
                raise CommittedEntryMissing(
                    f"{host.id}, new leader of term {host.node.term}, lacks committed entry {index} of term {term}"
                )

    def _look_at_fence(self, host: Host) -> None:
        """Which voters could a leader exchange messages with during the last election timeout?

        However late what they said arrives, only they may keep it in office. A new leader
        and a new voter are given that time.
        """
        now, limit = self._cluster.now, host.config.election_timeout_max_s + STEP_SLACK_S
        reached = {host.id}
        # Who was removed and comes back is new, too.
        for pair in [p for p in self._reached_at if p[0] == host.id and p[1] not in host.node.voters]:
            del self._reached_at[pair]
        for voter in host.node.voters:
            at = self._reached_at.setdefault((host.id, voter), now)
            if self._cluster.reaches(host.id, voter):
                at = self._reached_at[host.id, voter] = now
            if now - at <= limit:
                reached.add(voter)
        if 2 * len(reached) <= len(host.node.voters):
            raise NotFenced(
                f"{host.id} leads term {host.node.term} and reached only {sorted(reached)} of late"
            )

    def _look_at_disks(self, host: Host) -> None:
        """What a leader commits must be there after a power cut of everybody, now."""
        index = host.node.commit_index
        if index <= self._durable_seen.get(host.id, 0):
            return
        self._durable_seen[host.id] = index
        if any(each.recovering for each in self._cluster.hosts.values()):
            return  # what a lost disk had acknowledged counts, until its replica is readmitted
        term = host.node.term_at(index)
        held = {each.id for each in self._cluster.hosts.values() if each.holds_durably(index, term)}
        # The membership may have changed right after the commit, in the same step.
        for voters in (host.node.voters, host.node.voters_at(index)):
            if 2 * len(held.intersection(voters)) > len(voters):
                return
        raise NotDurable(f"{host.id} commits {index}, which is on the disks of {sorted(held)} alone")

    # --- at the end ----------------------------------------------------------------------

    def final(self) -> None:
        """After heal and quiet: all equal, nothing acknowledged is lost, everything seen has an order."""
        leader = self._cluster.hosts[self._cluster.leaders()[0]]
        for write, index in self._cluster.history.acknowledged.items():
            found = leader.machine.version(write)
            if found != index:
                raise AcknowledgedWriteLost(f"{write} was acknowledged at {index}; now it is at {found}")
        for each in self._cluster.replicated(leader.id):
            if self._cluster.hosts[each].machine.state.digest() != leader.machine.state.digest():
                raise NotConverged(f"{each} and {leader.id} differ at index {leader.node.applied_index}")
        try:
            check(self._cluster.history.operations)
        except Linearizable as found:
            raise NotLinearizable(str(found)) from found
