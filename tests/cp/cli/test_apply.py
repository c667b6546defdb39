"""apply and plan: from files, directories, URLs and pipes; dry runs, and pruning by label."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from cp.cli.plan import CHANGES
from cp.cli.prune import labels_of
from cp.limits import TRANSACTION_DOCUMENTS_MAX
from tests.cp.cli.conftest import Cli, Host
from tests.cp.conftest import Api

WEB = """type: Dataplane
mesh: default
name: web
networking:
  address: 10.0.0.1
  inbound: [{port: 8080, tags: {kuma.io/service: web}}]
  outbound: [{port: 10001, tags: {kuma.io/service: web}}]
"""


def timeout(name: str, seconds: int = 7, **labels: str) -> str:
    to = {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": f"{seconds}s"}}
    spec = {"targetRef": {"kind": "Mesh"}, "to": [to]}
    document: dict[str, Any] = {"type": "MeshTimeout", "mesh": "default", "name": name, "spec": spec}
    return yaml.safe_dump(document | ({"labels": labels} if labels else {}))


def write(path: Path, *documents: str) -> str:
    path.write_text("---\n".join(documents))
    return str(path)


async def names(api: Api) -> list[str]:
    return [item["name"] for item in (await api.get("/meshtimeouts")).json["items"]]


# --- where documents come from ------------------------------------------------------------


async def test_from_a_url_with_variables(api: Api, cli: Cli, host: Host) -> None:
    async def serve(request: web.Request) -> web.Response:
        if request.path != "/mesh.yaml":
            raise web.HTTPNotFound
        return web.Response(text="type: Mesh\nname: '{{ who }}'\n---\ntype: Mesh\nname: '{{ other }}'\n")

    url = await host(serve)
    ran = await cli("apply", "-f", f"{url}/mesh.yaml", "-v", "who=one,other=two", api=api)
    assert ran.out == (
        'resource type="Mesh" mesh="" name="one" Created\nresource type="Mesh" mesh="" name="two" Created\n'
    ), ran.err
    ran = await cli("apply", "-f", f"{url}/nothing.yaml", api=api)
    assert (ran.status, ran.err) == (1, f"Error: error while retrieving {url}/nothing.yaml: status 404\n")
    ran = await cli("apply", "-f", "http://127.0.0.1:1/mesh.yaml", api=api)
    assert ran.err.startswith("Error: error while retrieving http://127.0.0.1:1/mesh.yaml: ")


async def test_from_standard_input(api: Api) -> None:
    command = [sys.executable, "-m", "cp.cli", "apply", "-f", "-", "--cp-address", api.base]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(b"type: Mesh\nname: piped\n")
    assert out.decode() == 'resource type="Mesh" mesh="" name="piped" Created\n'


async def test_an_empty_directory_is_named(api: Api, cli: Cli, tmp_path: Path) -> None:
    ran = await cli("apply", "-f", str(tmp_path), api=api)
    assert "no *.yaml or *.yml file in this directory" in ran.err


# --- several addresses --------------------------------------------------------------------


async def test_a_dead_address_is_passed_over(api: Api, cli: Cli) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ran = await cli("get", "meshes", "--cp-address", dead, api=api)
        assert (ran.status, ran.out.split()[0]) == (0, "NAME"), ran.err
        ran = await cli("get", "meshes", "--cp-address", dead)
        assert ran.err.startswith(f"Error: no control plane could be reached: {dead}: ")


# --- dry runs -----------------------------------------------------------------------------


async def test_a_dry_run_is_yaml_with_the_plan_in_comments(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    await cli("apply", "-f", write(tmp_path / "1.yaml", WEB, timeout("a")), api=api)
    both = write(tmp_path / "2.yaml", timeout("a", 8), timeout("b"))
    ran = await cli("apply", "--dry-run", "-f", both, api=api)
    assert [document["name"] for document in yaml.safe_load_all(ran.out)] == ["a", "b"]
    comments = [line for line in ran.out.splitlines() if line.startswith("#")]
    assert comments[:3] == [
        '# update MeshTimeout "a" in mesh "default"',
        '#     ~ spec.to[0].default.connectionTimeout: "7s" -> "8s"',
        '# create MeshTimeout "b" in mesh "default"',
    ]
    assert comments[3:] == ["# 1 proxy would change:", "#     default/web: ~ Cluster web"]
    assert await names(api) == ["a"]


async def test_without_a_control_plane_a_dry_run_still_shows_the_documents(cli: Cli, tmp_path: Path) -> None:
    ran = await cli(
        "apply", "--dry-run", "-f", write(tmp_path / "a", timeout("a")), "--cp-address", "http://127.0.0.1:1"
    )
    assert (ran.status, yaml.safe_load(ran.out)["name"]) == (0, "a")
    assert ran.err.startswith("Warning: what would change is not known")


async def test_plan_tells_scripts_by_its_exit_status(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    file = write(tmp_path / "a.yaml", timeout("a"))
    assert (await cli("plan", "-f", file, "--exit-code", api=api)).status == CHANGES
    await cli("apply", "-f", file, api=api)
    ran = await cli("plan", "-f", file, "--exit-code", api=api)
    assert (ran.status, ran.out) == (0, 'keep MeshTimeout "a" in mesh "default"\n')


async def test_more_than_a_transaction_takes_goes_in_batches_when_asked(
    api: Api, cli: Cli, tmp_path: Path
) -> None:
    count = TRANSACTION_DOCUMENTS_MAX + 1
    file = write(
        tmp_path / "m",
        *(f"{{type: Mesh, name: m{n}, skipCreatingInitialPolicies: ['*']}}\n" for n in range(count)),
    )
    ran = await cli("apply", "-f", file, api=api)
    assert (ran.status, f"{count} documents; one transaction takes 1000" in ran.err) == (1, True)
    ran = await cli("apply", "-f", file, "--in-batches", api=api)
    assert ran.out.count("Created") == count, ran.err
    events = (await api.get("/history?type=Mesh&size=1000")).json["items"]
    assert len({event["index"] for event in events}) == 2


# --- pruning ------------------------------------------------------------------------------


async def test_what_the_set_no_longer_names_goes_in_the_same_transaction(
    api: Api, cli: Cli, tmp_path: Path
) -> None:
    await api.mesh()
    first = [timeout("a", team="x"), timeout("b", team="x"), timeout("c", team="y"), timeout("d")]
    await cli("apply", "-f", write(tmp_path / "1.yaml", *first), api=api)
    second = write(tmp_path / "2.yaml", timeout("a", team="x"), timeout("e", team="x"))
    before = api.worker.live.index
    prune = ("apply", "--prune", "-l", "team=x", "-f", second)
    dry = await cli(*prune, "--dry-run", api=api)
    assert '# delete MeshTimeout "b" in mesh "default"\n' in dry.out
    assert await names(api) == ["a", "b", "c", "d"]
    ran = await cli(*prune, api=api)
    assert ran.out == (
        'to be pruned: type="MeshTimeout" mesh="default" name="b"\n'
        'resource type="MeshTimeout" mesh="default" name="a" Updated\n'
        'resource type="MeshTimeout" mesh="default" name="e" Created\n'
        'resource type="MeshTimeout" mesh="default" name="b" Deleted\n'
    ), ran.err
    assert await names(api) == ["a", "c", "d", "e"]
    events = (await api.get(f"/history?since={before}&type=MeshTimeout")).json["items"]
    assert len({event["index"] for event in events}) == 1


async def test_a_mesh_goes_after_what_is_in_it(api: Api, cli: Cli, tmp_path: Path) -> None:
    mesh = "type: Mesh\nname: {}\nskipCreatingInitialPolicies: ['*']\nlabels: {{team: x}}\n"
    inside = timeout("a", team="x").replace("mesh: default", "mesh: old")
    await cli("apply", "-f", write(tmp_path / "1", mesh.format("old"), inside), api=api)
    ran = await cli(
        "apply", "--prune", "-l", "team=x", "-f", write(tmp_path / "2", mesh.format("new")), api=api
    )
    assert ran.out.splitlines()[-2:] == [
        'resource type="MeshTimeout" mesh="old" name="a" Deleted',
        'resource type="Mesh" mesh="" name="old" Deleted',
    ], ran.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--prune"], "--prune needs -l label=value"),
        (["--prune", "-l", "team"], "-l 'team': must be label=value"),
        (["--prune", "-l", "team=y"], 'MeshTimeout "a" has not the labels team=y of --prune'),
        (["-l", "team=x"], "-l goes with --prune"),
    ],
)
async def test_pruning_without_a_set_is_refused(
    api: Api, cli: Cli, tmp_path: Path, flags: list[str], said: str
) -> None:
    await api.mesh()
    ran = await cli("apply", "-f", write(tmp_path / "a", timeout("a", team="x")), *flags, api=api)
    assert (ran.status, said in ran.err) == (1, True), ran.err
    assert await names(api) == []


def test_labels_of_a_selector() -> None:
    assert labels_of(["a=1,b=2", "c=3"]) == {"a": "1", "b": "2", "c": "3"}
