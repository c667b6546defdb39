"""The completion script, in a real shell."""

from __future__ import annotations

import subprocess

from tests.cp.cli.conftest import Cli


async def test_bash_completes_commands_and_kinds(cli: Cli) -> None:
    script = (await cli("completion", "bash")).out
    for words, expected in (("(raftmesh roll)", "rollback"), ("(raftmesh get meshtimeo)", "meshtimeout")):
        ask = f"{script}\nCOMP_WORDS={words}; COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _raftmesh; echo ${{COMPREPLY[0]}}"
        ran = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=10, check=True)
        assert ran.stdout == expected + "\n"
