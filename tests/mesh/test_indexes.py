"""Under which index keys a resource is found."""

from __future__ import annotations

from mesh.codec import decode
from mesh.indexes import INDEXES, entries


def test_entries_of_a_dataplane() -> None:
    inbound = [
        {"port": 1, "tags": {"kuma.io/service": "web"}},
        {"port": 2, "tags": {"kuma.io/service": "off"}, "state": "Ignored"},
    ]
    document = {
        "type": "Dataplane",
        "mesh": "m",
        "name": "dp",
        "labels": {"kuma.io/zone": "z", "kuma.io/display-name": "shown"},
        "networking": {"inbound": inbound},
    }
    assert entries(decode(document)) == {
        ("dataplane_by_service", "m", "web"),
        ("dataplane_by_service_shard", "m", "17"),
        ("dataplane_by_tag", "m", "kuma.io/service", "web"),
        ("by_label", "Dataplane", "m", "kuma.io/zone", "z"),
        ("by_label", "Dataplane", "m", "kuma.io/display-name", "shown"),
        ("by_display_name", "Dataplane", "m", "shown"),
        ("by_zone", "Dataplane", "z"),
    }


def test_gateways_are_found_by_their_own_tags() -> None:
    gateway = {"tags": {"kuma.io/service": "edge"}}
    found = entries(
        decode({"type": "Dataplane", "mesh": "m", "name": "dp", "networking": {"gateway": gateway}})
    )
    assert ("dataplane_by_service", "m", "edge") in found


def test_kinds_without_an_index() -> None:
    assert entries(decode({"type": "Secret", "name": "s", "labels": {"a": "b"}})) == frozenset()


def test_parts_are_as_declared() -> None:
    document = {"type": "Dataplane", "name": "dp", "labels": {"a": "b", "kuma.io/zone": "z"}}
    for name, *parts in entries(decode(document)):
        assert len(parts) == len(INDEXES[name].parts)
