"""Small C libraries for LD_PRELOAD, compiled when they are needed: what no setting could change.

wallclock   a wall clock of its own (clocks.py)
unsynced    fdatasync does nothing: a log that is not durable, to judge the rig by
"""

from __future__ import annotations

from pathlib import Path

from chaos.shell import run

COMPILER = "cc"
WALL_CLOCK, UNSYNCED = "wallclock", "unsynced"


async def build(name: str, directory: Path) -> Path:
    """Compile one of them. Raises CommandFailed."""
    library = directory / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    options = ("-shared", "-fPIC", "-O1", "-Wall", "-Werror")
    await run(COMPILER, *options, "-o", str(library), str(source), "-ldl")
    return library
