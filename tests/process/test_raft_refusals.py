"""What keeps a store process from running: one line on standard error, and an exit status of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from raftstore.store_process import Exit
from raftstore.types import Key, Put, Txn
from tests.process.cluster import ROOT, Cluster, StoreProcess, corrupt

pytestmark = pytest.mark.process


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster of one, running, with some writes in its log."""
    async with Cluster(tmp_path, 1) as cluster:
        cluster.start()
        await cluster.leader()
        for number in range(20):
            await cluster["n1"].store.submit(Txn((Put(Key("K", "m", f"n{number}"), b"x" * 100),)))
        yield cluster


def ends(node: StoreProcess, code: Exit, *words: str, **changed: object) -> None:
    """Started like that, the process ends with `code`, and its last line holds `words`."""
    node.start(**changed)
    assert node.wait() == code, node.log()
    last = node.log(1).splitlines()[-1]
    assert last.startswith("raftstore: n1 cannot run: "), node.log()
    assert [word for word in words if word not in last] == [], last
    assert "Traceback" not in node.log(1000)


def log_segment(node: StoreProcess) -> Path:
    return sorted((node.data_dir / "wal").glob("*.wal"))[-1]


async def test_the_data_directory_is_in_use(one: Cluster) -> None:
    running = one["n1"]
    other = StoreProcess("n1", one.root, running.settings | {"listen": "127.0.0.1:0", "socket_path": ""})
    other.log_path = one.root / "other.log"
    assert running.process is not None
    ends(other, Exit.DATA_DIR_IN_USE, f"is in use by process {running.process.pid}")
    assert running.running


async def test_the_port_is_in_use(one: Cluster, tmp_path: Path) -> None:
    running = one["n1"]
    other = StoreProcess("n1", one.root, running.settings | {"data_dir": str(tmp_path / "other")})
    other.log_path = one.root / "other.log"
    ends(other, Exit.ADDRESS_IN_USE, running.settings["listen"], "Address already in use")
    assert running.running


async def test_a_bit_that_flipped_in_the_log_is_named_with_the_remedy(one: Cluster) -> None:
    node = one["n1"]
    assert node.stop() == Exit.STOPPED
    segment = log_segment(node)
    corrupt(segment, segment.stat().st_size // 2)
    ends(node, Exit.CORRUPT, segment.name, "offset", "--recover-from-peers")


async def test_a_log_whose_end_is_torn_loses_only_what_was_never_acknowledged(one: Cluster) -> None:
    """Bytes that a power cut left of an unfinished write: a head that announces more than there is."""
    node = one["n1"]
    node.kill()
    with log_segment(node).open("ab") as file:
        file.write(b"\x20\x00\x00\x00\x01\x02")
    node.start()
    await one.leader()
    found = await node.store.submit(Txn((Put(Key("K", "m", "after"), b"x"),)))
    assert found.index > 20


async def test_a_log_that_lost_its_first_segment_is_refused(one: Cluster) -> None:
    node = one["n1"]
    assert node.stop() == Exit.STOPPED
    segment = log_segment(node)
    segment.write_bytes(segment.read_bytes()[100:])
    ends(node, Exit.CORRUPT, segment.name)


async def test_a_corrupt_snapshot_is_named_with_the_remedy(one: Cluster) -> None:
    node = one["n1"]
    await node.store.snapshot()
    assert node.stop() == Exit.STOPPED
    (file,) = (node.data_dir / "snapshots").glob("*.snap")
    corrupt(file, 200)
    ends(node, Exit.CORRUPT, file.name, "--recover-from-peers")


async def test_the_directory_of_another_node_or_cluster(one: Cluster, tmp_path: Path) -> None:
    node = one["n1"]
    assert node.stop() == Exit.STOPPED
    ends(node, Exit.WRONG_DATA_DIR, "belongs to cluster", "someone", cluster_id="someone")


@pytest.mark.parametrize(
    ("changed", "code", "word"),
    [
        ({"tls_dir": "/nonexistent"}, Exit.BAD_CERTIFICATE, "/nonexistent"),
        ({"peers": {"n2": "127.0.0.1:1"}, "tls_dir": ""}, Exit.BAD_CONFIG, "tls_dir"),
        ({"listen": "nowhere"}, Exit.BAD_CONFIG, "'nowhere' is not HOST:PORT"),
        ({"node_id": "a b"}, Exit.BAD_CONFIG, "node id 'a b'"),
        ({"colour": "red"}, Exit.BAD_CONFIG, "colour: no such setting"),
        ({"join": "yes"}, Exit.BAD_CONFIG, "join: 'yes' is not of type bool"),
        ({"election_timeout_min_s": 0}, Exit.BAD_CONFIG, "election_timeout_min_s"),
        ({"election_timeout_max_s": 0.3}, Exit.BAD_CONFIG, "election_timeout_max_s"),
        ({"data_dir": "/proc/nowhere"}, Exit.DISK, "/proc/nowhere"),
    ],
)
def test_a_setting_that_cannot_be(tmp_path: Path, changed: dict, code: Exit, word: str) -> None:
    settings = {"node_id": "n1", "data_dir": str(tmp_path / "data"), "listen": "127.0.0.1:0"}
    done = subprocess.run(
        [sys.executable, "-m", "raftstore.store_process", "--config-json", json.dumps(settings | changed)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
    )
    lines = [line for line in done.stderr.splitlines() if "cannot run" in line]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1 and word in lines[0], done.stderr
    assert "Traceback" not in done.stderr
