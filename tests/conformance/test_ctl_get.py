"""Suite `ctl-get`: what `raftmesh get` prints of given resources, as a table, as JSON and as YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mesh.registry import KINDS
from tests.conformance.cases import SuiteScore, legacy_kind, read_documents
from tests.conformance.policy_cases import suite_folder
from tests.conformance.seam import Seam, resource_of, running, zero_times

OUTPUTS = {"txt": "table", "json": "json", "yaml": "yaml"}


async def test_ctl_get() -> None:
    folder = suite_folder("ctl-get")
    score = SuiteScore("ctl-get")
    async with running() as seam:
        for golden in sorted(folder.glob("get/*.golden.json")):
            await _get_one(seam, golden, score)
        for given in sorted(folder.glob("list/*.input.yaml")):
            await _get_list(seam, given, score)
    score.finish()


async def _get_one(seam: Seam, golden: Path, score: SuiteScore) -> None:
    """`raftmesh get KIND NAME`; the case is the answer of the API."""
    document = json.loads(golden.read_text())
    if legacy := legacy_kind([document]):
        score.skip(legacy)
        return
    await _preload(seam, [document])
    stem = golden.name.removesuffix(".golden.json")
    command = ["get", stem.removeprefix("get-"), document["name"], *_mesh([document])]
    score.judge(f"get/{stem}", await _faults(seam, golden.parent, stem, command))


async def _get_list(seam: Seam, given: Path, score: SuiteScore) -> None:
    """`raftmesh get KINDS`, whole and the first page of one."""
    documents = read_documents(given.read_text())
    if legacy := legacy_kind(documents):
        score.skip(legacy)
        return
    await _preload(seam, documents)
    stem = given.name.removesuffix(".input.yaml")
    command = ["get", stem.removeprefix("get-"), *_mesh(documents)]
    faults = await _faults(seam, given.parent, stem, command)
    faults += await _faults(seam, given.parent, f"{stem}.pagination", [*command, "--size=1"])
    score.judge(f"list/{stem}", faults)


async def _preload(seam: Seam, documents: list[dict[str, Any]]) -> None:
    """The resources, and the meshes that they are in."""
    meshes = {document["mesh"] for document in documents if document.get("mesh")}
    resources = [resource_of(document) for document in documents]
    meshed = [resource_of({"type": "Mesh", "name": mesh}) for mesh in sorted(meshes)]
    await seam.clear()
    await seam.preload([*meshed, *resources])


def _mesh(documents: Iterable[dict[str, Any]]) -> list[str]:
    meshes = {document["mesh"] for document in documents if KINDS[document["type"]].scope == "mesh"}
    return [f"--mesh={mesh}" for mesh in sorted(meshes)]


async def _faults(seam: Seam, folder: Path, stem: str, command: list[str]) -> list[str]:
    """What a command prints otherwise than the goldens that there are."""
    faults = []
    for ending, output in OUTPUTS.items():
        golden = folder / f"{stem}.golden.{ending}"
        if not golden.exists():
            continue
        printed = zero_times(await seam.command(*command, "-o", output))
        wanted = zero_times(golden.read_text())
        if printed.strip() != wanted.strip():
            faults.append(f"  {' '.join(command)} -o {output} printed\n{printed}\n  instead of\n{wanted}")
    return faults
