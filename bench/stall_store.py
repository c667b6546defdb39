"""A store process that notes the longest gap between two Raft ticks: the child of bench_stall.

    python -m bench.stall_store --config-json '{"node_id": "n1", ...}'

Two figures: the gap as the clock has it, and without the time for which the loop's thread was ready
to run and the system had no processor for it (Linux tells it in schedstat): what is left is ours.
They lie in a small file beside the data directory, mapped into memory, so that noting them costs
nothing and reading them disturbs nobody. Who reads them sets them back to zero.
"""

from __future__ import annotations

import argparse
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

_SECONDS = struct.Struct("<dd")


@dataclass(frozen=True, slots=True)
class Gap:
    """Seconds: the longest by the clock, and the longest without waiting for a processor."""

    clock_s: float
    own_s: float


class Gauge:
    """The longest gap so far, shared with whoever opens the same file."""

    def __init__(self, data_dir: Path | str) -> None:
        path = Path(f"{data_dir}.gap")
        if not path.exists():
            path.write_bytes(_SECONDS.pack(0.0, 0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SECONDS.size)

    def note(self, clock_s: float, waited_s: float) -> None:
        longest = Gap(*_SECONDS.unpack_from(self._map))
        own_s = clock_s - waited_s
        if clock_s > longest.clock_s or own_s > longest.own_s:
            _SECONDS.pack_into(self._map, 0, max(clock_s, longest.clock_s), max(own_s, longest.own_s))

    def take(self) -> Gap:
        """The longest since the last call."""
        longest = Gap(*_SECONDS.unpack_from(self._map))
        _SECONDS.pack_into(self._map, 0, 0.0, 0.0)
        return longest


class Waiting:
    """How long the thread that made this has waited for a processor; 0 where the system does not tell."""

    def __init__(self) -> None:
        path = Path("/proc/thread-self/schedstat")
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path.exists() else -1

    def seconds(self) -> float:
        """In all, since the thread began."""
        if self._fd < 0:
            return 0.0
        return int(os.pread(self._fd, 100, 0).split()[1]) / 1e9


class Gauged(Replica):
    """A replica whose ticks are watched. The first gap begins when it has started to listen."""

    def __init__(self, config: StoreConfig, opened: Opened) -> None:
        self._gauge, self._waiting = Gauge(config.data_dir), Waiting()
        self._ticked: tuple[float, float] | None = None
        super().__init__(config, opened)

    def _one_turn(self, now: float) -> None:
        at, waited = time.perf_counter(), self._waiting.seconds()
        if self._ticked is not None:
            self._gauge.note(at - self._ticked[0], waited - self._ticked[1])
        self._ticked = at, waited
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
