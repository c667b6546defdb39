"""Resources and a reader for policy tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import dedent
from typing import Any

import yaml

from mesh.codec import decode
from mesh.indexes import INDEXES
from mesh.policy.proxy import item_of
from mesh.policy.values import Item
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey


def parse(text: str) -> list[Resource]:
    """Resources of a YAML stream; `mesh: default` is implied.  Kinds without a declaration stay plain JSON."""
    return [_resource(document) for document in yaml.safe_load_all(dedent(text)) if document]


def _resource(document: dict[str, Any]) -> Resource:
    if document["type"] in KINDS:
        return decode(document)
    fields = {key: value for key, value in document.items() if key not in ("type", "mesh", "name", "labels")}
    labels = document.get("labels", {})
    return Resource(document["type"], "default", document["name"], labels, fields.get("spec", fields))


def one(text: str) -> Resource:
    """The only resource of a YAML document."""
    (resource,) = parse(text)
    return resource


def policy(kind: str, name: str, spec: Mapping[str, Any], **labels: str) -> Resource:
    """A policy with labels such as `origin="zone"` or `policy_role="producer"` (prefix `kuma.io/`)."""
    return decode(
        {
            "type": kind,
            "mesh": "default",
            "name": name,
            "labels": {f"kuma.io/{key.replace('_', '-')}": value for key, value in labels.items()},
            "spec": dict(spec),
        }
    )


def items(*resources: Resource) -> list[Item]:
    return [item_of(resource) for resource in resources]


class Recorder:
    """A Reader of given resources that notes each question."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self.by_key = {resource.key: resource for resource in resources}
        self.asked: list[tuple[str, ...]] = []

    def get(self, kind: str, mesh: str, name: str) -> Resource | None:
        self.asked.append(("get", kind, mesh, name))
        return self.by_key.get(ResourceKey(kind, mesh, name))

    def list(self, kind: str, mesh: str | None = None) -> Sequence[Resource]:
        self.asked.append(("list", kind, mesh or ""))
        found = (r for r in self.by_key.values() if r.kind == kind and mesh in (None, r.mesh))
        return sorted(found, key=lambda resource: resource.key)

    def lookup(self, index: str, *parts: str) -> tuple[ResourceKey, ...]:
        self.asked.append((index, *parts))
        rule = INDEXES[index]
        found = (r for r in self.by_key.values() if rule.kinds is None or r.kind in rule.kinds)
        return tuple(sorted(r.key for r in found if parts in set(rule.rule(r))))
