"""What the in-process adapters of the policy suites share: cases, stores, copies, comparison."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh.codec import decode
from mesh.indexes import INDEXES
from mesh.naming import hashed_name
from mesh.policy.proxy import item_of
from mesh.policy.values import Item
from mesh.registry import KINDS
from mesh.resource import DISPLAY_NAME, K8S_NAMESPACE, ORIGIN, ZONE, Resource, ResourceKey

ROOT = Path(__file__).resolve().parents[2]
CASES = (ROOT / os.environ.get("RAFTMESH_CONFORMANCE", "../shared/conformance/cases")).resolve()

LEGACY_KINDS = frozenset(
    {
        "CircuitBreaker",
        "ExternalService",
        "FaultInjection",
        "HealthCheck",
        "MeshGatewayRoute",
        "ProxyTemplate",
        "RateLimit",
        "Retry",
        "Timeout",
        "TrafficLog",
        "TrafficPermission",
        "TrafficRoute",
        "TrafficTrace",
        "VirtualOutbound",
    }
)


def suite_folder(name: str) -> Path:
    """The folder of a suite; skips when the cases are not on this machine."""
    folder = CASES / name
    if not folder.is_dir():
        pytest.skip(f"no conformance cases at {folder}; RAFTMESH_CONFORMANCE names their folder")
    return folder


class Store:
    """A Reader of resources exactly as given, keys that occur twice included (as some cases have them).

    `any_mesh`: lists ignore the mesh, for cases whose resources disagree about it.
    """

    def __init__(self, resources: Iterable[Resource], *, any_mesh: bool = False) -> None:
        self.resources = list(resources)
        self.any_mesh = any_mesh

    def get(self, kind: str, mesh: str, name: str) -> Resource | None:
        return next((r for r in self.resources if r.key == (kind, mesh, name)), None)

    def list(self, kind: str, mesh: str | None = None) -> Sequence[Resource]:
        return [r for r in self.resources if r.kind == kind and (self.any_mesh or mesh in (None, r.mesh))]

    def lookup(self, index: str, *parts: str) -> tuple[ResourceKey, ...]:
        rule = INDEXES[index]
        found = (r for r in self.resources if rule.kinds is None or r.kind in rule.kinds)
        return tuple(sorted({r.key for r in found if parts in set(rule.rule(r))}))


def load(path: Path) -> list[Resource]:
    """The resources of a YAML file, without validation or computed labels."""
    documents = (document for document in yaml.safe_load_all(trimmed(path.read_text())) if document)
    return [resource(document) for document in documents]


def trimmed(text: str) -> str:
    """Without white space at the end of each document, which upstream's loader cuts off, too."""
    return "\n---\n".join(part.strip() for part in f"\n{text}".split("\n---"))


def resource(document: dict[str, Any]) -> Resource:
    """A resource from its document.  Kinds without a declaration keep their fields as plain JSON."""
    if document["type"] in KINDS:
        return decode(document)
    head = {"type", "mesh", "name", "labels"}
    fields = {key: value for key, value in document.items() if key not in head}
    mesh = document.get("mesh", "default")
    return Resource(
        document["type"], mesh, document["name"], document.get("labels", {}), fields.get("spec", fields)
    )


def written_in_zone(resource: Resource, zone: str, *, copied: bool = False) -> Resource:
    """The resource as a zone wrote it, or as KDS copied it elsewhere."""
    return _labelled(resource, {ORIGIN: "zone", ZONE: zone}, zone if copied else None)


def written_on_global(resource: Resource, *, copied: bool = False) -> Resource:
    """The resource as Global wrote it, or as KDS copied it to a zone."""
    return _labelled(resource, {ORIGIN: "global"}, "" if copied else None)


def _labelled(resource: Resource, labels: dict[str, str], hashed_with: str | None) -> Resource:
    if resource.kind == "Mesh":
        return resource
    all_labels = {DISPLAY_NAME: resource.name, **resource.labels, **labels}
    name = resource.name
    if hashed_with is not None:
        namespace = resource.labels.get(K8S_NAMESPACE, "")
        name = hashed_name(resource.mesh, resource.name, zone=hashed_with, namespace=namespace)
    return replace(resource, name=name, labels=all_labels)


def items(resources: Iterable[Resource], kind: str) -> list[Item]:
    """The policies of one kind, in the order in which they are given."""
    return [item_of(resource) for resource in resources if resource.kind == kind]


def policy_kind(resources: Sequence[Resource]) -> str:
    """The policy that a case is about: routes are only so when there is nothing else."""
    policies = [r.kind for r in resources if (k := KINDS.get(r.kind)) is not None and k.is_policy]
    return next((kind for kind in policies if kind != "MeshHTTPRoute"), policies[0])


def out_of_scope(paths: Iterable[Path]) -> str:
    """The legacy kind that a case needs, empty when it needs none."""
    kinds = {
        document.get("type")
        for path in paths
        for document in yaml.safe_load_all(path.read_text())
        if document
    }
    return next(iter(sorted(kinds & LEGACY_KINDS)), "")


def display_names(metas: Iterable[dict[str, Any]]) -> list[str]:
    """Names of policies in a golden, as their authors gave them."""
    return [(meta.get("labels") or {}).get(DISPLAY_NAME) or meta["name"] for meta in metas]


class Score:
    """Counts cases and prints `suite: passed N of M` at the end."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.passed = 0
        self.failures: list[str] = []
        self.outside: dict[str, int] = {}

    def check(self, case: str, got: Any, wanted: Any) -> None:
        """Compare one case."""
        if got == wanted:
            self.passed += 1
        else:
            self.failures.append(f"{case}\n" + "\n".join(differences(got, wanted)))

    def skip(self, reason: str) -> None:
        """Count a case that needs a legacy kind or another platform."""
        self.outside[reason] = self.outside.get(reason, 0) + 1

    def finish(self) -> None:
        """Print the result and fail when a case did."""
        total = self.passed + len(self.failures)
        outside = "".join(f", out of scope: {count} of {kind}" for kind, count in self.outside.items())
        print(f"\n{self.suite}: passed {self.passed} of {total}{outside}")
        assert not self.failures, "\n\n".join(self.failures)
        assert total or self.outside, f"{self.suite}: no case found"


def differences(got: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ, one line each."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        for key in sorted(got.keys() | wanted.keys(), key=str):
            if key not in got:
                yield f"  {path}/{key}: missing, wanted {wanted[key]!r}"
            elif key not in wanted:
                yield f"  {path}/{key}: unexpected {got[key]!r}"
            else:
                yield from differences(got[key], wanted[key], f"{path}/{key}")
    elif isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted):
        for index, (one, other) in enumerate(zip(got, wanted, strict=True)):
            yield from differences(one, other, f"{path}/{index}")
    elif got != wanted:
        yield f"  {path}: got {got!r}, wanted {wanted!r}"
