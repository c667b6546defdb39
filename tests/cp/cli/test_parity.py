"""kumactl's habits: flags before the command, messages, exit statuses, several control planes, plain pipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cp.cli import COMMANDS, build_parser, hoisted
from mesh.registry import KINDS
from tests.cp.cli.conftest import Cli
from tests.cp.conftest import Api

KUMACTL = ("apply", "completion", "config", "delete", "export", "generate", "get", "inspect", "version")


def test_every_command_of_kumactl_is_there() -> None:
    assert set(KUMACTL) <= {name for name, _ in COMMANDS}


@pytest.mark.parametrize("command", [name for name, _ in COMMANDS])
def test_every_command_tells_how_it_is_used(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser(command).parse_args([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: raftmesh {command}")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--mesh", "m", "get", "dataplanes"], ["get", "dataplanes", "--mesh", "m"]),
        (["--no-config", "-m", "m", "get", "x"], ["get", "x", "--no-config", "-m", "m"]),
        (["--context=c", "version"], ["version", "--context=c"]),
        (["get", "--mesh", "m", "x"], ["get", "--mesh", "m", "x"]),
        (["--context"], ["--context"]),
        ([], []),
    ],
)
def test_global_flags_may_stand_first(given: list[str], meant: list[str]) -> None:
    assert hoisted(given) == meant


async def test_versions_of_both_ends(api: Api, cli: Cli) -> None:
    ran = await cli("version", api=api)
    assert ran.out.startswith("Client: Kuma 2.14.3\nServer: Kuma 2.14.3\nraftmesh: client ")
    ran = await cli("version", "--cp-address", "http://127.0.0.1:1")
    assert (ran.status, ran.out.count("Server")) == (0, 0)
    assert ran.err.startswith("Unable to connect to control plane: ")


async def test_deleting_as_kumactl_says_it(api: Api, cli: Cli) -> None:
    await api.mesh("demo")
    assert (await cli("delete", "mesh", "demo", api=api)).out == 'deleted Mesh "demo"\n'
    gone = await cli("delete", "mesh", "demo", api=api)
    assert (gone.status, gone.err) == (1, 'Error: there is no Mesh with name "demo"\n')
    unknown = await cli("delete", "thing", "x", api=api)
    assert unknown.err.startswith("Error: unknown TYPE: thing. Allowed values: ")
    allowed = unknown.err.strip().partition("Allowed values: ")[2].split(", ")
    assert allowed == sorted(kind.arg for kind in KINDS.values() if kind.arg)
    assert all(word == word.lower() and " " not in word for word in allowed)


async def test_getting_what_is_not_there(api: Api, cli: Cli) -> None:
    await api.mesh()
    ran = await cli("get", "dataplane", "x", api=api)
    assert ran.err.startswith("Error: No resources found in default mesh")


async def test_faults_are_listed_under_their_title(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    (tmp_path / "x.yaml").write_text(
        "type: MeshTimeout\nmesh: default\nname: Bad_\nspec: {targetRef: {kind: Mesh}}\n"
    )
    ran = await cli("apply", "-f", str(tmp_path / "x.yaml"), api=api)
    title, *faults = ran.err.splitlines()
    assert title.startswith("Error: Could not ") and title.endswith("(Resource is not valid)")
    assert faults and all(line.startswith("* ") for line in faults)


async def test_a_context_with_a_dead_first_address(api: Api, cli: Cli, tmp_path: Path) -> None:
    file = ("--config-file", str(tmp_path / "config"))
    added = await cli(
        *("config", *file, "control-planes", "add", "--name", "prod"),
        *("--address", "http://127.0.0.1:1", "--address", api.base, "--headers", "a=1,b=x=y"),
    )
    assert added.out == 'added Control Plane "prod"\nswitched active Control Plane to "prod"\n', added.err
    listed = await cli("config", *file, "control-planes", "list")
    assert listed.out.split() == ["ACTIVE", "NAME", "ADDRESS", "*", "prod", f"http://127.0.0.1:1,{api.base}"]
    await api.mesh("there")
    ran = await cli(*file, "get", "meshes")
    assert "there" in ran.out, ran.err
    assert "\033" not in ran.out + ran.err
    view = await cli("config", *file, "view")
    assert "value: x=y" in view.out


async def test_what_the_command_does_is_told_when_asked(
    api: Api, cli: Cli, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "cp.cli.client"):
        await cli("get", "meshes", "--cp-address", "http://127.0.0.1:1", "--log-level", "info", api=api)
    assert any("127.0.0.1:1/meshes" in each.message for each in caplog.records)
    assert caplog.records[-1].message == f"GET {api.base}/meshes: status 200"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1: Connection refused\n"),
        ("nonsense", "the address 'nonsense' must be a URL such as http://localhost:5681\n"),
    ],
)
async def test_nobody_there_is_told_in_the_words_of_the_system(cli: Cli, address: str, said: str) -> None:
    for command in (("get", "meshes"), ("watch",), ("cluster", "members")):
        ran = await cli(*command, "--cp-address", address)
        assert (ran.status, ran.err.endswith(said)) == (1, True), ran.err
