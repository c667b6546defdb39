"""Going back: to an index or a time, of one resource, a kind, a mesh, a label, or everything."""

from __future__ import annotations

import pytest

from raftstore.memory import MemoryStore
from tests.cp.cli.conftest import Cli
from tests.cp.conftest import Api, ApiFactory
from tests.cp.test_api_dryrun import proxy, timeout
from tests.cp.test_api_past import NOON, Clock, seconds_of

T1 = "/meshes/default/meshtimeouts/t1"
T2 = "/meshes/default/meshtimeouts/t2"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def changed(make_api: ApiFactory, clock: Clock) -> Api:
    """At noon: t1 of 1s. A minute later: t1 of 2s, t2, a retry, a proxy, a secret and the mesh `new`."""
    api = await make_api(MemoryStore(clock_ms=clock))
    await api.mesh()
    await api.put(T1, timeout(1))
    clock.now_ms = NOON + 60_000
    await api.put(T1, timeout(2))
    await api.put(T2, timeout(3) | {"name": "t2", "labels": {"team": "x"}})
    await api.put("/meshes/default/dataplanes/dp", proxy("dp", "web"))
    secret = {"type": "Secret", "mesh": "default", "name": "s", "data": "dGVzdAo="}
    await api.put("/meshes/default/secrets/s", secret)
    await api.mesh("new")
    return api


NOON_TEXT = "2023-11-14T22:13:20Z"


async def test_everything_but_what_must_be_named(changed: Api, cli: Cli) -> None:
    ran = await cli("rollback", "--all", "--to", NOON_TEXT, api=changed)
    assert ran.out.endswith("nothing is written yet; repeat with --yes\n"), ran.err
    assert '    ~ spec.to[0].default.connectionTimeout: "2s" -> "1s"\n' in ran.out
    assert "delete Mesh" in ran.out
    ran = await cli("rollback", "--all", "--to", NOON_TEXT, "--yes", "--reason", "too much", api=changed)
    assert ran.out.endswith("3 written back\n"), ran.err
    assert seconds_of((await changed.get(T1)).json) == "1s"
    assert (await changed.get(T2)).status == 404
    assert (await changed.get("/meshes/new")).status == 404
    assert (await changed.get("/meshes/default/dataplanes/dp")).status == 200
    assert (await changed.get("/meshes/default/secrets/s")).status == 200
    newest = (await changed.get("/history?size=3")).json["items"]
    assert {event["reason"] for event in newest} == {"too much"}
    assert "nothing to do" in (await cli("rollback", "--all", "--to", NOON_TEXT, api=changed)).out


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (["meshtimeout", "t1"], 1),
        (["meshtimeouts"], 2),
        (["meshtimeouts", "-l", "team=x"], 1),
        (["--mesh", "default"], 2),
        (["--mesh", "new"], 1),
        (["-l", "team=x"], 1),
        (["secrets"], 1),
        (["dataplane", "dp"], 1),
    ],
)
async def test_selections(changed: Api, cli: Cli, selection: list[str], count: int) -> None:
    ran = await cli("rollback", *selection, "--to", NOON_TEXT, "--yes", api=changed)
    assert ran.out.endswith(f"{count} written back\n"), ran.out + ran.err
    assert (await changed.get("/history?size=1")).json["items"][0]["reason"] == f"rollback to {NOON_TEXT}"


async def test_a_mesh_comes_back_with_what_was_in_it(changed: Api, cli: Cli) -> None:
    before = str(changed.worker.live.index)
    await changed.delete("/meshes/default/dataplanes/dp")
    assert (await changed.delete("/meshes/default")).status == 200
    ran = await cli("rollback", "--mesh", "default", "--to", before, "--yes", api=changed)
    assert ran.out.endswith("3 written back\n"), ran.out + ran.err
    assert (await changed.get(T2)).json["labels"]["team"] == "x"


async def test_history_is_never_rewritten(changed: Api, cli: Cli) -> None:
    told = (await changed.get("/history?type=MeshTimeout")).json["items"]
    await cli("rollback", "meshtimeouts", "--to", NOON_TEXT, "--yes", api=changed)
    assert (await changed.get("/history?type=MeshTimeout")).json["items"][2:] == told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "1"], "name what to roll back"),
        (["mesh", "nope", "--to", "1"], 'there was no Mesh with name "nope" then'),
        (["meshes", "--to", "2999-01-01T00:00:00Z"], "lies in the future"),
        (["nothing", "--to", "1"], "unknown TYPE: nothing. Allowed values: "),
    ],
)
async def test_what_cannot_be_done(changed: Api, cli: Cli, arguments: list[str], said: str) -> None:
    ran = await cli("rollback", *arguments, api=changed)
    assert (ran.status, said in ran.err) == (1, True), ran.err
