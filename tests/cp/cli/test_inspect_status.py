"""What `raftmesh inspect dataplane NAME --type status` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cp.cli.inspect_status import status_text
from mesh.codec import decode, encode_value
from raftstore.types import Key, Put, Txn
from tests.cp.cli.conftest import Cli
from tests.cp.conftest import Api

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COUNTED = {"responsesSent": "3", "responsesAcknowledged": "2", "responsesRejected": "1"}
REFUSED = {
    "type": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "name": "in:80",
    "version": "abc",
    "message": "no such filter",
}


def subscription(**more: Any) -> dict[str, Any]:
    status = {"lastUpdateTime": "2026-01-01T00:00:00Z", "total": COUNTED, "lds": COUNTED}
    return {
        "id": "1",
        "controlPlaneInstanceId": "cp-1",
        "connectTime": "2025-12-31T00:00:00Z",
        "status": status | more.pop("status", {}),
        **more,
    }


def test_counters_and_refusals() -> None:
    text = status_text({"subscriptions": [subscription(status={"rejections": [REFUSED]})]}, NOW)
    lines = text.splitlines()
    assert lines[0] == "connected to cp-1, since 2025-12-31T00:00:00Z; counted 1d ago"
    assert [line.split() for line in lines[2:5]] == [
        ["TYPE", "SENT", "ACKNOWLEDGED", "REJECTED"],
        ["lds", "3", "2", "1"],
        ["total", "3", "2", "1"],
    ]
    assert lines[-2:] == ["refuses Listener in:80 (version abc)", "  no such filter"]


@pytest.mark.parametrize(
    ("insight", "told"),
    [
        ({}, "never connected\n"),
        (
            {"subscriptions": [subscription(disconnectTime="2026-01-01T12:00:00Z")]},
            "disconnected 12h ago from cp-1",
        ),
    ],
)
def test_who_is_not_connected(insight: dict[str, Any], told: str) -> None:
    assert status_text(insight, NOW).startswith(told)


async def test_from_the_api(api: Api, cli: Cli) -> None:
    await api.mesh()
    document = {"type": "DataplaneInsight", "mesh": "default", "name": "web"}
    insight = decode(document | {"subscriptions": [subscription(status={"rejections": [REFUSED]})]})
    outcome = await api.store.submit(Txn((Put(Key(*insight.key), encode_value(insight)),)))
    assert await api.worker.live.wait_for(outcome.index, 60.0)
    ran = await cli("inspect", "dataplane", "web", "--type", "status", api=api)
    assert ran.status == 0, ran.err
    assert "no such filter" in ran.out
