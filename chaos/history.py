"""What clients saw of a cluster, in the terms of its promises, and the judgement of it.

The clients write resources of one kind whose label `chaos` holds a value that no two
writes share. So an event is known by its value, whoever tells it: the watch API, as JSON,
or the log of a replica, as bytes. Both are brought to the same form here: the value is
the label, and what only one side tells (times) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from chaos.linearizability import Operation, check
from mesh.codec import decode_value
from mesh.resource import ResourceKey
from raftstore.guarantees import (
    Acked,
    Convergent,
    CutOff,
    ReadAt,
    Served,
    Violation,
    check_durable,
    check_exactly_once,
    check_fenced,
    check_read_your_writes,
    check_watch,
)
from raftstore.types import Commit, Event, FeedItem, Key, Op

KIND, MESH, PLURAL, LABEL = "MeshTimeout", "default", "meshtimeouts", "chaos"
ABSENT = ""  # the value of a key that does not exist
# The longest election timeout of replicas that run by the defaults: raft.electionTimeout is the shortest.
ELECTION_TIMEOUT_S = 1.0


class Stalled(Violation):
    """What should have gone on, or come back, did not."""


class Unforeseen(Violation):
    """An answer that no client should ever get."""


@dataclass
class History:
    """All that the clients of one run noted. `start`: the log index before which nothing counts.

    served: writes and linearizable reads, by the replica that was asked. cut_off: by the rig.
    """

    start: int = 0
    end: int = 0
    operations: list[Operation] = field(default_factory=list)
    acked: list[Acked] = field(default_factory=list)
    reads: list[ReadAt] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    cut_off: list[CutOff] = field(default_factory=list)
    watches: dict[str, list[FeedItem]] = field(default_factory=dict)
    found: list[Violation] = field(default_factory=list)
    unknown: int = 0

    @property
    def watched(self) -> int:
        return sum(isinstance(item, Commit) for items in self.watches.values() for item in items)


# --- one form for events, whoever tells them ------------------------------------------------------


def key_of(name: str) -> Key:
    return Key(KIND, MESH, name)


def document(name: str, value: str) -> dict[str, Any]:
    """A resource that carries `value`."""
    to = {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "5s"}}
    spec = {"targetRef": {"kind": "Mesh"}, "to": [to]}
    return {"type": KIND, "mesh": MESH, "name": name, "labels": {LABEL: value}, "spec": spec}


def value_of(resource: Mapping[str, Any] | None) -> str:
    """The value that a resource carries, as the API shows it."""
    return ABSENT if resource is None else str((resource.get("labels") or {}).get(LABEL, ABSENT))


def told_by_watch(body: Mapping[str, Any]) -> Commit:
    """A commit as `?watch=true` tells it."""
    events = []
    for each in body["events"]:
        put = each["op"] == "put"
        events.append(
            Event(
                index=each["index"],
                term=each["term"],
                time_ms=0,
                actor=each["actor"],
                request_id=each["requestId"],
                cause=each["reason"],
                via=each["via"],
                op=Op.PUT if put else Op.DELETE,
                key=Key(each["type"], each["mesh"], each["name"]),
                value=value_of(each["resource"]).encode() if put else None,
                previous_version=each["previousVersion"],
                created_ms=0,
            )
        )
    return Commit(body["index"], tuple(events))


def told_by_log(commit: Commit) -> Commit | None:
    """The same of a commit of the log; None when none of its events is of our kind."""
    events = tuple(_from_log(event) for event in commit.events if event.key[:2] == (KIND, MESH))
    return Commit(commit.index, events) if events else None


def _from_log(event: Event) -> Event:
    value = None
    if event.value is not None:
        found = decode_value(ResourceKey(*event.key), event.value, event.index, 0, 0)
        value = found.labels.get(LABEL, ABSENT).encode()
    request_id = event.request_id.rpartition("#")[0] or event.request_id
    return replace(event, time_ms=0, created_ms=0, request_id=request_id, value=value)


# --- judgement ------------------------------------------------------------------------------------


def judge(history: History, logs: Mapping[str, Sequence[Commit]]) -> list[Violation]:
    """Every promise that is broken, by one error each.

    logs: of each replica that still has it, the commits after `history.start` up to `end`.
    """
    if not logs:
        return [*history.found, Unforeseen("no replica has the log of this run any more")]
    log = max(logs.values(), key=len)
    checks: list[Callable[[], object]] = [
        lambda: check(history.operations, initial=ABSENT),
        lambda: check_durable(history.acked, log),
        lambda: check_exactly_once(history.acked, log),
        lambda: check_read_your_writes(history.reads, log),
        lambda: check_logs_agree(logs),
        lambda: check_fenced(history.served, history.cut_off, ELECTION_TIMEOUT_S),
        *(_of_watch(name, items, log, history.start) for name, items in history.watches.items()),
    ]
    return [*history.found, *_violations(checks)]


def _of_watch(
    name: str, items: Sequence[FeedItem], log: Sequence[Commit], after: int
) -> Callable[[], object]:
    def check_one() -> None:
        try:
            check_watch(items, log, after)
        except Violation as violation:
            raise type(violation)(f"the watch {name}: {violation}") from violation

    return check_one


def _violations(checks: Iterable[Callable[[], object]]) -> list[Violation]:
    found = []
    for each in checks:
        try:
            each()
        except Violation as violation:
            found.append(violation)
    return found


def check_logs_agree(logs: Mapping[str, Sequence[Commit]]) -> None:
    """Replicas hold the same commits at the same indexes. Raises Convergent."""
    first: dict[int, tuple[str, Commit]] = {}
    for name, commits in logs.items():
        for commit in commits:
            other, told = first.setdefault(commit.index, (name, commit))
            if told != commit:
                raise Convergent(f"{other} and {name} differ at index {commit.index}: {told} and {commit}")
    for name, commits in logs.items():
        lacking = sorted(set(first) - {commit.index for commit in commits})
        if lacking:
            raise Convergent(f"{name} lacks commit {lacking[0]}, which {first[lacking[0]][0]} has")
