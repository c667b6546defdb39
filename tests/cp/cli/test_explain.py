"""`raftmesh explain` as a person sees it."""

from __future__ import annotations

import orjson

from tests.cp.cli.conftest import Cli
from tests.cp.conftest import Api
from tests.cp.test_api_explain import CLUSTER, put_timeout, with_web


async def test_a_value_its_policy_and_what_was_passed_over(api: Api, cli: Cli) -> None:
    await with_web(api)
    index = await put_timeout(api, "slow", "7s", reason="the database is slow")
    await put_timeout(api, "other", "9s", targetRef={"kind": "Dataplane", "labels": {"app": "db"}})
    ran = await cli("explain", "dataplane", "web", CLUSTER, "connectTimeout", api=api)
    assert ran.status == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == f"Cluster {CLUSTER} /connectTimeout"
    assert lines[1].split() == ["value", "7s"]
    assert f"index {index}" in lines[2]
    assert "put MeshTimeout slow by mesh-system:admin" in lines[2]
    row = next(line for line in lines if line.startswith("MeshTimeout slow"))
    assert "rules[0]" in row
    assert "the database is slow" in row
    assert row.endswith("5s")
    assert any(line.split()[:2] == ["MeshTimeout", "other"] and "labels app=db" in line for line in lines)


async def test_a_resource_and_a_proxy(api: Api, cli: Cli) -> None:
    await with_web(api)
    await put_timeout(api, "slow", "7s")
    ran = await cli("explain", "dataplane", "web", CLUSTER, api=api)
    assert any(
        line.startswith("MeshTimeout slow") and line.endswith("/connectTimeout")
        for line in ran.out.splitlines()
    )
    assert any(
        line.startswith("Dataplane web") and line.endswith("all of it") for line in ran.out.splitlines()
    )
    ran = await cli("explain", "dataplane", "web", api=api)
    assert f"Cluster\n  {CLUSTER}\n" in ran.out
    assert "MeshTimeout slow   8080" in ran.out


async def test_json_is_the_answer_of_the_api(api: Api, cli: Cli) -> None:
    await with_web(api)
    ran = await cli("explain", "dataplane", "web", CLUSTER, "connectTimeout", "-o", "json", api=api)
    assert orjson.loads(ran.out)["value"] == "5s"


async def test_errors_say_what_is_wrong(api: Api, cli: Cli) -> None:
    await with_web(api)
    ran = await cli("explain", "dataplane", "web", "nothing", api=api)
    assert (ran.status, ran.out) == (1, "")
    assert "nothing" in ran.err
