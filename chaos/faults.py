"""The faults of the rig of real processes, by name, with what is expected of the cluster."""

from __future__ import annotations

from chaos import disk_faults as disks
from chaos import network_faults as network
from chaos import process_faults as processes
from chaos.trial import Fault

LOSES_ONE = "the others elect a leader and go on; nothing acknowledged is lost or repeated"
STALE = "it stops serving linearizable reads and writes; the others elect a leader and go on"
SLOW = "slower, and correct"
THERE = "what was acknowledged is there after the restart"
ANEW = "replicas connect again; nothing is lost or repeated"
NO_QUORUM = "no writes, no linearizable reads; all resumes"
FULL = "it steps down, serves reads, says so, and resumes when space returns"
UNSYNCED = "what was acknowledged is there, although all unsynced data is gone"

FAULTS = (
    Fault("kill-leader", LOSES_ONE, processes.kill_leader),
    Fault("kill-follower", "writes go on; it catches up", processes.kill_follower),
    Fault("kill-all", THERE, processes.kill_all, goes_on=False),
    Fault("pause-leader", "awake again it serves nothing stale", processes.pause_leader),
    Fault("pause-follower", "writes go on; it catches up", processes.pause_follower),
    Fault("rolling-restart", "each hands over before it stops; writes go on", processes.rolling_restart),
    Fault("clock-jumps", "the wall clock decides nothing", processes.clock_jumps, needs="cc"),
    Fault("partition-leader", STALE, network.partition_leader),
    Fault("deaf-leader", STALE, network.deaf_leader),
    Fault("mute-leader", STALE, network.mute_leader),
    Fault("partition-all", NO_QUORUM, network.partition_all, goes_on=False),
    Fault("majority-ring", "one leader that reaches a quorum; no endless elections", network.majority_ring),
    Fault("packet-loss", SLOW, network.packet_loss),
    Fault("delay", SLOW, network.delay),
    Fault("throttle", SLOW, network.throttle),
    Fault("throttle-by-kernel", SLOW, network.throttle_by_kernel, needs="tbf"),
    Fault("netem", SLOW, network.netem, needs="netem"),
    Fault("resets", ANEW, network.resets),
    Fault("full-disk", FULL, disks.full_disk),
    Fault("slow-disks", SLOW, disks.slow_disks),
    Fault("stalled-disk", "it hands over; the others go on", disks.stalled_disk),
    Fault("broken-disk", "it acknowledges nothing, its store ends; the others go on", disks.broken_disk),
    Fault("power-loss", UNSYNCED, disks.power_loss, goes_on=False),
    Fault("mixed", "whatever happens: no promise is broken", processes.mixed),
)
