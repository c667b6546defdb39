"""Suite `labels`: writes to a global and to a federated zone's control plane; status line and body."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import yaml

from mesh.codec import decode
from mesh.registry import KINDS
from tests.conformance.policy_cases import Score, suite_folder
from tests.conformance.seam import Seam, seam

MESH = "multizone-label-validation"
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 405: "Method Not Allowed"}


async def answer(opened: Seam, session: aiohttp.ClientSession, case: Path) -> tuple[str, object]:
    """The raw answer to writing a case's resource, as the goldens hold it."""
    await opened.fill([decode({"type": "Mesh", "name": MESH})])
    document = yaml.safe_load(case.read_text())
    path = f"/meshes/{MESH}/{KINDS[document['type']].path}/{document['name']}"
    async with session.put(opened.base + path, json=document) as response:
        body = (await response.json()) or {}
        return f"{response.status} {REASONS.get(response.status, response.reason)}", body


def golden(case: Path) -> tuple[str, object]:
    head, _, body = case.with_name(case.name.replace(".input.", ".golden.")).read_text().partition("\n\n")
    return head.removeprefix("HTTP/1.1 ").strip(), yaml.safe_load(body)


async def run(prefix: str, **environ: str) -> None:
    folder = suite_folder("labels")
    score = Score(f"labels/{prefix}")
    async with seam(**environ) as opened, aiohttp.ClientSession() as session:
        for case in sorted(folder.glob(f"{prefix}.*.input.yaml")):
            score.check(case.name, await answer(opened, session, case), golden(case))
    score.finish()


async def test_on_global() -> None:
    await run("global", RAFTMESH_MODE="global")


async def test_on_a_federated_zone() -> None:
    await run(
        "zone-uni",
        RAFTMESH_MULTIZONE_ZONE_NAME="kuma-4",
        RAFTMESH_MULTIZONE_ZONE_GLOBAL_ADDRESS="grpcs://127.0.0.1:1",
    )
