"""What labels say of a resource."""

from __future__ import annotations

from mesh.reader import NoResources
from mesh.resource import Resource, ResourceKey


def test_labels_tell_name_origin_and_zone() -> None:
    labels = {"kuma.io/display-name": "a", "kuma.io/origin": "zone", "kuma.io/zone": "z"}
    copy = Resource("MeshTimeout", "m", "a-2v6wfvvcvbc9f55d", labels)
    assert (copy.display_name, copy.origin, copy.zone) == ("a", "zone", "z")
    own = Resource("MeshTimeout", "m", "a")
    assert (own.display_name, own.origin, own.zone) == ("a", "", "")
    assert own.key == ResourceKey("MeshTimeout", "m", "a") == ("MeshTimeout", "m", "a")


def test_resources_can_be_members_of_sets() -> None:
    assert len({Resource("Mesh", "", "a"), Resource("Mesh", "", "a"), Resource("Mesh", "", "b")}) == 2


def test_an_empty_reader() -> None:
    reader = NoResources()
    assert reader.get("Mesh", "", "a") is None
    assert not reader.list("Mesh")
    assert not reader.lookup("by_zone", "Dataplane", "z")
