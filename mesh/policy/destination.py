"""Which real resources an element of `to` points to.

`to` may name a destination, select destinations by labels, or use the old service name
`<name>_<namespace>_svc_<port>`.  A name means the resource of the same origin as the policy (same zone, same
namespace), found by KRI, since copies carry other stored names.  All searches go through indexes, so a result
depends on the resources that could match and on no others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mesh.policy.meta import Meta, kri, with_section
from mesh.policy.proxy import item_of
from mesh.policy.values import Item, TargetRef
from mesh.reader import Reader
from mesh.resource import DISPLAY_NAME, K8S_NAMESPACE, ResourceKey

REAL_KINDS = frozenset({"MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute"})
_OLD_SERVICE_NAME = re.compile(r"(?P<name>.+)_(?P<namespace>.+)_svc(?:_(?P<port>\d+))?")


@dataclass(frozen=True)
class Destination:
    """A resource that traffic goes to, or one named port of it (`section`, else empty)."""

    meta: Meta
    section: str = ""

    @property
    def kri(self) -> str:
        return with_section(self.meta.kri, self.section)


def resolve(reader: Reader, policy: Meta, target: TargetRef) -> list[Destination]:
    """Destinations of one `to` element, in the order of the store; empty when nothing is there (yet)."""
    kind = target["kind"]
    if kind == "Mesh":
        mesh = reader.get("Mesh", "", policy.mesh)
        return [Destination(item_of(mesh).meta)] if mesh is not None else []
    if kind not in REAL_KINDS:
        return []
    section = target.get("sectionName") or ""
    labels, port = _labels(target)
    if labels:
        found: Iterable[Item] = _by_labels(reader, kind, policy.mesh, labels)
    else:
        found = _by_name(reader, kind, policy, target)
    return list(_sections(found, section, port))


def _labels(target: TargetRef) -> tuple[Mapping[str, str], int]:
    """Labels to select by, and the port that an old service name implies."""
    if labels := target.get("labels"):
        return labels, 0
    old = _OLD_SERVICE_NAME.fullmatch(target.get("name") or "") if target["kind"] == "MeshService" else None
    if old is None or target.get("sectionName"):
        return {}, 0
    return {DISPLAY_NAME: old["name"], K8S_NAMESPACE: old["namespace"]}, int(old["port"] or 0)


def _by_labels(reader: Reader, kind: str, mesh: str, labels: Mapping[str, str]) -> Iterator[Item]:
    found = [set(reader.lookup("by_label", kind, mesh, label, value)) for label, value in labels.items()]
    yield from _items(reader, sorted(set.intersection(*found)))


def _by_name(reader: Reader, kind: str, policy: Meta, target: TargetRef) -> Iterator[Item]:
    name = target.get("name") or ""
    wanted = kri(kind, policy.mesh, policy.zone, target.get("namespace") or policy.namespace, name)
    for item in _items(reader, reader.lookup("by_display_name", kind, policy.mesh, name)):
        if item.meta.kri == wanted:
            yield item
            return


def _items(reader: Reader, keys: Iterable[ResourceKey]) -> Iterator[Item]:
    for key in keys:
        resource = reader.get(*key)
        if resource is not None:
            yield item_of(resource)


def _sections(items: Iterable[Item], section: str, port: int) -> Iterator[Destination]:
    for item in items:
        if not section and not port:
            yield Destination(item.meta)
            continue
        for declared in _ports(item.spec):
            if section in (declared.get("name"), str(declared["port"])) or port == declared["port"]:
                yield Destination(item.meta, declared.get("name") or str(declared["port"]))
                break


def _ports(spec: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Ports of a service; an external service has the single one that it matches on."""
    match = spec.get("match")
    return [match] if match and "port" in match else spec.get("ports") or ()
