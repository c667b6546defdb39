"""Faults of a policy's spec, as `{path: reason}`-like pairs, structural ones excluded."""

from __future__ import annotations

from typing import Any

import yaml

from mesh.codec import decode
from mesh.reader import NoResources
from mesh.registry import KINDS


def faults(kind: str, spec: str | dict[str, Any], **labels: str) -> list[tuple[str, str]]:
    """(field, reason) of each semantic fault of a spec, given as YAML or as a mapping."""
    document = {
        "type": kind,
        "mesh": "default",
        "name": "p",
        "labels": {f"kuma.io/{key.replace('_', '-')}": value for key, value in labels.items()},
        "spec": yaml.safe_load(spec) if isinstance(spec, str) else spec,
    }
    resource = decode(document)
    return [(error.field, error.reason) for error in KINDS[kind].validate(resource, NoResources())]


def to_faults(kind: str, default: str, ref: str = "{kind: Mesh}", top: str = "") -> list[tuple[str, str]]:
    """Faults of a policy with one `to` element, paths relative to `spec.to[0]`."""
    spec: dict[str, Any] = {"to": [{"targetRef": yaml.safe_load(ref), "default": yaml.safe_load(default)}]}
    if top:
        spec["targetRef"] = yaml.safe_load(top)
    return [(field.removeprefix("spec.to[0]."), reason) for field, reason in faults(kind, spec)]
