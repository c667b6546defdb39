"""The past by time, and the audit log: who, when, what, why, through which replica; as pages and as lines."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from raftstore.memory import MemoryStore
from tests.cp.conftest import Api, ApiFactory
from tests.cp.test_api_crud import T1, TIMEOUT
from tests.cp.test_api_watch import watching

NOON = 1_700_000_000_000  # 2023-11-14T22:13:20Z


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOON

    def __call__(self) -> int:
        return self.now_ms


def timeout(seconds: int) -> dict[str, Any]:
    to = {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": f"{seconds}s"}}
    return TIMEOUT | {"spec": {"targetRef": {"kind": "Mesh"}, "to": [to]}}


def seconds_of(document: Any) -> str:
    return str(document["spec"]["to"][0]["default"]["connectionTimeout"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(make_api: ApiFactory, clock: Clock) -> Api:
    """t1 is 1s at 22:13:20, 2s ten seconds later, 3s after another ten, by a clock that went back."""
    api = await make_api(MemoryStore(clock_ms=clock))
    await api.mesh()
    for seconds, now_ms in ((1, NOON), (2, NOON + 10_000), (3, NOON + 20_000)):
        clock.now_ms = now_ms
        await api.put(T1, timeout(seconds))
    return api


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("2023-11-14T22:13:20Z", "1s"),
        ("2023-11-14T22:13:29.999Z", "1s"),
        ("2023-11-14T22:13:30Z", "2s"),
        ("2023-11-14T23:13:30%2B01:00", "2s"),
        ("2023-11-14T23:13:30+01:00", "2s"),  # not escaped: the server reads a space
        ("2024-01-01T00:00:00Z", "3s"),
    ],
)
async def test_as_it_was_at_a_time(timed: Api, at: str, found: str) -> None:
    answer = await timed.get(f"{T1}?at={at}")
    assert answer.status == 200, answer.text
    assert seconds_of(answer.json) == found


async def test_before_everything_there_was_nothing(timed: Api) -> None:
    assert (await timed.get("/meshes?at=2001-01-01T00:00:00Z")).json["total"] == 0


async def test_a_clock_that_goes_back_does_not_turn_the_order(timed: Api, clock: Clock) -> None:
    clock.now_ms = NOON + 5_000
    await timed.put(T1, timeout(4))
    assert seconds_of((await timed.get(f"{T1}?at=2023-11-14T22:13:25Z")).json) == "1s"
    assert seconds_of((await timed.get(f"{T1}?at=2023-11-14T22:13:40Z")).json) == "4s"


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("2999-01-01T00:00:00Z", "2999-01-01T00:00:00Z lies in the future"),
        ("2023-11-14", "'2023-11-14' is neither a log index nor a time such as 2026-01-31T09:30:00Z"),
        ("2023-11-14T22:13:20", "'2023-11-14T22:13:20' is neither a log index"),
        ("noon", "'noon' is neither"),
        ("", "'' is neither"),
    ],
)
async def test_times_that_are_none(timed: Api, at: str, reason: str) -> None:
    answer = await timed.get(f"/meshes?at={at}")
    assert answer.status == 400
    assert answer.json["invalid_parameters"][0]["field"] == "at"
    assert answer.json["invalid_parameters"][0]["reason"].startswith(reason)


async def test_a_worker_that_restarts_knows_the_past(timed: Api, make_api: ApiFactory) -> None:
    later = await make_api(timed.store)
    assert seconds_of((await later.get(f"{T1}?at=2023-11-14T22:13:30Z")).json) == "2s"
    told, known = [(await api.get("/history?format=jsonl")).text for api in (later, timed)]
    assert told == known


async def test_a_time_before_what_is_kept_is_gone(timed: Api, make_api: ApiFactory) -> None:
    timed.store.events.compact(3)
    later = await make_api(timed.store)
    for what in ("at=2023-11-14T22:13:29Z", "at=1"):
        answer = await later.get(f"/meshes?{what}")
        assert (answer.status, answer.json["title"]) == (410, "Compacted")
        assert answer.json["firstIndex"] == later.worker.live.history.base_index


@pytest.mark.parametrize(
    "path",
    [
        "/meshes",
        "/meshes/default",
        T1,
        "/meshtimeouts",
        "/global-insights",
        "/global-insight",
        "/_kri/kri_mt_default___t1_",
        "/meshes/default/dataplanes/_overview",
        "/meshes/default/service-insights",
        "/history",
    ],
)
async def test_every_read_takes_a_time(timed: Api, path: str) -> None:
    answer = await timed.get(f"{path}?at=2023-11-14T22:13:30Z")
    assert answer.index == 3, answer.text
    assert (await timed.get(f"{path}?at=then")).status == 400


async def test_a_watch_begins_in_the_past_by_since_alone(timed: Api) -> None:
    assert (await timed.get("/meshes?watch=true&at=1")).status == 400
    async with watching(timed, f"{T1}?watch=true&since=2023-11-14T22:13:20Z") as stream:
        assert seconds_of((await stream.next())[2]["events"][0]["resource"]) == "2s"


# --- the audit log ------------------------------------------------------------------------


async def test_what_changed_is_told_by_field(timed: Api) -> None:
    await timed.delete(T1)
    items = (await timed.get("/history?include=changes&name=t1")).json["items"]
    field = "spec.to[0].default.connectionTimeout"
    assert items[1]["changes"] == [{"op": "replace", "path": field, "before": "2s", "after": "3s"}]
    assert {change["op"] for change in items[0]["changes"]} == {"remove"}
    assert {change["op"] for change in items[3]["changes"]} == {"add"}


async def test_secrets_change_unseen(api: Api) -> None:
    await api.mesh()
    path, secret = "/meshes/default/secrets/s", {"type": "Secret", "mesh": "default", "name": "s"}
    for data in ("Zmlyc3QK", "c2Vjb25kCg=="):
        await api.put(path, secret | {"data": data})
    changes = (await api.get("/history?include=changes&name=s")).json["items"][0]["changes"]
    assert changes == [{"op": "replace", "path": "data", "before": "(hidden)", "after": "(hidden)"}]
    for form in ("json", "jsonl"):
        told = (await api.get(f"/history?format={form}&name=s")).text
        assert "(hidden)" in told and "Zmlyc3QK" not in told
    stranger = await api.get("/history?include=changes&name=s", headers={"X-Forwarded-For": "10.0.0.1"})
    assert "changes" not in stranger.json["items"][0]
    assert "resource" not in stranger.json["items"][0]


def lines(text: str) -> list[Any]:
    return [orjson.loads(line) for line in text.splitlines()]


async def test_the_export_is_every_event_once_oldest_first(timed: Api) -> None:
    answer = await timed.get("/history?format=jsonl&include=changes")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["X-Raftmesh-Oldest-Index"] == "0"
    events = lines(answer.text)
    assert [event["index"] for event in events] == [1, 2, 3, 4]
    assert {"actor", "requestId", "via", "reason", "time", "changes", "resource"} <= set(events[3])
    assert events[3]["actor"] == "mesh-system:admin"
    assert events[3]["via"] != ""
    assert [e["index"] for e in lines((await timed.get("/history?format=jsonl&since=3")).text)] == [4]
    assert [e["index"] for e in lines((await timed.get("/history?format=jsonl&until=2")).text)] == [1, 2]
    assert [e["type"] for e in lines((await timed.get("/history?format=jsonl&type=Mesh")).text)] == ["Mesh"]


async def test_an_export_with_a_gap_is_refused(timed: Api, make_api: ApiFactory) -> None:
    timed.store.events.compact(3)
    later = await make_api(timed.store)
    assert (await later.get("/history?format=jsonl&since=1")).status == 410
    assert [event["index"] for event in lines((await later.get("/history?format=jsonl")).text)] == [4]


async def test_a_mesh_has_a_history_and_a_watch_of_its_own(timed: Api) -> None:
    await timed.mesh("other")
    found = (await timed.get("/history?mesh=other")).json["items"]
    assert [(e["type"], e["name"]) for e in found] == [("Mesh", "other")]
    start = timed.worker.live.index
    async with watching(timed, f"/history?watch=true&since={start}&mesh=default&include=changes") as stream:
        await timed.delete("/meshes/other")
        await timed.put(T1, timeout(9))
        event = (await stream.next())[2]["events"][0]
        assert (event["name"], event["changes"][0]["after"]) == ("t1", "9s")


@pytest.mark.parametrize("query", ["format=xml", "include=everything", "type=Nothing", "since=x"])
async def test_questions_that_are_none(timed: Api, query: str) -> None:
    assert (await timed.get(f"/history?{query}")).status == 400


async def test_a_token_user_is_named_with_reason_and_request(make_api: ApiFactory) -> None:
    api = await make_api(RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER="true")
    while api.worker.live.view.get("GlobalSecret", "", "user-token-signing-key-1") is None:
        assert await api.worker.live.wait_for(api.worker.live.index + 1, 60.0)  # made in the background
    issued = await api.call("POST", "/tokens/user", {"name": "jane", "validFor": "1h"})
    headers = {
        "Authorization": f"Bearer {issued.text}",
        "X-Raftmesh-Reason": "as asked in 4711",
        "X-Raftmesh-Request-Id": "r-1",
    }
    body = {"type": "Mesh", "name": "hers", "skipCreatingInitialPolicies": ["*"]}
    assert (await api.put("/meshes/hers", body, headers=headers)).status == 201
    event = (await api.get("/history?name=hers")).json["items"][0]
    told = (event["actor"], event["reason"], event["requestId"])
    assert told == ("jane", "as asked in 4711", "r-1")
