"""pysyncobj's private names are where we think they are."""

from __future__ import annotations

import inspect
from collections import Counter

import pysyncobj.syncobj as syncobj
import pytest
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from chaos.sim.cluster import Cluster
from chaos.sim.network import Message, Weather
from raftstore.config import RaftConfig
from raftstore.core_clock import Running
from raftstore.engine import (
    ATTRIBUTES,
    BATCHES_PER_PORTION,
    MODULE_NAMES,
    OVERRIDDEN,
    SUPPORTED_VERSION,
    PrivateName,
)
from raftstore.limits import KIB
from raftstore.wal.journal import Wal
from raftstore.wal.memdisk import MemoryDisk

SOURCE = inspect.getsource(syncobj).splitlines()


def moved(private: PrivateName) -> str:
    return (
        f"pysyncobj {VERSION} has moved {private.name} away from line {private.line} "
        f"(needed because: {private.why}). Read its new code, then adapt raftstore/engine.py."
    )


def id_of(private: PrivateName) -> str:
    return private.name


def test_the_audited_version_is_installed() -> None:
    assert VERSION == SUPPORTED_VERSION == "0.3.17"


@pytest.mark.parametrize("private", MODULE_NAMES + OVERRIDDEN + ATTRIBUTES, ids=id_of)
def test_each_private_name_stands_on_its_line(private: PrivateName) -> None:
    assert private.name in SOURCE[private.line - 1], moved(private)


@pytest.mark.parametrize("private", OVERRIDDEN, ids=id_of)
def test_each_overridden_method_exists(private: PrivateName) -> None:
    name = private.name if not private.name.startswith("__") else f"_SyncObj{private.name}"
    assert callable(getattr(syncobj.SyncObj, name, None)), moved(private)


@pytest.mark.parametrize("private", ATTRIBUTES, ids=id_of)
def test_each_attribute_is_set_by_the_library(private: PrivateName) -> None:
    wal = Wal.open(MemoryDisk(), cluster_id="test", node_id="A")
    with Running(lambda: 1.0):
        plain = syncobj.SyncObj(
            "a:1",
            [],
            syncobj.SyncObjConf(autoTick=False, journalFile=wal),
            transport=Quiet(None, None, []),
        )
    name = private.name if not private.name.startswith("__") else f"_SyncObj{private.name}"
    assert name in vars(plain), moved(private)


class Quiet(Transport):  # type: ignore[misc]
    """A transport that does nothing."""


def test_a_follower_that_was_away_catches_up_portion_by_portion_in_bad_weather() -> None:
    cluster = Cluster("ABC", 1, config=RaftConfig(append_batch_bytes=4 * KIB))
    cluster.let_lead("A")
    cluster.network.isolate("C", cluster.ids)
    for number in range(1000):
        cluster.clients.write(f"x{number}", "A")
        cluster.step()
    assert cluster.run(10.0, lambda: cluster.hosts["B"].node.applied_index > 1000)
    cluster.network.heal()
    cluster.network.weather = Weather(loss=0.05, duplicate=0.05, reorder=0.05)
    sent: Counter[float] = Counter()

    def watch(source: str, target: str, message: Message, lost: bool) -> None:
        if target == "C":
            sent[cluster.now] += sum(len(entry[0]) for entry in message.get("entries", ()))

    cluster.network.watch = watch
    assert cluster.run(60.0, lambda: cluster.hosts["C"].node.applied_index > 1000)
    portion = (BATCHES_PER_PORTION + 1) * 4 * KIB
    assert max(sent.values()) <= portion
    assert sum(sent.values()) > portion
    cluster.settle()
