"""The completion script: in a real bash, and what the scripts of all shells are made of."""

from __future__ import annotations

import subprocess

import pytest

from cp.cli import COMMANDS, build_parser
from cp.cli.completion import fish, places
from tests.cp.cli.conftest import Cli

ASKED = (
    ("raftmesh roll", "rollback"),
    ("raftmesh get meshtimeo", "meshtimeout meshtimeouts"),
    ("raftmesh -m", ""),
    ("raftmesh config control-planes re", "remove"),
    ("raftmesh config control-planes add --ca", "--ca-cert-file"),
    ("raftmesh get -m some --si", "--size"),
    ("raftmesh inspect zonein", "zoneingress zoneingresses"),
    ("raftmesh completion f", "fish"),
    ("raftmesh apply -f ./", ""),
)


async def test_bash_completes_commands_kinds_and_flags(cli: Cli) -> None:
    script = (await cli("completion", "bash")).out
    for line, _ in ASKED:
        script += (
            f'\nCOMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}; _raftmesh; echo "${{COMPREPLY[*]}}"'
        )
    ran = subprocess.run(["bash", "-u"], input=script, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [expected for _, expected in ASKED]


def test_every_command_is_a_place_and_has_its_flags() -> None:
    found = {place.path: place for place in places(build_parser())}
    assert {path[0] for path in found if path} == {name for name, _ in COMMANDS}
    assert set(found[()].words) == {name for name, _ in COMMANDS}
    assert "--reason" in found[("apply",)].flags
    assert {"meshes", "mesh"} <= set(found[("get",)].words)


def test_fish_has_a_line_for_each_flag_and_for_the_words_of_each_place() -> None:
    found = list(places(build_parser("version")))
    lines = fish(found).splitlines()
    assert "complete -c raftmesh -n '__raftmesh_at \" version\"' -l detailed" in lines
    assert 'complete -c raftmesh -n \'__raftmesh_at ""\' -f -a "version"' in lines


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_get_a_script_of_their_own(cli: Cli, shell: str) -> None:
    begin = {"zsh": "(( $+functions[compdef] ))", "fish": "function __raftmesh_at"}
    assert (await cli("completion", shell)).out.startswith(begin[shell])
