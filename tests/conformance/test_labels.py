"""Suite `labels`: what a global and a federated zone control plane say to labels that writers sent."""

from __future__ import annotations

from pathlib import Path

from mesh.registry import KINDS
from tests.conformance.cases import SuiteScore, legacy_kind, read_documents
from tests.conformance.policy_cases import suite_folder
from tests.conformance.seam import FEDERATED, GLOBAL, Seam, resource_of, running

MESH = "multizone-label-validation"
PLACES = {"global.": GLOBAL, "zone-uni.": {**FEDERATED, "RAFTMESH_MULTIZONE_ZONE_NAME": "kuma-4"}}


async def test_labels() -> None:
    folder = suite_folder("labels")
    score = SuiteScore("labels")
    for prefix, environ in PLACES.items():
        async with running(**environ) as seam:
            for given in sorted(folder.glob(f"{prefix}*.input.yaml")):
                await _check(seam, given, score)
    score.finish()


async def _check(seam: Seam, given: Path, score: SuiteScore) -> None:
    (document,) = read_documents(given.read_text())
    if legacy := legacy_kind([document]):
        score.skip(legacy)
        return
    await seam.clear()
    await seam.preload([resource_of({"type": "Mesh", "name": MESH})])
    path = f"/meshes/{MESH}/{KINDS[document['type']].path}/{document['name']}"
    answer = await seam.call("PUT", path, given.read_text())
    raw = f"HTTP/1.1 {answer.status} {answer.reason}\n\n{answer.text.strip()}\n"
    wanted = given.with_name(given.name.replace(".input.", ".golden.")).read_text()
    faults = [] if raw.strip() == wanted.strip() else [f"  got\n{raw}", f"  wanted\n{wanted}"]
    score.judge(given.name.removesuffix(".input.yaml"), faults)
