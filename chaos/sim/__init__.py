"""Simulation: whole clusters on a virtual clock, with a network and disks that misbehave.

The real core, guard, journal format and state machine run; only time, wires and platters
are made up. Everything is drawn from one seed, so each run can be repeated exactly.

    python -m chaos.sim --seeds 200            many random schedules
    python -m chaos.sim --seed 7 --trace       one of them, told step by step
    python -m chaos.sim judges                 broken builds, each of which must be caught
"""
