"""Suite `api`: requests against a control plane that was preloaded, answers compared as JSON.

Each case runs on a control plane of its own zone `default`, cleared and filled through the seam.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.conformance.policy_cases import LEGACY_KINDS, Score, differences, out_of_scope, suite_folder
from tests.conformance.seam import Seam, seam

ACTION = re.compile(r"#(?P<path>/\S*)\s+(?P<status>\d{3})(\s+method=(?P<method>[A-Z]+))?\s*")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")


@dataclass(frozen=True)
class Action:
    method: str
    path: str
    status: int


def actions(text: str) -> list[Action]:
    """The actions in the comment lines at a case's top."""
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if match := ACTION.fullmatch(line):
            found.append(Action(match["method"] or "GET", match["path"], int(match["status"])))
    return found


def normalised(value: Any, address: str) -> Any:
    if isinstance(value, dict):
        return {key: normalised(each, address) for key, each in value.items()}
    if isinstance(value, list):
        return [normalised(each, address) for each in value]
    if isinstance(value, str):
        if TIME.match(value):
            return "0001-01-01T00:00:00Z"
        return value.replace(address, "{{address}}")
    return value


def beside(case: Path, suffix: str, number: int, only: bool) -> Path:
    stem = case.name.removesuffix(".input.yaml")
    numbered = case.with_name(f"{stem}_{number:02d}.{suffix}.json")
    return case.with_name(f"{stem}.{suffix}.json") if only and not numbered.exists() else numbered


async def failure(seam: Seam, session: aiohttp.ClientSession, case: Path) -> str:
    """Why a case fails; "" when it passes."""
    await seam.reset(case)
    todo = actions(case.read_text())
    for number, action in enumerate(todo):
        body_file = beside(case, "request", number, len(todo) == 1)
        body = body_file.read_bytes() if body_file.exists() else None
        headers = {"Content-Type": "application/json"} if body else {}
        async with session.request(
            action.method, seam.base + action.path, data=body, headers=headers
        ) as response:
            text = await response.text()
            if response.status != action.status:
                return f"{action.method} {action.path}: {response.status} for {action.status}: {text[:300]}"
        golden = beside(case, "golden", number, len(todo) == 1)
        if golden.exists():
            got = normalised(json.loads(text), seam.address)
            wanted = normalised(json.loads(golden.read_text()), seam.address)
            if got != wanted:
                return f"{action.method} {action.path}:\n" + "\n".join(differences(got, wanted))
    return ""


async def run(suite: str, folder: Path, **environ: str) -> None:
    """Run all cases of a folder and print the score."""
    score = Score(suite)
    async with seam(**environ) as opened, aiohttp.ClientSession() as session:
        for case in sorted(folder.rglob("*.input.yaml")):
            if kind := out_of_scope([case]) or _legacy_path(case):
                score.skip(kind)
                continue
            got = await failure(opened, session, case)
            score.check(str(case.relative_to(folder)), got, "")
    score.finish()


def _legacy_path(case: Path) -> str:
    """The legacy kind whose path a case asks for, empty when there is none."""
    plurals = {f"{kind.lower()}s": kind for kind in LEGACY_KINDS}
    for action in actions(case.read_text()):
        for segment in action.path.split("?")[0].split("/"):
            if kind := plurals.get(segment.replace("-", "")):
                return kind
    return ""


async def test_crud() -> None:
    await run("api/crud", suite_folder("api") / "crud")
