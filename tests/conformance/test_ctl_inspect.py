"""Suite `ctl-inspect`: what `raftmesh inspect` prints of given observations.

Cases with a list are preloaded from the list itself: an overview is taken apart into the resource and its
insight.  Cases with the answer of a retired inspection endpoint are about legacy kinds, but for the proxies
of a MeshGateway, which are preloaded as the answer names them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mesh.resource import Resource
from tests.conformance.cases import LEGACY_PATHS, SuiteScore
from tests.conformance.policy_cases import suite_folder
from tests.conformance.seam import Seam, resource_of, running, zero_times

OUTPUTS = {"txt": "table", "json": "json", "yaml": "yaml"}
# type of the items -> what is inspected, and the parts that an item is made of
LISTS: dict[str, tuple[str, dict[str, str]]] = {
    "DataplaneOverview": (
        "dataplanes",
        {"dataplane": "Dataplane", "dataplaneInsight": "DataplaneInsight"},
    ),
    "ZoneOverview": ("zones", {"zone": "Zone", "zoneInsight": "ZoneInsight"}),
    "ZoneIngressOverview": (
        "zone-ingresses",
        {"zoneIngress": "ZoneIngress", "zoneIngressInsight": "ZoneIngressInsight"},
    ),
    "ZoneEgressOverview": (
        "zoneegresses",
        {"zoneEgress": "ZoneEgress", "zoneEgressInsight": "ZoneEgressInsight"},
    ),
    "MeshInsight": ("meshes", {}),
    "ServiceInsight": ("services", {}),
    "ServiceOverview": ("services", {}),
}
HEAD = ("type", "mesh", "name", "labels", "creationTime", "modificationTime", "kri")
_AGE = re.compile(r"\b\d+[smhdy]\b|\bnever\b|\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b")


async def test_ctl_inspect() -> None:
    folder = suite_folder("ctl-inspect")
    score = SuiteScore("ctl-inspect")
    async with running() as seam:
        for golden in sorted(folder.glob("*.golden.txt")):
            stem = golden.name.removesuffix(".golden.txt")
            answer = folder / f"{stem}.server-response.json"
            if (folder / f"{stem}.golden.json").exists():
                await _list(seam, folder, stem, score)
            elif answer.exists():
                await _answered(seam, golden, json.loads(answer.read_text()), score)
    score.finish()


async def _list(seam: Seam, folder: Path, stem: str, score: SuiteScore) -> None:
    page = json.loads((folder / f"{stem}.golden.json").read_text())
    what, _ = LISTS[page["items"][0]["type"]]
    mesh = page["items"][0].get("mesh", "default")
    await seam.clear()
    await seam.preload([resource_of({"type": "Mesh", "name": mesh}), *_resources(page["items"])])
    faults = []
    for ending, output in OUTPUTS.items():
        golden = folder / f"{stem}.golden.{ending}"
        if golden.exists():
            printed = await seam.command("inspect", what, f"--mesh={mesh}", "-o", output)
            faults += _differing(printed, golden.read_text(), is_table=ending == "txt")
    score.judge(stem, faults)


def _differing(printed: str, wanted: str, *, is_table: bool) -> list[str]:
    """Times are equal by definition; in a table they decide the widths of columns, too."""
    got, expected = zero_times(printed).strip(), zero_times(wanted).strip()
    if is_table:
        got, expected = (re.sub(r" +", " ", _AGE.sub("AGO", text)) for text in (got, expected))
    return [] if got == expected else [f"  printed\n{got}\n  instead of\n{expected}"]


def _resources(items: list[dict[str, Any]]) -> list[Resource]:
    """What the API makes these items of."""
    if items[0]["type"] in ("ServiceInsight", "ServiceOverview"):
        mesh = items[0]["mesh"]
        services = {
            each["name"]: {key: value for key, value in each.items() if key not in HEAD} for each in items
        }
        insight = {"type": "ServiceInsight", "mesh": mesh, "name": f"all-services-{mesh}"}
        return [resource_of(insight | {"services": services})]
    found = []
    for item in items:
        parts = LISTS[item["type"]][1]
        head = {key: item[key] for key in ("mesh", "name", "labels") if key in item}
        found += [
            resource_of({"type": kind, **head, **item[member]})
            for member, kind in parts.items()
            if member in item
        ]
        found += [] if parts else [resource_of(item)]
    return found


async def _answered(seam: Seam, golden: Path, answer: dict[str, Any], score: SuiteScore) -> None:
    stem = golden.name.removesuffix(".golden.txt")
    if stem != "inspect-meshgateway-dataplanes":
        score.skip(_legacy(stem, answer))
        return
    await seam.clear()
    await seam.preload([resource_of(each) for each in _gateway(answer)])
    printed = await seam.command("inspect", "meshgateway", "gateway")
    score.judge(stem, _differing(printed, golden.read_text(), is_table=False))


def _legacy(stem: str, answer: dict[str, Any]) -> str:
    """The legacy kind that an answer of a retired endpoint is about."""
    kinds = {kind for item in answer.get("items") or () for kind in item.get("matchedPolicies") or ()}
    if kinds:
        return min(kinds)
    words = stem.removeprefix("inspect-")
    return next((kind for path, kind in LEGACY_PATHS.items() if path.startswith(words[:-1])), words)


def _gateway(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """A MeshGateway that the Dataplanes of an answer serve."""
    tags = {"kuma.io/service": "gateway"}
    selectors = [{"match": tags}]
    dataplanes = [
        {
            "type": "Dataplane",
            **item["dataplane"],
            "networking": {"address": "127.0.0.1", "gateway": {"type": "BUILTIN", "tags": tags}},
        }
        for item in answer["items"]
    ]
    mesh = answer["items"][0]["dataplane"]["mesh"]
    gateway = {"type": "MeshGateway", "mesh": mesh, "name": "gateway", "selectors": selectors}
    return [{"type": "Mesh", "name": mesh}, gateway, *dataplanes]
