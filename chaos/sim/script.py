"""Scenario scripts: commands to a simulated cluster, with the whole trace as golden text.

In the manner of etcd-io/raft's testdata. A script is a text of comments, commands and
what each command made happen:

    # B asks for votes once its timer runs out.
    lead B
    ----
    0.04  B -> A  pre_vote term 2, log 3@1
    ...

Commands (nodes are letters, times in virtual seconds):

    cluster A B C [spare D]       start them
    lead A                        let A's election timer run out first; run until A leads
    run 0.5                       let time pass
    cut A B   |  cut A > B        both ways, or only what A sends to B
    isolate A |  heal
    write A x y                   writes through A, by request id
    read B                        a linearizable read through B
    stop A    |  start A          power cut (nothing unsynced survives), and back
    slow A    |  fast A           A's disk takes seconds to sync, or milliseconds
    transfer A B                  A hands leadership to B
    add A D   |  remove A C       membership change through A
    snapshot A                    A takes a snapshot and drops its log
    show                          each node's role, term, log and voters
    heartbeats on                 trace also appends without entries and their replies

    python -m chaos.sim.script tests/raft/scenarios/*.txt       rewrite the golden text
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.sim.cluster import Cluster
from chaos.sim.host import DiskSpeed, Host
from chaos.sim.invariants import Violation
from chaos.sim.network import Message
from raftstore import entries
from raftstore.entries import Change
from raftstore.errors import StoreError
from raftstore.node import ProposeResult

RULE = "----"


class ScriptError(StoreError):
    """The script asks for what is no command."""


@dataclass
class Block:
    """Comments, then one command, then what it printed."""

    comments: list[str] = field(default_factory=list)
    command: str = ""
    output: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [*self.comments]
        if self.command:
            lines += [self.command, RULE, *self.output]
        return "\n".join(lines) + "\n"


def parse(text: str) -> Iterator[Block]:
    """Blocks are separated by empty lines; a block may be comments alone."""
    for part in text.strip().split("\n\n"):
        block = Block()
        lines = part.strip().splitlines()
        while lines and lines[0].startswith("#"):
            block.comments.append(lines.pop(0))
        if lines:
            block.command, rest = lines[0], lines[1:]
            if rest and rest[0] != RULE:
                raise ScriptError(f"after {block.command!r} comes {RULE!r}, not {rest[0]!r}")
            block.output = rest[1:]
        yield block


def replay(text: str) -> str:
    """The script with its output made anew: equal to `text` when all is as it was."""
    script, blocks = Script(), []
    for block in parse(text):
        if block.command:
            block.output = script.execute(block.command)
        blocks.append(str(block))
    return "\n".join(blocks)


class Script:
    """Runs commands on one cluster."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._heartbeats = False
        self._commands: dict[str, Callable[..., object]] = {
            "cluster": self._start_cluster,
            "lead": lambda who: self.cluster.let_lead(who),
            "run": lambda seconds: self.cluster.run(float(seconds)),
            "cut": self._cut,
            "isolate": lambda who: self.cluster.network.isolate(who, self.cluster.ids),
            "heal": lambda: self.cluster.network.heal(),
            "write": self._write,
            "read": self._read,
            "stop": lambda who: self.cluster.stop(who),
            "start": lambda who: self.cluster.start(who),
            "slow": lambda who: self._disk(who, DiskSpeed(5, 5)),
            "fast": lambda who: self._disk(who, DiskSpeed()),
            "transfer": self._transfer,
            "add": self._add,
            "remove": self._remove,
            "snapshot": lambda who: self.cluster.hosts[who].take_snapshot(keep_entries=0),
            "show": self._show,
            "heartbeats": self._set_heartbeats,
        }

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise ScriptError("the first command is: cluster A B C")
        return self._cluster

    def execute(self, command: str) -> list[str]:
        """What the command made happen, line by line."""
        name, *arguments = command.split()
        if name not in self._commands:
            raise ScriptError(f"no command {name!r}; there are {', '.join(sorted(self._commands))}")
        try:
            self._commands[name](*arguments)
        except Violation as violation:
            self.cluster.trace(f"{type(violation).__name__}: {violation}")
        lines = self.cluster.lines or []
        self.cluster.lines = []
        return [line.rstrip() for line in lines] or ["ok"]

    # --- commands ------------------------------------------------------------------------

    def _start_cluster(self, *ids: str) -> None:
        at = ids.index("spare") if "spare" in ids else len(ids)
        self._cluster = Cluster(list(ids[:at]), seed=1, spare=list(ids[at + 1 :]))
        self._cluster.lines = []
        self._cluster.clients.lose_answers = 0.0
        self._cluster.network.watch = self._message

    def _cut(self, one: str, *rest: str) -> None:
        cut = self.cluster.network.cut
        if rest[0] == ">":
            cut.add((one, rest[1]))
        else:
            cut |= {(one, rest[0]), (rest[0], one)}

    def _write(self, through: str, *request_ids: str) -> None:
        for request_id in request_ids:
            self.cluster.clients.write(request_id, through)
        self.cluster.run(0.1)

    def _read(self, through: str) -> None:
        self.cluster.clients.read(through)
        self.cluster.run(0.1)

    def _disk(self, who: str, speed: DiskSpeed) -> None:
        self.cluster.hosts[who].speed = speed

    def _transfer(self, who: str, to: str) -> None:
        refusal = self.cluster.hosts[who].node.transfer_leadership(to)
        if refusal:
            self.cluster.trace(f"{who} refuses: {refusal}")
        self.cluster.run(0.2)

    def _add(self, through: str, who: str) -> None:
        self.cluster.hosts[through].node.add_member(who, self._told(f"add {who}"))
        self.cluster.step()

    def _remove(self, through: str, who: str) -> None:
        self.cluster.hosts[through].node.remove_member(who, self._told(f"remove {who}"))
        self.cluster.step()

    def _told(self, what: str) -> Callable[[ProposeResult], None]:
        def told(result: ProposeResult) -> None:
            self.cluster.trace(f"{what}: {result.fate}{result.reason and ', '}{result.reason}")

        return told

    def _set_heartbeats(self, value: str) -> None:
        self._heartbeats = value == "on"

    def _show(self) -> None:
        assert self.cluster.lines is not None
        self.cluster.lines += [_state(host) for host in self.cluster.hosts.values()]

    # --- messages ------------------------------------------------------------------------

    def _message(self, source: str, target: str, message: Message, lost: bool) -> None:
        if not self._heartbeats and _is_idle(message):
            return
        arrow = "-x" if lost else "->"
        self.cluster.trace(f"{source} {arrow} {target}  {describe(message)}")


