"""A failing schedule, cut down to what it takes to fail.

Delta debugging (Zeller and Hildebrandt, 2002) over the lines of a Recording, with moves
that know what the lines mean. Each candidate is played from its start; it is kept when
the same promise breaks. In turn, until nothing helps any more or the budget is spent:

    what comes after the violation goes
    all lines of one sort go: weather, reads, watches, ...
    hosts go that nobody needs: 5 voters become 3, observers and spares leave
    lines go, in halves, quarters, ... one by one
    clients' requests go, with all their retries
    registers become one
    time between lines goes

The budget is counted in simulated turns of hosts, so the result depends on nothing but the
recording and the build, and the time it takes is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from chaos.sim.cluster import REAL
from chaos.sim.host import Build
from chaos.sim.invariants import Violation
from chaos.sim.recording import Played, Recording

# About a minute of one core.
TURNS = 600_000

Line = tuple[int, str]


@dataclass(frozen=True)
class Shrunk:
    """`recording` fails with `violation`. plays: how many candidates were tried."""

    recording: Recording
    violation: Violation
    plays: int

    def text(self, *comments: str) -> str:
        """The script, with what it breaks."""
        return self.recording.text(*comments, f"{type(self.violation).__name__}: {self.violation}")


def shrink(recording: Recording, build: Build = REAL, turns: int = TURNS) -> Shrunk | None:
    """The smallest script found; None when the recording does not fail at all."""
    shrinker = _Shrinker(build, turns)
    if not shrinker.fails(recording):
        return None
    before = None
    while shrinker.turns > 0 and shrinker.best != before:
        before = shrinker.best
        for move in (_sorts, _hosts, _chunks, _requests, _registers, _times):
            move(shrinker)
    assert shrinker.violation is not None
    return Shrunk(shrinker.best, shrinker.violation, shrinker.plays)


class _Shrinker:
    """`best`: the smallest recording that fails so far, cut off where it fails."""

    def __init__(self, build: Build, turns: int) -> None:
        self._build = build
        self.turns = turns
        self.plays = 0
        self.best = Recording("", (), 0)
        self.violation: Violation | None = None

    def fails(self, candidate: Recording) -> bool:
        """Whether the candidate breaks the same promise; then it is the best from now on."""
        if self.turns <= 0 or not _hosts_of(candidate):
            return False
        played = Played(candidate, self._build)
        found = played.violation()
        self.plays += 1
        self.turns -= played.cluster.steps * len(played.cluster.hosts)
        if found is None or (self.violation is not None and type(found) is not type(self.violation)):
            return False
        self.violation = found
        steps = min(candidate.steps, played.cluster.steps)
        self.best = replace(
            candidate, lines=tuple(line for line in candidate.lines if line[0] <= steps), steps=steps
        )
        return True

    def keep_lines(self, keep: Callable[[Line], bool]) -> bool:
        """Try without the lines that are not to be kept; whether that fails too."""
        lines = tuple(line for line in self.best.lines if keep(line))
        return len(lines) < len(self.best.lines) and self.fails(replace(self.best, lines=lines))


# --- moves -------------------------------------------------------------------------------


def _sorts(shrinker: _Shrinker) -> None:
    for name in sorted({line.split()[0] for _, line in shrinker.best.lines}):
        shrinker.keep_lines(lambda line, name=name: line[1].split()[0] != name)  # type: ignore[misc]


def _requests(shrinker: _Shrinker) -> None:
    requests = sorted({line.split()[1] for _, line in shrinker.best.lines if line.startswith("submit")})
    size = len(requests)
    while size:
        for at in range(0, len(requests), size):
            gone = set(requests[at : at + size])
            shrinker.keep_lines(
                lambda line, gone=gone: not (line[1].startswith("submit") and line[1].split()[1] in gone)  # type: ignore[misc]
            )
        size //= 2


def _chunks(shrinker: _Shrinker) -> None:
    """Halves, quarters, ... of the lines, latest first: what is late depends on what is early."""
    size = max(1, len(shrinker.best.lines) // 2)
    while True:
        end = len(shrinker.best.lines)
        while end > 0 and shrinker.turns > 0:
            lines = shrinker.best.lines
            start = max(0, end - size)
            if start < len(lines):
                shrinker.fails(replace(shrinker.best, lines=lines[:start] + lines[end:]))
            end = start
        if size == 1:
            return
        size //= 2


def _hosts(shrinker: _Shrinker) -> None:
    for host in reversed(_hosts_of(shrinker.best)):
        shrinker.fails(_without(shrinker.best, {host}))
    for pair in _pairs(_hosts_of(shrinker.best)):
        shrinker.fails(_without(shrinker.best, set(pair)))


def _registers(shrinker: _Shrinker) -> None:
    def in_one(line: str) -> str:
        words = line.split()
        if words[0] in ("submit", "query"):
            words[2 if words[0] == "submit" else 1] = "r0"
        return " ".join(words)

    lines = tuple((step, in_one(line)) for step, line in shrinker.best.lines)
    if lines != shrinker.best.lines:
        shrinker.fails(replace(shrinker.best, lines=lines))


def _times(shrinker: _Shrinker) -> None:
    """Take steps out between two lines: all but one, half, a quarter, ..."""
    for at in reversed(range(len(shrinker.best.lines) + 1)):
        best = shrinker.best
        if at > len(best.lines):
            continue
        steps = [0, *(step for step, _ in best.lines), best.steps]
        gap = steps[at + 1] - steps[at]
        for less in _portions(gap):
            lines = best.lines[:at] + tuple((step - less, line) for step, line in best.lines[at:])
            if shrinker.fails(replace(best, lines=lines, steps=best.steps - less)):
                break


def _portions(gap: int) -> Iterator[int]:
    less = gap - 1
    while less > 0:
        yield less
        less //= 2


# --- hosts of a header -------------------------------------------------------------------


def _hosts_of(recording: Recording) -> list[str]:
    words = recording.header.split()[1:]
    return [word for word in words if len(word) == 1 and word.isalpha()]


def _pairs(hosts: list[str]) -> Iterator[tuple[str, str]]:
    for at, one in enumerate(hosts):
        for other in hosts[at + 1 :]:
            yield one, other


def _without(recording: Recording, gone: set[str]) -> Recording:
    """Without these hosts, and without what is said of them."""
    header = [word for word in recording.header.split() if word not in gone]
    for group in ("observers", "spare"):
        if group in header and header[header.index(group) + 1 :][:1] in ([], ["spare"], ["seed"]):
            header.remove(group)
    lines = []
    for step, line in recording.lines:
        name, *words = line.split()
        if name == "split":
            words = [word for word in words if word not in gone]
        if not gone.intersection(words) and (words or name in ("ring", "heal", "settle")):
            lines.append((step, " ".join([name, *words])))
    return replace(recording, header=" ".join(header), lines=tuple(lines))
