"""One running replica: the sans-io parts, driven by the loop.

    frames from peers ─┐                        ┌─> frames to peers
    submit, reads     ─┼─> kick ─> one turn ────┼─> write + fdatasync (thread)
    fsync done        ─┤                        ├─> answers to submitters
    timer, each 10 ms ─┘                        └─> feed

Whatever happens only notes what is to do and *kicks*: one turn is then due at the next
pass of the loop, and takes care of all that has gathered by then. A turn sends what is
to be forwarded, proposes what waits, ticks the node, sends its messages and starts the
next write. So many small things that arrive together cost one entry, one TLS record
and one fdatasync.

An error that is none of the known ones ends the replica (`failed`): a process that starts
again from its disk is in a known state, one that goes on after the unexpected is not.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from raftstore import collector, forward, limits
from raftstore.admin import Admin
from raftstore.codec import check_txn
from raftstore.compaction import Compactor
from raftstore.errors import StoreError, Unavailable, UnknownOutcome
from raftstore.feed import Feed
from raftstore.forward import Answer, Forwarder, Intake, OnOutcome, Request
from raftstore.frames import FrameError, Value
from raftstore.group_commit import GroupCommit
from raftstore.machine import Applied
from raftstore.node import Node
from raftstore.opening import Opened, open_replica
from raftstore.outbound import Outbound
from raftstore.port import Status
from raftstore.rejoin import Rejoin
from raftstore.settings import StoreConfig
from raftstore.snapshot_transfer import Transfers
from raftstore.state import State
from raftstore.status import status_of, why_no_leader
from raftstore.transport import Transport
from raftstore.types import FeedItem, Outcome, Txn
from raftstore.waits import Answers, AppliedWaits

log = logging.getLogger(__name__)

TIMER_S = 0.01
UPKEEP_S = 0.05  # what is counted in seconds is not looked at with every tick
READ_RETRY_S = 0.02
STALL_S = 0.08
FEW_TXNS = 8
OnIndex = Callable[[int | StoreError], None]


class Replica:
    """A member of the cluster; implements raftstore.port.Store. Made by `Replica.start`."""

    @classmethod
    async def start(cls, config: StoreConfig) -> Replica:
        """Open the data, listen, and take part. Returns without waiting for a leader.

        Raises BadCertificate, AddressInUse, DataDirInUse, WrongDataDir, Corrupt, DiskFull.
        """
        opened = await open_replica(config)
        try:
            replica = cls(config, opened)
            if replica.transport is not None:
                await replica.transport.start()
                replica.admin.start()
        except BaseException:
            await opened.close()
            raise
        if replica.node.voters == (replica.id,):
            replica.node.election_deadline = (
                0.0  # nobody else could be elected, so there is nothing to wait for
            )
        replica._on_timer()
        return replica

    def __init__(self, config: StoreConfig, opened: Opened) -> None:
        self.config = config
        self.id = config.node_id
        self.cluster_id = opened.cluster_id
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opened = opened
        self.machine = opened.machine
        self._loop = asyncio.get_running_loop()
        self._turn_due = self._work = self._advance_due = self._closing = self._closed = False
        self._turned_at = self._loop.time()
        self._upkeep_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.feed_log = Feed(opened.machine.state)
        self.wal = opened.wal
        self.disk = GroupCommit(opened.wal, on_durable=self._durable, on_failed=self.fail)
        self.raft = config.raft()
        self._patience_s = STALL_S
        self.node = self._make_node(opened)
        self.transport: Transport | None = None
        if opened.tls is not None:
            self.transport = Transport(opened.tls, opened.listen, self)
            self._outbound = Outbound(self.transport, self.raft.heartbeat_s / 2, self._loop.time)
        now = self._loop.time()
        self._forwarder = Forwarder(4 * self.raft.election_timeout_max_s, now)
        self._waits = AppliedWaits()
        self._reads: Answers[int | StoreError] = Answers()
        self._waits.applied(opened.machine.state.index)
        self._intake = Intake(
            propose=self.node.propose, answer=self._answer, time_ms=wall_ms, refusal=self._refusal
        )
        self.admin = Admin(self)
        self.compactor = Compactor(self, opened.snapshot.index if opened.snapshot else 0)
        self.transfers = Transfers(self)
        self.rejoin = Rejoin(self)

    def _make_node(self, opened: Opened) -> Node:
        first_voters = self.config.first_voters()
        if opened.directory.meta.recovering:
            first_voters = [voter for voter in first_voters if voter != self.id]
        node = Node(
            self.id,
            first_voters,
            journal=opened.wal,
            machine=self,
            config=self.raft,
            clock=self._loop.time,
            rng=random.Random(),
            snapshot=opened.snapshot,
        )
        node.on_applied = self._applied
        node.on_role = self._role_changed
        node.on_snapshot_needed = lambda peer: self.transfers.needed(peer)
        return node

    # --- Store ----------------------------------------------------------------------------

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        """See raftstore.port.Store."""
        done: asyncio.Future[Outcome] = self._loop.create_future()
        data = check_txn(self.admin.named(txn))
        self.submit_encoded(data, timeout_s, lambda result: _resolve(done, result))
        return await done

    def submit_encoded(self, txn: bytes, timeout_s: float, on_done: OnOutcome) -> None:
        """As submit, for a transaction that went through check_txn and carries a request id."""
        if self._closing:
            raise Unavailable("this replica has ended")
        now = self._loop.time()
        deadline = now + timeout_s
        self._forwarder.submit(txn, deadline, now, lambda r: self._decided(r, deadline, on_done))
        self.kick()

    def _decided(self, result: Outcome | StoreError, deadline: float, on_done: OnOutcome) -> None:
        """An outcome is told when this replica has applied it, so that the writer reads its write."""
        if isinstance(result, StoreError):
            on_done(result)
            return
        late = f"the write is committed at index {result.index}, which this replica has not applied yet"
        self._waits.add(
            result.index, deadline, lambda applied: on_done(result if applied else UnknownOutcome(late))
        )

    async def read_index(self, *, timeout_s: float = 5.0) -> int:
        """See raftstore.port.Store."""
        done: asyncio.Future[int] = self._loop.create_future()
        self.read_index_nowait(timeout_s, lambda result: _resolve(done, result))
        return await done

    def read_index_nowait(self, timeout_s: float, on_done: OnIndex) -> None:
        """As read_index; on_done gets the index once it is applied here, or an Unavailable."""
        if self._closing:
            on_done(Unavailable("this replica has ended"))
            return
        deadline = self._loop.time() + timeout_s
        self._ask_index(self._reads.add(deadline, on_done), deadline)

    def _ask_index(self, number: int, deadline: float) -> None:
        """Two methods, not closures that name each other: those would be left to the collector."""
        if number in self._reads:
            self.node.read_index(partial(self._confirmed, number, deadline))
            self.kick()

    def _confirmed(self, number: int, deadline: float, index: int | None) -> None:
        if index is None:
            self._loop.call_later(READ_RETRY_S, self._ask_index, number, deadline)
            return
        late = Unavailable(f"index {index} comes late")
        self._waits.add(index, deadline, lambda ok: self._reads.answer(number, index if ok else late))

    async def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        """See raftstore.port.Store."""
        async for item in self.feed_log.subscribe(after):
            yield item

    async def status(self) -> Status:
        """See raftstore.port.Store."""
        return status_of(self, self._loop.time())

    async def close(self) -> None:
        """Stop taking part. What is acknowledged is on disk already."""
        if self._closed:
            return
        self._closed = True
        self._end()
        await self.transfers.close()
        await self.compactor.close()
        await self.admin.close()
        if self.transport is not None:
            await self.transport.close()
        self.feed_log.close()
        try:
            await self.disk.close()
        except StoreError as error:
            log.error("closing the log: %s", error)
        await self.opened.close()

    # --- the transport's owner --------------------------------------------------------------

    def peer_up(self, peer: str) -> None:
        self.node.peer_up(peer)
        self.admin.peer_up(peer)
        self._forwarder.hope(self._loop.time())
        self.kick()

    def peer_down(self, peer: str) -> None:
        self._outbound.drop(peer)
        self.node.peer_down(peer)
        self.transfers.peer_down(peer)
        self.kick()

    def frame(self, peer: str, value: Value) -> None:
        """One value from a peer: a Raft message is a map, everything else a tuple with its name first.

        Raises FrameError when no peer of ours can have sent it. What else goes wrong is our own fault.
        """
        try:
            self._frame(peer, value)
        except FrameError:
            raise
        except Exception as error:  # noqa: BLE001 - as in a turn
            self.fail(error)

    def _frame(self, peer: str, value: Value) -> None:
        if isinstance(value, dict):
            self._raft_message(peer, value)
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            try:
                self._other_frame(peer, value[0], value)
            except ValueError as error:
                raise FrameError(f"{value[0]:.20}: {error}") from error
        else:
            raise FrameError("neither a message of Raft nor a named frame")

    def batch_end(self) -> None:
        """Most replies to a leader change nothing: what they acknowledge is committed already."""
        if self._work:
            self.kick()
        elif self.node.is_leader:
            if self.node.has_work():
                self._commit_soon()
        else:
            self.disk.kick()  # everybody waits for this sync, so nothing else comes first
            if self.node.has_work():
                self._kick_lightly()
        self._work = False

    def _commit_soon(self) -> None:
        """A majority holds more. With few writers all of them wait for this, so it is done at once;
        with many, what else arrives in this pass of the loop shares the turn."""
        if self._intake.undecided <= FEW_TXNS and not self._turn_due:
            self._turn_due = True
            self._turn()
        else:
            self._kick_lightly()

    def _raft_message(self, peer: str, message: dict[str, Any]) -> None:
        too_much = self.disk.trouble and self.wal.pending_bytes > limits.UNWRITTEN_BYTES_MAX
        if self.rejoin.silent or (too_much and message.get("entries")):
            return
        bad = self.node.receive(peer, message)
        if bad is not None:
            raise FrameError(bad.reason)
        plain = message["type"] == "append_entries" or (
            message["type"] == "next_node_idx" and not message["reset"]
        )
        self._work = self._work or not plain

    def _other_frame(self, peer: str, name: str, frame: tuple[Value, ...]) -> None:
        self._work = True
        if name == "submit":
            self._intake.offer(peer, *forward.request_from_wire(frame))
        elif name == "answers":
            self._forwarder.answered(*forward.answers_from_wire(frame), self._loop.time())
        elif not any(part.frame(peer, name, frame) for part in (self.transfers, self.admin, self.rejoin)):
            raise FrameError(f"unknown frame {name:.20}")

    def send(self, peer: str, frame: tuple[Any, ...]) -> bool:
        """One named frame to a peer, at the end of the turn."""
        return self.transport is not None and self.transport.send(peer, frame)

    # --- the node's machine and callbacks ---------------------------------------------------

    def apply(self, index: int, term: int, command: bytes) -> Applied:
        applied = self.machine.apply(index, term, command)
        self.compactor.applied(len(command))
        collector.made(len(applied.outcomes) + len(applied.events))
        self.feed_log.publish(index, applied.events, self.machine.state, self._now_ms())
        return applied

    def restore(self, state: State) -> None:
        """The node jumps to a snapshot."""
        self.machine.state = state
        self.feed_log.jump(state.index, state, self._now_ms())

    def _applied(self, index: int) -> None:
        if self.feed_log.head < index:  # a no-op or a membership change: readers must not wait for it
            self.feed_log.publish(index, (), self.machine.state, self._now_ms())
        self._waits.applied(index)

    def _role_changed(self, role: str, leader: str | None, term: int) -> None:
        log.info("%s is %s in term %d; the leader is %s", self.id, role, term, leader or "unknown")
        self.kick()

    # --- the turn ---------------------------------------------------------------------------

    def kick(self) -> None:
        """Let a turn be due, in which the node advances."""
        self._advance_due = True
        self._kick_lightly()

    def _kick_lightly(self) -> None:
        """A turn in which a follower writes, sends and applies only: its timers can wait for the timer."""
        if not self._turn_due and not self._closing:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _durable(self) -> None:
        self.node.durable()
        if self.node.is_leader:
            if self.node.has_work():
                self._commit_soon()
            return
        try:
            self._send_all()  # the acknowledgement that the leader waits for
        except Exception as error:  # noqa: BLE001 - as in a turn
            self.fail(error)

    def _on_timer(self) -> None:
        if self._closing:
            return
        try:
            self._tick(self._loop.time())
        except Exception as error:  # noqa: BLE001 - as in a turn: without its timer it would only seem to live
            self.fail(error)
            return
        self.kick()
        self._timer = self._loop.call_later(TIMER_S, self._on_timer)

    def _tick(self, now: float) -> None:
        self._forwarder.tick(now)
        self._waits.tick(now)
        self._reads.tick(now, lambda: Unavailable(why_no_leader(self), self._forwarder.leader))
        if now >= self._upkeep_at:
            self._upkeep_at = now + UPKEEP_S
            for part in (self.compactor, self.transfers, self.rejoin, self.admin):
                part.tick(now)

    def _turn(self) -> None:
        now = self._loop.time()
        stalled, self._turned_at = now - self._turned_at > self._patience_s, now
        # Where each pass is slow there would be no turn at all: in a row, only what may cost an election.
        self._patience_s = self.raft.election_timeout_min_s / 2 if stalled else STALL_S
        if stalled:
            # The loop was held up, and what came meanwhile is unread: judging now who has been
            # silent for too long would cost an election. Sockets are read before the next pass.
            self._loop.call_soon(self._turn)
            return
        self._turn_due = False
        if self._closing:
            return
        try:
            self._one_turn(now)
        except Exception as error:  # noqa: BLE001 - see the module: what is unknown ends the replica
            self.fail(error)

    def _one_turn(self, now: float) -> None:
        self._find_leader(now)
        for request in self._forwarder.flush(now):
            self._forward(request)
        self._intake.flush()
        if self._advance_due or self.node.is_leader:
            self._advance_due = False
            self.node.advance()
        self.node.pause_writes(self.disk.trouble)
        if self._answers_soon():
            # Its writer waits for it. Its answer leaves in the next pass; the news in the one after.
            self._loop.call_soon(self._loop.call_soon, self._send_all)
        else:
            self._send_all()  # first: the others are to write and to apply while this replica does
        self.disk.kick()
        more = self.node.apply()
        if self.transport is not None:
            self.transport.flush()  # answers to other replicas
        if more or self._intake.may_flush:  # entries that were applied made room for the next
            self.kick()

    def _answers_soon(self) -> bool:
        """Leader: a few writes are committed, and applying them takes less than telling the others."""
        node = self.node
        return (
            node.is_leader
            and node.applied_index < node.commit_index
            and self._intake.undecided <= FEW_TXNS
            and not self._intake.may_flush
        )

    def _find_leader(self, now: float) -> None:
        leader = self.node.leader
        reached = leader is not None and (leader == self.id or self.connected(leader))
        if reached and not self.admin.membership.excluded:
            self._forwarder.set_route(leader, now)
        else:
            self._forwarder.set_route(None, now, why_no_leader(self))

    def _forward(self, request: Request) -> None:
        if request.to == self.id:
            self._intake.offer(self.id, request.epoch, request.seq, request.txns)
        else:
            self.send(request.to, forward.request_to_wire(request))

    def _send_all(self) -> None:
        messages = self.node.drain_outbox()
        if self.transport is None or self._closing:
            return
        for peer, message in messages if not self.rejoin.silent else ():
            self._outbound.put(peer, message)
        if self.wal.hard_state_durable:
            self._outbound.pump()
        self.transport.flush()

    def _answer(self, to: str, epoch: int, answers: list[Answer]) -> None:
        if to == self.id:
            self._forwarder.answered(epoch, answers, self._loop.time())
        else:
            self.send(to, forward.answers_to_wire(epoch, answers))

    # --- what is wrong ------------------------------------------------------------------------

    def _refusal(self) -> str:
        if self.disk.trouble:
            return self.disk.trouble
        if not self.node.is_leader:
            return "this replica does not lead any more"
        if self.node.transferring:
            return f"leadership is being handed over to {self.node.transferring}"
        return ""

    def connected(self, peer: str) -> bool:
        return self.transport is not None and self.transport.connected(peer)

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def fail(self, error: BaseException) -> None:
        """End the replica over something that must not happen: `failed` holds it."""
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # whoever cares awaits it
            self._end()

    def _end(self) -> None:
        """Take no more part, and tell everybody who waits."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        never = float("inf")
        self._forwarder.tick(never)
        self._waits.tick(never)
        self._reads.tick(never, lambda: Unavailable("this replica has ended"))


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _resolve(done: asyncio.Future[Any], result: object) -> None:
    """A caller that was cancelled does not want it any more."""
    if done.done():
        return
    if isinstance(result, StoreError):
        done.set_exception(result)
    else:
        done.set_result(result)
