"""`raftmesh lint` judges as the server does, and says so by its exit status."""

from __future__ import annotations

from pathlib import Path

import orjson

from tests.cp.cli.conftest import Cli


async def test_exit_status_tells_whether_all_is_valid(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("type: Mesh\nname: default\n")
    ran = await cli("lint", "-f", str(file))
    assert (ran.status, ran.out) == (0, "1 checked, 0 invalid, 0 with warnings\n")
    file.write_text("type: Mesh\nname: Bad_!\n---\ntype: Nonsense\nname: x\n---\ntype: Mesh\nname: ok\n")
    ran = await cli("lint", "-f", str(file))
    assert (ran.status, ran.out) == (1, "3 checked, 2 invalid, 0 with warnings\n")
    assert 'resource[0]: Mesh "Bad_!" is not valid\n* name: invalid characters' in ran.err
    assert "Nonsense" in ran.err
    ran = await cli("lint", "-f", "/nowhere")
    assert (ran.status, ran.err) == (2, "Error: error while reading /nowhere: No such file or directory\n")


POLICY = """type: MeshTimeout
mesh: {mesh}
name: t
labels: {{kuma.io/origin: {origin}}}
spec:
  targetRef: {{kind: Mesh}}
  to: [{{targetRef: {{kind: Mesh}}, default: {{connectionTimeout: 1s}}}}]
"""


async def test_it_judges_by_the_mode_of_the_control_plane(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(POLICY.format(mesh="elsewhere", origin="zone"))
    assert (await cli("lint", "-f", str(file))).status == 0
    ran = await cli("lint", "-f", str(file), "--mode", "global")
    assert (ran.status, "the origin label must be set to 'global'" in ran.err) == (1, True)
    file.write_text("type: DataplaneInsight\nmesh: default\nname: d\n")
    ran = await cli("lint", "-f", str(file))
    assert "cannot be written: DataplaneInsight is written by the control plane alone" in ran.err


async def test_a_mesh_may_stand_after_what_is_in_it_and_twice_is_told(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    policy = POLICY.format(mesh="m", origin="zone")
    file.write_text("---\n".join([policy, "type: Mesh\nname: m\n", policy]))
    ran = await cli("lint", "-f", str(file))
    assert (ran.status, ran.out) == (0, "3 checked, 0 invalid, 1 with warnings\n")
    assert ran.err == "Warning: resource[2]: the same resource as resource[0]; the later one counts\n"
    assert (await cli("lint", "-f", str(file), "--strict")).status == 1


async def test_findings_for_machines(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("type: Mesh\nname: ok\n---\ntype: Mesh\nname: ''\n")
    ran = await cli("lint", "-f", str(file), "-o", "json")
    assert ran.status == 1
    (found,) = orjson.loads(ran.out)
    assert (found["position"], found["type"]) == (1, "Mesh")
    assert found["invalid_parameters"][0]["field"] == "name"
