"""From a configuration to what is on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raftstore.certs import BadCertificate, create_ca, issue
from raftstore.errors import Corrupt, DataDirInUse, DiskFailed, WrongDataDir
from raftstore.opening import open_replica
from raftstore.settings import StoreConfig


def config(root: Path, **changed: object) -> StoreConfig:
    return StoreConfig(**{"node_id": "n1", "data_dir": str(root / "data"), **changed})  # type: ignore[arg-type]


async def test_a_new_directory_is_made_and_held(tmp_path: Path) -> None:
    opened = await open_replica(config(tmp_path))
    assert opened.cluster_id == "n1" and opened.snapshot is None and opened.tls is None
    with pytest.raises(DataDirInUse):
        await open_replica(config(tmp_path))
    await opened.close()
    again = await open_replica(config(tmp_path))
    await again.close()


async def test_the_cluster_is_the_ones_that_the_ca_names(tmp_path: Path) -> None:
    cluster = create_ca(tmp_path / "certs")
    issue(tmp_path / "certs", "n1")
    opened = await open_replica(config(tmp_path, tls_dir=str(tmp_path / "certs")))
    assert opened.cluster_id == cluster and opened.tls is not None
    await opened.close()
    with pytest.raises(WrongDataDir, match="belongs to cluster"):
        await open_replica(config(tmp_path))


async def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match=r"n1\.pem"):
        await open_replica(config(tmp_path, tls_dir=str(tmp_path)))
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DiskFailed, match="data"):
        await open_replica(config(tmp_path))


async def test_what_cannot_be_opened_is_let_go_of(tmp_path: Path) -> None:
    await (await open_replica(config(tmp_path))).close()
    (tmp_path / "data" / "snapshots" / f"{7:020d}.snap").write_bytes(b"no snapshot")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(Corrupt, match="this is no snapshot"):
            await open_replica(config(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
