"""A zone's name in what joins it."""

from __future__ import annotations

from mesh.codec import decode
from mesh.stamp import stamp_zone


def test_tags_of_a_dataplane() -> None:
    inbound = [{"port": 1, "tags": {"kuma.io/service": "a", "kuma.io/zone": "old"}}, {"port": 2}]
    proxy = decode({"type": "Dataplane", "name": "dp", "networking": {"inbound": inbound}})
    networking = stamp_zone(proxy, "z").spec.networking
    assert [i.tags for i in networking.inbound] == [
        {"kuma.io/service": "a", "kuma.io/zone": "z"},
        {"kuma.io/zone": "z"},
    ]
    assert proxy.spec.networking.inbound[1].tags is None


def test_tags_of_a_gateway() -> None:
    gateway = {"tags": {"kuma.io/service": "a"}}
    proxy = decode({"type": "Dataplane", "name": "dp", "networking": {"gateway": gateway}})
    assert stamp_zone(proxy, "z").spec.networking.gateway.tags["kuma.io/zone"] == "z"


def test_zone_of_a_zone_proxy() -> None:
    local, other = (decode({"type": "ZoneIngress", "name": "zi", "zone": zone}) for zone in ("", "other"))
    assert stamp_zone(local, "z").spec.zone == "z"
    assert stamp_zone(other, "z").spec.zone == "other"


def test_everything_else_stays() -> None:
    mesh = decode({"type": "Mesh", "name": "m"})
    assert stamp_zone(mesh, "z") is mesh
    empty = decode({"type": "Dataplane", "name": "dp"})
    assert stamp_zone(empty, "z") is empty
    assert stamp_zone(decode({"type": "ZoneEgress", "name": "ze"}), "").spec.zone == ""
