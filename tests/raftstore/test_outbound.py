"""Messages to a slow peer wait as pointers and leave as its window allows."""

from __future__ import annotations

from raftstore import limits
from raftstore.guard_messages import Message
from raftstore.outbound import Outbound


class Wire:
    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []
        self.backlog: dict[str, int] = {}
        self.away: set[str] = set()

    def send(self, peer: str, value: object) -> bool:
        if peer in self.away:
            return False
        self.sent.append((peer, value))
        return True

    def backlog_bytes(self, peer: str) -> int:
        return self.backlog.get(peer, 0)


def append(number: int, size: int = 10) -> Message:
    return {"type": "append_entries", "q": number, "entries": [(b"x" * size, number, 1)]}


def test_order_is_kept_per_peer() -> None:
    wire = Wire()
    outbound = Outbound(wire, 0.0, lambda: 0.0)
    for number in range(5):
        outbound.put("a", append(number))
        outbound.put("b", append(number))
    outbound.pump()
    for peer in "ab":
        assert [m["q"] for p, m in wire.sent if p == peer] == [0, 1, 2, 3, 4]  # type: ignore[index]


def test_a_slow_peer_holds_up_itself_alone() -> None:
    wire = Wire()
    outbound = Outbound(wire, 0.0, lambda: 0.0)
    half = limits.PEER_WINDOW_BYTES // 2
    for number in range(6):
        outbound.put("slow", append(number, half))
    outbound.put("fast", append(0))
    outbound.pump()
    assert outbound.waiting("slow") == 4 and outbound.waiting("fast") == 0
    wire.backlog["slow"] = limits.PEER_WINDOW_BYTES
    outbound.pump()
    assert outbound.waiting("slow") == 4
    wire.backlog["slow"] = 0
    outbound.pump()
    outbound.pump()
    assert [m["q"] for p, m in wire.sent if p == "slow"] == list(range(6))  # type: ignore[index]


def test_what_waits_for_a_peer_that_left_is_dropped() -> None:
    wire = Wire()
    outbound = Outbound(wire, 0.0, lambda: 0.0)
    outbound.put("a", append(1))
    outbound.drop("a")
    outbound.pump()
    wire.away.add("b")
    outbound.put("b", append(1))
    outbound.put("b", append(2))
    outbound.pump()
    assert wire.sent == [] and outbound.waiting("b") == 0


def reply(next_index: int, **fields: object) -> Message:
    told = {"type": "next_node_idx", "term": 1, "q": 1, "next_node_idx": next_index}
    return {**told, "reset": False, "success": True, **fields}


def test_what_was_said_a_moment_ago_is_not_said_again() -> None:
    wire, now = Wire(), [0.0]
    outbound = Outbound(wire, 0.025, lambda: now[0])

    def said(message: Message, peer: str = "a") -> bool:
        wire.sent.clear()
        outbound.put(peer, message)
        outbound.pump()
        return bool(wire.sent)

    assert said(reply(7)) and not said(reply(7))
    assert said(reply(7), "b")  # to another
    assert said(reply(8)) and said(reply(7, term=2))  # of something else
    now[0] = 0.02
    assert not said(reply(7, term=2))
    now[0] = 0.025
    assert said(reply(7, term=2))  # it may have been lost
    assert said(reply(7, term=2, success=False)) and said(reply(7, term=2, success=False))
    assert said(reply(7, term=2))  # after a reply that claims nothing, or a rewind
    outbound.drop("a")
    assert said(reply(7, term=2))  # to a peer that is new
    assert said(append(1)) and said(append(1))
