"""migrate kuma: from a served API into another, and from servers that answer oddly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from cp.cli.batches import batches
from cp.cli.migrate import INCOMPLETE
from tests.cp.cli.conftest import Cli, Host
from tests.cp.cli.test_export import DOCUMENTS
from tests.cp.conftest import Api, ApiFactory
from tests.cp.test_api_dryrun import timeout


@pytest.fixture
async def source(make_api: ApiFactory) -> Api:
    api = await make_api(KUMA_MULTIZONE_ZONE_NAME="east")
    answer = await api.call("POST", "/transactions", DOCUMENTS)
    assert answer.status == 200, answer.text
    return api


@pytest.fixture
async def target(make_api: ApiFactory) -> Api:
    return await make_api(KUMA_MULTIZONE_ZONE_NAME="west")


async def everything(api: Api) -> dict[tuple[str, ...], Any]:
    """Spec by key, of all that a person or Kuma wrote; without what each control plane makes for itself."""
    found: dict[tuple[str, ...], Any] = {}
    for kind in (await api.get("/_resources")).json["resources"]:
        if kind["readOnly"]:
            continue
        for item in (await api.get(f"/{kind['path']}?size=1000")).json["items"]:
            spec = {
                k: v
                for k, v in item.items()
                if k not in ("creationTime", "modificationTime", "labels", "kri")
            }
            for computed in ("skipCreatingInitialPolicies", "snis", "status"):
                spec.pop(computed, None)
            found[item["type"], item.get("mesh", ""), item["name"]] = spec
    found.pop(("GlobalSecret", "", "envoy-admin-ca"), None)
    return found


async def test_plan_write_report_and_again(source: Api, target: Api, cli: Cli) -> None:
    command = ("migrate", "kuma", "--address", source.base)
    planned = await cli(*command, api=target)
    assert planned.status == 0, planned.err
    assert planned.out.endswith("nothing is written yet; repeat with --yes\n")
    assert "stays behind: GlobalSecret envoy-admin-ca: each control plane has its own\n" in planned.out
    assert "the keys of user tokens are written last" in planned.out
    assert await everything(target) == {}
    done = await cli(*command, "--yes", api=target)
    assert done.status == 0, done.out + done.err
    assert "looked again: everything that was written is here" in done.out
    assert await everything(target) == await everything(source)
    label = (await target.get("/meshes/default/meshtimeouts/t1")).json["labels"]
    assert (label["team"], label["kuma.io/zone"]) == ("x", "west")
    event = (await target.get("/history?name=t1")).json["items"][0]
    assert event["reason"] == f"migrated from {source.base}"
    again = await cli(*command, "--yes", api=target)
    assert again.out.endswith("nothing to write\n"), again.out


async def test_what_changed_since_is_shown_and_copied(source: Api, target: Api, cli: Cli) -> None:
    command = ("migrate", "kuma", "--address", source.base, "--yes")
    await cli(*command, api=target)
    await source.put("/meshes/default/meshtimeouts/t1", timeout(9) | {"labels": {"team": "x"}})
    await target.put("/meshes/default/meshtimeouts/t2", timeout(5) | {"name": "t2"})
    again = await cli(*command, api=target)
    assert '    ~ spec.to[0].default.connectionTimeout: "3s" -> "9s"\n' in again.out
    assert "only here, in force, and kept: MeshTimeout default/t2\n" in again.out
    assert "report: 1 written in 1 transactions" in again.out


async def test_what_was_deleted_there_does_not_come_here(source: Api, target: Api, cli: Cli) -> None:
    gone = "/meshes/default/meshretries/mesh-retry-all-default"
    assert (await source.delete(gone)).status == 200
    await cli("migrate", "kuma", "--address", source.base, "--yes", api=target)
    assert (await target.get(gone)).status == 404
    assert (await target.get("/meshes/default/meshtimeouts/t1")).status == 200


async def test_a_global_is_no_place_for_a_zone(source: Api, make_api: ApiFactory, cli: Cli) -> None:
    above = await make_api(KUMA_MODE="global")
    ran = await cli("migrate", "kuma", "--address", source.base, api=above)
    assert (ran.status, "the source is a zone control plane and this is a global one" in ran.err) == (1, True)


# --- odd answers --------------------------------------------------------------------------

Serve = Callable[..., Awaitable[str]]


def _path(kind: str) -> str:
    return "meshes" if kind == "Mesh" else f"{kind.lower()}s"


@pytest.fixture
def serve(host: Host) -> Serve:
    """A control plane that answers what the test says, and an empty list for every other kind."""

    async def start(index: Any = None, mode: str = "zone", **lists: Any) -> str:
        served = [{"name": name, "path": _path(name), "readOnly": False} for name in lists]
        answers = {
            "/": {"product": "Kuma", "version": "2.9.1"} if index is None else index,
            "/config": {"mode": mode, "multizone": {"zone": {"name": "z"}}},
            "/_resources": {"resources": served},
        } | {f"/{_path(name)}": body for name, body in lists.items()}

        async def answer(request: web.Request) -> web.StreamResponse:
            body = answers.get(request.path)
            if callable(body):
                body = body(request)
            if isinstance(body, int) or body is None:
                status = body or 404
                return web.json_response({"title": "No", "status": status}, status=status)
            if isinstance(body, str):
                return web.Response(text=body, content_type="text/html")
            if isinstance(body, list):
                body = {"total": len(body), "items": body, "next": None}
            return web.json_response(body)

        return await host(answer)

    return start


MESH = {"type": "Mesh", "name": "m"}


async def test_legacy_kinds_and_faults_are_named_and_the_rest_is_copied(
    target: Api, serve: Serve, cli: Cli
) -> None:
    bad = {"type": "MeshTimeout", "mesh": "m", "name": "bad", "spec": {"targetRef": {"kind": "Nothing"}}}
    good = timeout(4) | {"mesh": "m"}
    address = await serve(
        Mesh=[MESH], TrafficRoute=[{"type": "TrafficRoute", "name": "r"}], MeshTimeout=[bad, good], Secret=403
    )
    ran = await cli("migrate", "kuma", "--address", address, "--yes", api=target)
    assert ran.status == INCOMPLETE, ran.err
    assert "cannot be copied: 1 TrafficRoute: a kind that this control plane does not have" in ran.out
    assert "cannot be copied: Secret: may not be read; an administrator's --token can" in ran.out
    assert "cannot be copied: MeshTimeout m/bad: " in ran.out
    assert "1 could not be copied" in ran.out
    assert (await target.get("/meshes/m/meshtimeouts/t1")).status == 200
    assert (await target.get("/meshes/m/meshtimeouts/bad")).status == 404


async def test_what_zones_own_stays_with_the_zones(make_api: ApiFactory, serve: Serve, cli: Cli) -> None:
    above = await make_api(KUMA_MODE="global")
    theirs = timeout(4) | {"mesh": "m", "labels": {"kuma.io/origin": "zone", "kuma.io/zone": "east"}}
    ours = timeout(4) | {"mesh": "m", "name": "ours", "labels": {"kuma.io/origin": "global"}}
    address = await serve(mode="global", Mesh=[MESH], MeshTimeout=[theirs, ours])
    ran = await cli("migrate", "kuma", "--address", address, "--yes", api=above)
    assert ran.status == 0, ran.err
    assert "stays behind: MeshTimeout m/t1: belongs to a zone, and comes from there\n" in ran.out
    items = (await above.get("/meshes/m/meshtimeouts")).json["items"]
    assert [item["name"] for item in items] == ["ours"]


async def test_pages_are_followed(target: Api, serve: Serve, cli: Cli) -> None:
    def page(request: web.Request) -> Any:
        offset = int(request.query["offset"])
        following = f"http://elsewhere/meshes?offset={offset + 1}&size=1" if offset < 2 else None
        return {"total": 3, "items": [MESH | {"name": f"m{offset}"}], "next": following}

    ran = await cli("migrate", "kuma", "--address", await serve(Mesh=page), "--yes", api=target)
    assert ran.status == 0, ran.err
    assert [item["name"] for item in (await target.get("/meshes")).json["items"]] == ["m0", "m1", "m2"]


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"index": "<html>"}, "the source answers, but not as a control plane"),
        ({"Mesh": "<html>"}, "/meshes: the answer is no list of resources"),
        ({"Mesh": {"items": ["m"]}}, "/meshes: the answer is no list of resources"),
        ({"Mesh": {"items": [MESH], "next": "http://x/meshes?offset=0"}}, "the next page does not follow"),
        ({"Mesh": {"items": [MESH], "next": "http://x/meshes"}}, "the next page does not follow"),
        ({"Mesh": 500}, "the source cannot be read: No"),
    ],
)
async def test_answers_that_make_no_sense_end_it(
    target: Api, serve: Serve, cli: Cli, lists: dict[str, Any], said: str
) -> None:
    ran = await cli("migrate", "kuma", "--address", await serve(**lists), "--yes", api=target)
    assert (ran.status, said in ran.err) == (1, True), ran.err
    assert (await target.get("/meshes")).json["total"] == 0


async def test_an_address_where_nobody_is(target: Api, cli: Cli) -> None:
    ran = await cli("migrate", "kuma", "--address", "http://127.0.0.1:1", api=target)
    assert ran.err.startswith("Error: no control plane could be reached: http://127.0.0.1:1: ")


def test_batches_keep_the_order_within_both_limits() -> None:
    operations = [{"op": "put", "n": "x" * n} for n in range(10)]
    by_count = list(batches(operations, count_max=4))
    assert [len(batch) for batch in by_count] == [4, 4, 2]
    assert [each for batch in by_count for each in batch] == operations
    assert next(len(batch) for batch in batches(operations, bytes_max=60)) == 3  # 19, 20 and 21
    assert list(batches([])) == []
