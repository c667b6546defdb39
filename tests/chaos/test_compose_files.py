"""The compose files keep to what Compose v2 and v1 both take.

Compose v2 builds services in parallel, and where each image has a store of its own ("containerd"),
two builds of one name collide; v1 and v2 pull an image that no earlier service has built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "compose"
TOPOLOGIES = ("cluster-3", "cluster-5", "mesh")


def services(topology: str) -> dict[str, Any]:
    """With the small volumes where the topology goes with them."""
    document = yaml.safe_load((COMPOSE / f"{topology}.yml").read_text())
    assert "version" not in document, "obsolete in v2, which warns of it"
    found: dict[str, Any] = document["services"]
    if topology != "cluster-5":
        found |= yaml.safe_load((COMPOSE / "small-volumes.yml").read_text())["services"]
    return found


def comes_after(name: str, all_: dict[str, Any], seen: frozenset[str] = frozenset()) -> set[str]:
    direct = set(all_[name].get("depends_on", ())) - seen
    return direct | {each for one in direct for each in comes_after(one, all_, seen | direct)}


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_one_service_builds_the_image_and_all_others_come_after_it(topology: str) -> None:
    found = services(topology)
    assert {service["image"] for service in found.values()} == {"raftmesh"}
    assert [name for name, service in found.items() if "build" in service] == ["certificates"]
    for name in found:
        assert name == "certificates" or "certificates" in comes_after(name, found), name


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_base_image_can_be_named_and_each_replica_has_a_health_check(topology: str) -> None:
    found = services(topology)
    assert found["certificates"]["build"]["args"] == {"BASE": "${RAFTMESH_BASE:-python:3.11-slim}"}
    replicas = [service for name, service in found.items() if name.startswith("cp-")]
    assert len(replicas) == (3 if topology == "cluster-3" else 5)
    assert all(service["healthcheck"]["test"][0] == "CMD" for service in replicas)
    assert found["chaos"]["profiles"] == ["chaos"]


def test_the_dockerfile_takes_it() -> None:
    lines = (COMPOSE / "Dockerfile").read_text().splitlines()
    assert lines.index("ARG BASE=python:3.11-slim") + 1 == lines.index("FROM ${BASE}")
