"""A schedule made explicit: lines of commands.py and when they were done. Kept, cut down, played again.

As text it is a script, one line per command, with `run` where time passes:

    # seed 30219, NotFenced: A leads term 4 ...
    cluster A B C seed 30219
    submit w1 r0 A
    run 0.07
    stop A torn
    settle
"""

from __future__ import annotations

from dataclasses import dataclass

from chaos.sim.cluster import REAL, STEP_S, Cluster
from chaos.sim.commands import Commands, ScriptError
from chaos.sim.host import Build
from chaos.sim.invariants import Violation, crashes_are_violations

RULE = "----"


@dataclass(frozen=True)
class Recording:
    """header: the line that starts the cluster. lines: (after so many steps, command). steps: in all."""

    header: str
    lines: tuple[tuple[int, str], ...]
    steps: int

    @classmethod
    def parse(cls, text: str) -> Recording:
        """Of a script; what a golden one tells of its commands' effects is skipped. Raises ScriptError."""
        header, lines, steps, telling = "", [], 0, False
        for line in map(str.strip, text.splitlines()):
            telling = bool(line) and (telling or line == RULE)
            if telling or not line or line.startswith("#"):
                continue
            name, *rest = line.split()
            if name == "run":
                steps += max(1, round(float(rest[0]) / STEP_S))
            elif name == "cluster":
                header = line
            else:
                lines.append((steps, line))
        if not header:
            raise ScriptError("the first command is: cluster A B C")
        return cls(header, tuple(lines), steps)

    def text(self, *comments: str) -> str:
        told, at = [f"# {line}" for line in comments] + [self.header], 0
        for step, line in (*self.lines, (self.steps, "")):
            if step > at:
                told.append(f"run {(step - at) * STEP_S:.2f}")
                at = step
            told += [line] if line else []
        return "\n".join(told) + "\n"

    def play(self, build: Build = REAL, trace: list[str] | None = None) -> Cluster:
        """Do it again. Raises a Violation; `trace` then holds what happened until then."""
        played = Played(self, build, trace)
        played.run()
        return played.cluster


class Played:
    """One run of a recording. `cluster` stands where it came to, also after a Violation."""

    def __init__(self, recording: Recording, build: Build = REAL, trace: list[str] | None = None) -> None:
        self._recording = recording
        self._commands = Commands(build)
        self._commands.do(recording.header)
        self.cluster = self._commands.cluster
        self.cluster.lines = trace

    def run(self) -> None:
        """Raises a Violation."""
        recording, cluster = self._recording, self.cluster
        with crashes_are_violations():
            for step, line in (*recording.lines, (recording.steps, "")):
                while cluster.steps < step:
                    cluster.step()
                if line:
                    self._commands.do(line)

    def violation(self) -> Violation | None:
        """As run, with the violation as an answer."""
        try:
            self.run()
        except Violation as violation:
            return violation
        return None
