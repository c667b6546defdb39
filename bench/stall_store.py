"""A store process that notes the longest gap between two Raft ticks: the child of bench_stall.

    python -m bench.stall_store --config-json '{"node_id": "n1", ...}'

Three figures: the gap as the clock has it; without the time for which a thread of the process was
ready to run and the system had no processor for it (Linux tells it in schedstat; not only the
loop's thread, as another one may hold the interpreter). What is left is ours: computing, and
waiting for the disk or for a lock. And the loop's own processor time alone. They lie in a small
file beside the data directory, mapped into memory, so that noting them costs nothing and reading
them disturbs nobody. Who reads them sets them back to zero.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import mmap
import os
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from raftstore.opening import Opened
from raftstore.replica import Replica
from raftstore.settings import StoreConfig
from raftstore.store_process import run_store

LOOK_S = 0.005
_SECONDS = struct.Struct("<ddd")


@dataclass(frozen=True, slots=True)
class Gap:
    """Seconds: the longest by the clock, of what was our own doing, and of computing alone."""

    clock_s: float
    own_s: float
    cpu_s: float

    def max(self, other: Gap) -> Gap:
        """The longest of each kind."""
        return Gap(
            max(self.clock_s, other.clock_s), max(self.own_s, other.own_s), max(self.cpu_s, other.cpu_s)
        )


class Gauge:
    """The longest gap so far, shared with whoever opens the same file."""

    def __init__(self, data_dir: Path | str) -> None:
        path = Path(f"{data_dir}.gap")
        if not path.exists():
            path.write_bytes(_SECONDS.pack(0.0, 0.0, 0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SECONDS.size)

    def note(self, clock_s: float, own_s: float, cpu_s: float) -> None:
        longest = Gap(*_SECONDS.unpack_from(self._map))
        found = longest.max(Gap(clock_s, own_s, cpu_s))
        if found != longest:
            _SECONDS.pack_into(self._map, 0, found.clock_s, found.own_s, found.cpu_s)

    def take(self) -> Gap:
        """The longest since the last call."""
        longest = Gap(*_SECONDS.unpack_from(self._map))
        _SECONDS.pack_into(self._map, 0, 0.0, 0.0, 0.0)
        return longest


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds. cpu: what the loop's thread has used. waited: what all threads have waited for a processor."""

    at: float
    cpu: float
    waited: float

    @classmethod
    def now(cls, waited: float) -> Moment:
        return cls(time.perf_counter(), time.thread_time(), waited)


def waited_s() -> float:
    """How long the threads of this process were ready, together, and had no processor; 0 if unknown."""
    total = 0
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended
            total += int(Path(f"/proc/self/task/{task}/schedstat").read_bytes().split()[1])
    return total / 1e9


class Gauged(Replica):
    """A replica whose ticks are watched. The first gap begins when it has started to listen."""

    def __init__(self, config: StoreConfig, opened: Opened) -> None:
        self._gauge = Gauge(config.data_dir)
        self._ticked = Moment.now(waited_s())
        self._looked_at = 0.0
        super().__init__(config, opened)

    def _one_turn(self, now: float) -> None:
        before, waited = self._ticked, self._ticked.waited
        at = time.perf_counter()
        if at - before.at > LOOK_S or at - self._looked_at > LOOK_S:
            waited, self._looked_at = waited_s(), at
        self._ticked = Moment.now(waited)
        gap_s = self._ticked.at - before.at
        waiting_s = max(0.0, waited - before.waited)  # a thread that ended took its share along
        own_s = max(self._ticked.cpu - before.cpu, gap_s - waiting_s)
        self._gauge.note(gap_s, own_s, self._ticked.cpu - before.cpu)
        super()._one_turn(now)


def main() -> int:
    parser = argparse.ArgumentParser("bench.stall_store")
    parser.add_argument("--config-json", required=True)
    config = StoreConfig.from_json(parser.parse_args().config_json)
    logging.basicConfig(level="INFO", format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S")
    uvloop.run(run_store(config, replica_type=Gauged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
