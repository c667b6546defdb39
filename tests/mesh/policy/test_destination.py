"""Which resources an element of `to` points to."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.policy.destination import Destination, resolve
from mesh.policy.meta import Meta
from tests.mesh.policy.resources import Recorder, parse

WORLD = parse(
    """
    {type: Mesh, name: default}
    ---
    type: MeshService
    name: db-hash-east
    labels: {kuma.io/display-name: db, kuma.io/origin: zone, kuma.io/zone: east, tier: data}
    spec: {ports: [{port: 5432, name: pg}]}
    ---
    type: MeshService
    name: db-hash-west
    labels: {kuma.io/display-name: db, kuma.io/origin: zone, kuma.io/zone: west, tier: data, env: dev}
    spec: {ports: [{port: 5432}]}
    """
)
EAST = Meta("MeshTimeout", "default", "t", {"kuma.io/origin": "zone", "kuma.io/zone": "east"})
GLOBAL = Meta("MeshTimeout", "default", "t", {"kuma.io/origin": "global"})


def _names(policy: Meta, **target: Any) -> list[tuple[str, str]]:
    return [(d.meta.name, d.section) for d in resolve(Recorder(WORLD), policy, target)]


def test_a_name_means_the_service_of_the_authors_zone() -> None:
    assert _names(EAST, kind="MeshService", name="db") == [("db-hash-east", "")]
    assert _names(GLOBAL, kind="MeshService", name="db") == []


def test_labels_mean_services_of_all_zones() -> None:
    both = [("db-hash-east", ""), ("db-hash-west", "")]
    assert _names(GLOBAL, kind="MeshService", labels={"tier": "data"}) == both
    assert _names(GLOBAL, kind="MeshService", labels={"tier": "data", "env": "dev"}) == both[1:]


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ("pg", [("db-hash-east", "pg")]),
        ("5432", [("db-hash-east", "pg"), ("db-hash-west", "5432")]),
        ("other", []),
    ],
)
def test_sections(section: str, found: list[tuple[str, str]]) -> None:
    assert _names(GLOBAL, kind="MeshService", labels={"tier": "data"}, sectionName=section) == found


def test_the_mesh_is_a_destination_and_old_kinds_are_not() -> None:
    assert _names(GLOBAL, kind="Mesh") == [("default", "")]
    assert resolve(Recorder(), GLOBAL, {"kind": "Mesh"}) == []
    assert _names(GLOBAL, kind="MeshServiceSubset", name="db") == []


def test_identifiers() -> None:
    (found,) = resolve(Recorder(WORLD), EAST, {"kind": "MeshService", "name": "db", "sectionName": "pg"})
    assert found.kri == "kri_msvc_default_east__db_pg"
    assert found == Destination(found.meta, "pg")
