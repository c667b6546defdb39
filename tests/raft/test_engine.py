"""pysyncobj's private names are where we think they are."""

from __future__ import annotations

import inspect

import pysyncobj.syncobj as syncobj
import pytest
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from raftstore.core_clock import Running
from raftstore.engine import ATTRIBUTES, MODULE_NAMES, OVERRIDDEN, SUPPORTED_VERSION, PrivateName
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
