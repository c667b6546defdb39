"""`raftmesh lint` judges as the server does, and says so by its exit status."""

from __future__ import annotations

from pathlib import Path

from tests.cp.cli.conftest import Cli


async def test_exit_status_tells_whether_all_is_valid(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("type: Mesh\nname: default\n")
    ran = await cli("lint", "-f", str(file))
    assert (ran.status, ran.out) == (0, "1 checked, 0 invalid, 0 with warnings\n")
    file.write_text("type: Mesh\nname: Bad_!\n---\ntype: Nonsense\nname: x\n---\ntype: Mesh\nname: ok\n")
    ran = await cli("lint", "-f", str(file))
    assert (ran.status, ran.out) == (1, "3 checked, 2 invalid, 1 with warnings\n")
    assert 'resource[0]: Mesh "Bad_!" is not valid\n* name: invalid characters' in ran.err
    assert "Nonsense" in ran.err
    ran = await cli("lint", "-f", "/nowhere")
    assert (ran.status, ran.err) == (1, "Error: error while reading /nowhere: No such file or directory\n")
