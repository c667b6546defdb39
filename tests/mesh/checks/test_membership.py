"""Who may join a mesh."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mesh.checks.documents import edited, faults

PROXY: dict[str, Any] = {
    "type": "Dataplane",
    "mesh": "default",
    "name": "dp-1",
    "networking": {
        "address": "1.1.1.1",
        "inbound": [{"port": 80, "tags": {"kuma.io/service": "web", "v": "1"}}],
    },
}
SUBJECT = 'dataplane cannot be a member of mesh "default" because its tags "kuma.io/service=web v=1"'
UNFULFILLED = ("mesh", f"{SUBJECT} does not fulfill any requirements defined on the Mesh")


def mesh(requirements: list[dict[str, str]], restrictions: list[dict[str, str]]) -> dict[str, Any]:
    constraints = {
        "requirements": [{"tags": tags} for tags in requirements],
        "restrictions": [{"tags": tags} for tags in restrictions],
    }
    return {"type": "Mesh", "name": "default", "constraints": {"dataplaneProxy": constraints}}


@pytest.mark.parametrize(
    ("requirements", "restrictions"),
    [
        ([], []),
        ([{"kuma.io/service": "*"}], []),
        ([{"v": "2"}, {"v": "1"}], []),
        ([{"kuma.io/service": "web", "v": "*"}], [{"v": "2"}, {"other": "*"}]),
    ],
)
def test_welcome(requirements: list[dict[str, str]], restrictions: list[dict[str, str]]) -> None:
    assert faults(PROXY, mesh(requirements, restrictions)) == []


@pytest.mark.parametrize(
    "requirements", [[{"v": "2"}], [{"team": "*"}], [{"kuma.io/service": "web", "v": "2"}]]
)
def test_requirements(requirements: list[dict[str, str]]) -> None:
    assert faults(PROXY, mesh(requirements, [])) == [UNFULFILLED]


def test_restrictions_win_over_requirements() -> None:
    found = faults(PROXY, mesh([{"v": "*"}], [{"v": "1"}]))
    assert found == [("mesh", f'{SUBJECT} matches restricted tags "v=1" defined on the Mesh')]


def test_each_inbound_has_to_be_welcome() -> None:
    second = {"port": 81, "tags": {"kuma.io/service": "web", "v": "2"}}
    both = edited(PROXY, ("networking.inbound.1", second))
    assert len(faults(both, mesh([{"v": "2"}], []))) == 1
    ignored = edited(both, ("networking.inbound.0.state", "Ignored"))
    assert faults(ignored, mesh([{"v": "2"}], [])) == []


def test_gateways_are_checked_by_their_own_tags() -> None:
    gateway = {"tags": {"kuma.io/service": "web", "v": "1"}}
    document = edited(PROXY, ("networking", {"address": "1.1.1.1", "gateway": gateway}))
    assert faults(document, mesh([{"v": "2"}], [])) == [UNFULFILLED]