def _is_idle(message: Message) -> bool:
    """Heartbeats and their replies, which would drown the story."""
    kind = message["type"]
    if kind == "append_entries":
        return not message["entries"]
    return kind == "next_node_idx" and not message["reset"]


def describe(message: Message) -> str:
    """One line for one message. Entries are written index@term."""
    kind = message["type"]
    if kind == "append_entries":
        body = " ".join(f"{index}@{term}{_kind(payload)}" for payload, index, term in message["entries"])
        after = f"after {message['prevLogIdx']}@{message['prevLogTerm']}"
        return (
            f"append term {message['term']}, {after}: {body or 'nothing'}; commit {message['commit_index']}"
        )
    if kind == "next_node_idx":
        verb = (
            "rewind to" if message["reset"] else "holds below" if message["success"] else "alive, ends below"
        )
        return f"reply term {message['term']}, {verb} {message['next_node_idx']}"
    if kind in ("pre_vote", "request_vote"):
        log = f"log {message['last_log_index']}@{message['last_log_term']}"
        return f"{kind} term {message['term']}, {log}{', transfer' if message.get('transfer') else ''}"
    fields = ", ".join(f"{k} {v}" for k, v in message.items() if k not in ("type", "round", "id", "q"))
    return f"{kind} {fields}"


def _kind(payload: bytes) -> str:
    """What an entry is, briefly: nothing for a command."""
    if payload[:1] == entries.MEMBERSHIP:
        change = Change.decode(payload)
        return f"({change.op} {change.node})"
    return "(no-op)" if payload == entries.NO_OP else ""


def _state(host: Host) -> str:
    if not host.up:
        return f"{host.id}: down"
    node = host.node
    log = " ".join(f"{index}@{term}{_kind(payload)}" for payload, index, term in host.wal[:])
    return (
        f"{host.id}: {node.role} of term {node.term}, commit {node.commit_index}, "
        f"voters {''.join(node.voters) or 'none'}, log {log}"
    )


def main(paths: Sequence[str]) -> int:
    for path in map(Path, paths):
        path.write_text(replay(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
