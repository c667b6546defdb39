"""The one-way imports of docs/design.md, and who may import pysyncobj."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("mesh", "raftstore", "xds", "kds", "dp", "cp", "chaos")


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return names


def test_the_contracts_of_one_way_imports_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_engine_imports_pysyncobj() -> None:
    offenders = [
        str(path.relative_to(ROOT))
        for path in modules()
        if any(name.split(".")[0] == "pysyncobj" for name in imported(path))
    ]
    assert offenders == ["raftstore/engine.py"]


def test_nobody_imports_pickle() -> None:
    offenders = [str(path) for path in modules() if imported(path) & {"pickle", "shelve", "marshal", "dill"}]
    assert offenders == []


def test_mesh_is_pure() -> None:
    impure = {"asyncio", "time", "random", "socket", "os", "threading", "subprocess", "aiohttp", "uvloop"}
    offenders = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in sorted((ROOT / "mesh").rglob("*.py"))
        if (found := {name.split(".")[0] for name in imported(path)} & impure)
    }
    assert offenders == {}
