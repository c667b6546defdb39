"""What peers tell each other beside Raft: what is refused, and what is only a cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from raftstore.admin import Admin
from raftstore.embedded import EmbeddedStore
from raftstore.members import Refused
from raftstore.settings import StoreConfig


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    store = await EmbeddedStore.open(StoreConfig(node_id="n1", data_dir=str(tmp_path / "data")))
    yield store.replica.admin
    await store.close()


@pytest.mark.parametrize(
    "known", [{"n2": "nowhere"}, {"n2": 5}, {"n2": "h" * 1000 + ":1"}, {"a b": "h:1"}, {"n" * 64: "h:1"}]
)
async def test_addresses_that_can_be_none_are_a_fault_of_the_peer(
    admin: Admin, known: dict[str, object]
) -> None:
    """ValueError is what the transport cuts a link for."""
    before = dict(admin.addresses)
    with pytest.raises(ValueError, match=r"HOST:PORT|characters|node id"):
        admin.frame("n2", "addresses", ("addresses", known))  # type: ignore[arg-type]
    assert admin.addresses == before


async def test_addresses_are_learned_also_when_they_cannot_be_kept(admin: Admin, tmp_path: Path) -> None:
    (tmp_path / "data" / "addresses.tmp").mkdir()
    assert admin.frame("n2", "addresses", ("addresses", {"n3": "h3:1"}))
    assert admin.addresses["n3"] == "h3:1"
    assert not (tmp_path / "data" / "addresses.json").exists()


@pytest.mark.parametrize("request_", ["[" * 60_000, "{", "[]", '"' + "x" * 70_000 + '"'])
async def test_a_request_to_join_that_is_none(admin: Admin, request_: str) -> None:
    with pytest.raises(Refused, match="not a JSON object"):
        await admin.join(request_)
