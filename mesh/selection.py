"""Which Dataplanes stand behind a MeshService, and which serve a MeshGateway."""

from __future__ import annotations

from mesh.policy.proxy import item_of, proxy_of
from mesh.reader import Reader
from mesh.resource import Resource


def dataplanes_of(reader: Reader, service: Resource) -> list[Resource]:
    """The Dataplanes that a MeshService selects, sorted by name, whatever the state of their inbounds."""
    return [each for each in reader.list("Dataplane", service.mesh) if is_selected(service, each)]


def is_selected(service: Resource, dataplane: Resource) -> bool:
    """Whether a MeshService selects a Dataplane: by its name, its labels, or the tags of one inbound."""
    selector = service.spec.selector
    if selector.dataplane_ref is not None and selector.dataplane_ref.name:
        return bool(dataplane.name == selector.dataplane_ref.name)
    if selector.dataplane_labels is not None:
        labels = selector.dataplane_labels.match_labels or {}
        return bool(labels) and all(dataplane.labels.get(key) == value for key, value in labels.items())
    tags = selector.dataplane_tags or {}
    return bool(tags) and any(
        all(found.get(key) == value for key, value in tags.items()) for found in dataplane.spec.tag_sets
    )


def dataplanes_of_gateway(reader: Reader, gateway: Resource) -> list[Resource]:
    """The Dataplanes that serve a MeshGateway, sorted by name."""
    own = item_of(gateway).meta
    found = (each for each in reader.list("Dataplane", gateway.mesh) if each.spec.is_builtin_gateway)
    return [each for each in found if proxy_of(reader, item_of(each)).gateway_meta == own]
