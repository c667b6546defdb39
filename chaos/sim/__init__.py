"""Simulation: whole clusters on a virtual clock, with a network and disks that misbehave.

The real core, guard, journal format and state machine run; only time, wires and platters
are made up. Everything is drawn from one seed, so each run can be repeated exactly.

    raftmesh-sim --seeds 200                   many random schedules, on all cores
    raftmesh-sim --minutes 30                  as many as that allows
    raftmesh-sim --seed 7 --trace              one of them, told step by step; a failing one is shrunk
    raftmesh-sim --script FILE                 a shrunk one, or a golden scenario
    python -m chaos.judges                     broken builds and servers, each of which must be caught
"""
