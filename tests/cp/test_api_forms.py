"""Every kind in its other forms, over HTTP: as a Kubernetes manifest, by its identifier, by older paths."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.kinds.base import Kind
from mesh.registry import KINDS
from tests.cp.conftest import Api
from tests.mesh.samples import WRITTEN, sample

BY_NAME = pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.name)


def path_of(kind: Kind, plural: str = "") -> str:
    return f"{'/meshes/default' if kind.scope == 'mesh' else ''}/{plural or kind.path}/sample"


async def written(api: Api, kind: Kind) -> dict[str, Any]:
    await api.mesh()
    answer = await api.put(path_of(kind), sample(kind))
    assert answer.status == 201, answer.text
    found: dict[str, Any] = (await api.get(path_of(kind))).json
    return found


@BY_NAME
async def test_a_manifest_that_is_read_can_be_written(api: Api, kind: Kind) -> None:
    before = await written(api, kind)
    manifest = (await api.get(path_of(kind) + "?format=kubernetes")).json
    assert manifest["metadata"]["name"] == "sample" and "kind" in manifest
    assert (await api.get(path_of(kind) + "?format=k8s")).json == manifest
    answer = await api.put(path_of(kind), manifest)
    assert answer.status == 200, answer.text
    after = (await api.get(path_of(kind))).json
    assert decode(after).spec == decode(before).spec
    assert after.get("labels") == before.get("labels")


@BY_NAME
async def test_identifiers(api: Api, kind: Kind) -> None:
    document = await written(api, kind)
    assert ("kri" in document) == bool(kind.short)
    if kind.short:
        found = await api.get(f"/_kri/{document['kri']}")
        assert (found.status, found.json["kri"], found.json["type"]) == (200, document["kri"], kind.name)


async def test_other_names_of_paths(api: Api) -> None:
    for kind in WRITTEN:
        for alias in kind.path_aliases:
            assert (await api.put(path_of(kind, alias), sample(kind))).status == 201
            assert (await api.get(path_of(kind))).json == (await api.get(path_of(kind, alias))).json


async def test_every_kind_is_listed_everywhere(api: Api) -> None:
    await api.mesh()
    for kind in WRITTEN:
        assert (await api.put(path_of(kind), sample(kind))).status in (200, 201), kind.name
    for kind in KINDS.values():
        if kind.path and kind.name != "ServiceInsight":
            assert (await api.get(f"/{kind.path}")).json["total"] >= (kind in WRITTEN), kind.name
    names = {each["name"] for each in (await api.get("/_resources")).json["resources"]}
    assert names == {kind.name for kind in KINDS.values() if kind.path}


@pytest.mark.parametrize(
    "path", ["/versions", "/status/zones", "/favicon.ico", "/meshes/default/meshgatewayroutes"]
)
async def test_paths_that_are_not_here(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status, answer.json["title"], answer.json["type"]) == (404, "Not Found", "/std-errors")
    assert answer.json["detail"].startswith(f"there is no such path: {path}")
