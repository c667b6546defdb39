"""Scenario scripts: commands to a simulated cluster, with the whole trace as golden text.

In the manner of etcd-io/raft's testdata. A script is a text of comments, commands and
what each command made happen:

    # B asks for votes once its timer runs out.
    lead B
    ----
    0.04  B -> A  pre_vote term 2, log 3@1
    ...

The commands are those of commands.py, and some that suit a story, which let time pass by themselves:

    lead A                        let A's election timer run out first; run until A leads
    write A x y                   writes proposed to A, by request id, and a tenth of a second
    read B                        a linearizable read through B, and a tenth of a second
    show                          each node's role, term, log and voters
    heartbeats on                 trace also appends without entries and their replies

A script without output is played, not compared: python -m chaos.sim --script FILE.

    python -m chaos.sim.script tests/raft/scenarios/*.txt       rewrite the golden text
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.sim.commands import Commands
from chaos.sim.commands import ScriptError as ScriptError
from chaos.sim.host import Host
from chaos.sim.invariants import Violation
from chaos.sim.network import Message
from chaos.sim.recording import RULE
from raftstore import entries
from raftstore.entries import Change


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


class Script(Commands):
    """Runs commands on one cluster and tells what they did."""

    def __init__(self) -> None:
        super().__init__()
        self._heartbeats = False
        self._commands |= {
            "lead": lambda who: self.cluster.let_lead(who),
            "write": self._write,
            "read": self._read,
            "show": self._show,
            "heartbeats": self._set_heartbeats,
        }

    def execute(self, command: str) -> list[str]:
        """What the command made happen, line by line."""
        try:
            self.do(command)
        except Violation as violation:
            self.cluster.trace(f"{type(violation).__name__}: {violation}")
        lines = self.cluster.lines or []
        self.cluster.lines = []
        return [line.rstrip() for line in lines] or ["ok"]

    # --- commands ------------------------------------------------------------------------

    def _start_cluster(self, *words: str) -> None:
        super()._start_cluster(*words)
        self.cluster.lines = []
        self.cluster.clients.lose_answers = 0.0
        self.cluster.network.watch = self._message

    def _write(self, through: str, *request_ids: str) -> None:
        for request_id in request_ids:
            self.cluster.clients.write(request_id, through)
        self.cluster.run(0.1)

    def _read(self, through: str) -> None:
        self.cluster.clients.read(through)
        self.cluster.run(0.1)

    def _snapshot(self, who: str, keep: str = "0") -> None:
        self.cluster.hosts[who].take_snapshot(keep_entries=int(keep))

    def _transfer(self, who: str, to: str) -> None:
        super()._transfer(who, to)
        self.cluster.run(0.2)

    def _add(self, through: str, who: str) -> None:
        super()._add(through, who)
        self.cluster.step()

    def _remove(self, through: str, who: str) -> None:
        super()._remove(through, who)
        self.cluster.step()

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
