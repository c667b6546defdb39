"""Which proxies are forgotten, and that one which comes back is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cp.cleanup import offline_since, removal, stale
from mesh.codec import decode, encode_value
from mesh.view import View
from raftstore.memory import MemoryStore
from raftstore.types import Key, Put, Txn

NOW = datetime(2026, 1, 10, tzinfo=UTC).timestamp()
HOUR = 3600.0


def insight(name: str, *times: tuple[str, str | None], kind: str = "DataplaneInsight") -> dict[str, Any]:
    subscriptions = [
        {"id": str(n), "connectTime": start} | ({"disconnectTime": end} if end else {})
        for n, (start, end) in enumerate(times)
    ]
    document: dict[str, Any] = {"type": kind, "name": name, "subscriptions": subscriptions}
    return document | ({"mesh": "default"} if kind == "DataplaneInsight" else {})


def view(*documents: dict[str, Any]) -> View:
    return View.of([decode(document) for document in documents], 1)


def test_only_what_has_been_offline_for_long() -> None:
    old, recent = (
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("2026-01-09T22:00:00Z", "2026-01-09T23:30:00Z"),
    )
    reader = view(
        insight("gone", old),
        insight("back", old, ("2026-01-03T00:00:00Z", None)),
        insight("recent", old, recent),
        insight("never"),
        insight("strange", ("x", "y")),
        insight("zi", recent, kind="ZoneIngressInsight"),
    )
    found = [each.name for each in stale(reader, NOW, 72 * HOUR, 0.25 * HOUR)]
    assert found == ["gone", "zi"]


def test_offline_since_the_last_end() -> None:
    first, last = (
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("2026-01-03T00:00:00Z", "2026-01-03T01:00:00.5Z"),
    )
    reader = view(insight("a", first, last))
    (each,) = reader.list("DataplaneInsight")
    assert offline_since(each) == datetime(2026, 1, 3, 1, 0, 0, 500_000, tzinfo=UTC).timestamp()


async def test_a_proxy_that_comes_back_at_that_moment_stays() -> None:
    store = MemoryStore()
    dataplane, own = Key("Dataplane", "default", "a"), Key("DataplaneInsight", "default", "a")

    async def write() -> int:
        value = encode_value(decode(insight("a", ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"))))
        return (await store.submit(Txn((Put(dataplane, b"{}"), Put(own, value))))).index

    seen = replace(decode(insight("a")), version=await write())
    newer = replace(seen, version=await write())
    assert not (await store.submit(removal(seen))).applied
    assert (await store.submit(removal(newer))).applied
    assert store.state.index == newer.version + 2
