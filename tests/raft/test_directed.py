"""The audit's fault schedules: the guarded core passes each, the core as it ships does not.

Each judge (a build with one rule taken away) is caught by the schedule written for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from chaos.sim.broken import BROKEN, STOCK, by_name
from chaos.sim.directed import SCENARIOS, Directed
from chaos.sim.invariants import (
    CommittedEntryMissing,
    Disrupted,
    FeedBroken,
    NodeCrashed,
    NotDurable,
    NotExactlyOnce,
    NotFenced,
    StaleRead,
    TwoVotes,
    Violation,
    WentBack,
)
from raftstore.errors import StoreError

# What the unguarded core does in each schedule; the others it survives.
STOCK_FAILS: dict[str, type[Violation]] = {
    "stale_acknowledgement": NotDurable,
    "repeated_append": WentBack,
    "returning_leader": NotFenced,
    "deaf_follower": Disrupted,
    "returning_follower": Disrupted,
    "overlapping_changes": CommittedEntryMissing,
    "vote_then_power_cut": NotFenced,
    "followers_lose_power": NotDurable,
    "leader_loses_power": NotDurable,
    "single_node_loses_power": NotDurable,
    "read_from_deposed_leader": NotDurable,
    "cut_off_leader": NotFenced,
    "rejoin_with_snapshot": NotDurable,
}

# Which schedule was written for which rule.
JUDGES: dict[str, tuple[str, type[Violation]]] = {
    "guard-off": ("overlapping_changes", CommittedEntryMissing),
    "acknowledge-before-fsync": ("followers_lose_power", NotDurable),
    "leader-counts-what-is-not-on-disk": ("leader_loses_power", NotDurable),
    "vote-not-durable": ("vote_then_power_cut", TwoVotes),
    "no-term-in-acknowledgements": ("stale_acknowledgement", NotDurable),
    "request-id-table-dropped": ("retry_of_lost_answer", NotExactlyOnce),
    "resume-by-head-only": ("watch_resumed_elsewhere", FeedBroken),
    "watch-skips-on-overload": ("slow_watcher", FeedBroken),
    "stale-read-served-as-linearizable": ("read_from_deposed_leader", StaleRead),
    "no-conflict-test": ("repeated_append", WentBack),
    "snapshots-forget-requests": ("retry_after_snapshot", NotExactlyOnce),
    "read-numbers-repeat": ("answer_of_an_earlier_life", StaleRead),
    "two-changes-at-once": ("overlapping_changes", CommittedEntryMissing),
    "no-pre-vote": ("deaf_follower", Disrupted),
    "no-check-quorum": ("cut_off_leader", NotFenced),
    "echoes-count-for-a-quorum": ("echoes_of_a_lost_quorum", NotFenced),
    "prunes-a-snapshot-that-is-being-written": ("overtaken_snapshot", NodeCrashed),
    "commits-while-stepping-down": ("leader_steps_down_before_its_sync", CommittedEntryMissing),
}


@pytest.fixture(autouse=True)
def quiet_core() -> Iterator[None]:
    """pysyncobj logs at length what the broken builds make it do."""
    logger = logging.getLogger("pysyncobj")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_guarded_core_keeps_its_promises(name: str) -> None:
    cluster = Directed(name).run()
    assert cluster.history.acknowledged


@pytest.mark.parametrize("name", STOCK_FAILS)
def test_the_core_as_it_ships_breaks_them(name: str) -> None:
    with pytest.raises(STOCK_FAILS[name]):
        Directed(name).run(STOCK)


@pytest.mark.parametrize("name", [build.name for build in BROKEN])
def test_each_broken_build_is_caught_by_the_schedule_written_for_it(name: str) -> None:
    scenario, violation = JUDGES[name]
    with pytest.raises(violation):
        Directed(scenario).run(by_name(name))


def test_an_unknown_build_is_refused_with_the_known_names() -> None:
    with pytest.raises(StoreError, match=r"no broken build 'x'; there are guard-off, "):
        by_name("x")
