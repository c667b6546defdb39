"""One node on a virtual clock, whose peers are the test itself: messages in, messages out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from raftstore.config import RaftConfig
from raftstore.guard_messages import BadMessage
from raftstore.node import Node, SnapshotMeta
from raftstore.wal.journal import Wal
from raftstore.wal.memdisk import MemoryDisk

Message = dict[str, Any]


class Echo:
    """A state machine that keeps what it applied."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, index: int, term: int, command: bytes) -> str:
        self.commands.append(command)
        return f"applied {index}"


class LoneNode:
    """Node `A` of `voters`; all peers are up. Syncs happen when the test says so."""

    def __init__(
        self,
        voters: Sequence[str] = "ABC",
        *,
        disk: MemoryDisk | None = None,
        snapshot: SnapshotMeta | None = None,
        observers: Sequence[str] = (),
        config: RaftConfig | None = None,
    ) -> None:
        self.now = 100.0
        self.disk = disk or MemoryDisk()
        self.wal = Wal.open(self.disk, cluster_id="lone", node_id="A")
        self.machine = Echo()
        self.config = config or RaftConfig()
        self.node = Node(
            "A",
            list(voters),
            journal=self.wal,
            machine=self.machine,
            config=self.config,
            clock=lambda: self.now,
            rng=random.Random(1),
            observers=observers,
            snapshot=snapshot,
        )
        for peer in [*voters, *observers]:
            if peer != "A":
                self.node.peer_up(peer)
        self.sync()

    def sync(self) -> None:
        """Everything reaches the platter, and the node is told."""
        self.wal.flush()
        self.node.durable()

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def out(self, kind: str | None = None) -> list[tuple[str, Message]]:
        """What the node sent since, of one kind or of all."""
        sent = self.node.drain_outbox()
        return [(peer, message) for peer, message in sent if kind in (None, message["type"])]

    def get(self, peer: str, message: Message) -> BadMessage | None:
        return self.node.receive(peer, message)

    def append(
        self,
        peer: str = "B",
        *,
        term: int = 1,
        after: tuple[int, int] = (1, 0),
        entries: Sequence[tuple[bytes, int, int]] = (),
        commit: int = 1,
        q: int = 1,
    ) -> BadMessage | None:
        """An append from `peer`; after: (index, term) of the entry before."""
        return self.get(
            peer,
            {
                "type": "append_entries",
                "term": term,
                "q": q,
                "commit_index": commit,
                "prevLogIdx": after[0],
                "prevLogTerm": after[1],
                "entries": list(entries),
            },
        )

    def reply(self, peer: str, next_index: int, **fields: Any) -> BadMessage | None:
        """`peer` answers the latest append: it holds all below next_index, on disk."""
        message = {
            "type": "next_node_idx",
            "term": self.node.term,
            "q": 1,
            "next_node_idx": next_index,
            "reset": False,
            "success": True,
        }
        return self.get(peer, {**message, **fields})

    def keep_leading(self, seconds: float, peer: str = "B") -> None:
        """Let time pass while `peer` answers each heartbeat, holding all that was sent."""
        end = self.now + seconds
        while self.now < end:
            self.wait(self.config.heartbeat_s)
            self.node.tick()
            numbers = [m["q"] for to, m in self.out("append_entries") if to == peer]
            if numbers:
                self.reply(peer, self.node.last_index + 1, q=numbers[-1])

    def become_leader(self) -> None:
        """Through pre-vote and vote, with B's help; the outbox is left empty."""
        self.node.election_deadline = 0.0
        self.node.tick()
        if self.node.is_leader:
            return
        current = self.node.term
        self.get("B", {"type": "pre_vote_reply", "term": current + 1, "current": current, "ok": True})
        self.node.tick()
        self.get("B", {"type": "response_vote", "term": self.node.term})
        self.node.tick()
        assert self.node.is_leader
        self.out()

    def log(self) -> list[tuple[int, int]]:
        """(index, term) of the journal's entries."""
        return [(index, term) for _, index, term in self.wal[:]]
