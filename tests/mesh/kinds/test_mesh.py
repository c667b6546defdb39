"""What a Mesh says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.kinds.mesh import Mesh


def spec(**fields: Any) -> Mesh:
    result: Mesh = decode({"type": "Mesh", "name": "m", **fields}).spec
    return result


def test_the_enabled_authority() -> None:
    backends = [{"name": "a", "type": "builtin"}]
    enabled = spec(mtls={"enabledBackend": "a", "backends": backends}).enabled_ca
    assert enabled is not None
    assert (enabled.name, enabled.mode) == ("a", "STRICT")
    assert spec(mtls={"backends": backends}).enabled_ca is None
    assert spec(mtls={"enabledBackend": "b", "backends": backends}).enabled_ca is None
    assert spec().enabled_ca is None


@pytest.mark.parametrize(
    ("networking", "passthrough"),
    [(None, True), ({}, True), ({"outbound": {}}, True), ({"outbound": {"passthrough": False}}, False)],
)
def test_passthrough_is_on_unless_switched_off(networking: Any, passthrough: bool) -> None:
    fields = {} if networking is None else {"networking": networking}
    assert spec(**fields).passthrough is passthrough


def test_modes() -> None:
    assert spec().mesh_services_mode == "Disabled"
    assert spec(meshServices={"mode": "Exclusive"}).mesh_services_mode == "Exclusive"
    assert not spec().zone_egress
    assert spec(routing={"zoneEgress": True}).zone_egress
