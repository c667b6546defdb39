"""No field of any policy is ignored: without it, or with another value, some proxy is configured otherwise.

`SAMPLES` has each field of each kind at least once. Each leaf is taken away (or changed, where it is required), and
the configuration has to change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, get_args

import msgspec
import pytest

from mesh.codec import decode
from mesh.kinds.policies.meshtrafficpermission import RuleConf
from mesh.policy.kinds import POLICY_KINDS
from mesh.policy.typed import CONF_TYPES
from tests.xds.config.envoy_check import validate
from tests.xds.config.policies.samples import SAMPLES, WORLD
from tests.xds.config.worlds import node, rendered, resource, view_of
from xds.config.source import Source

Path = tuple[str | int, ...]


def test_samples() -> None:
    """Each kind has samples, with each of its fields."""
    assert set(SAMPLES) == {kind.name for kind in POLICY_KINDS}
    missing = {kind: sorted(_fields_of(kind) - _mentioned(kind)) for kind in SAMPLES}
    assert not {kind: names for kind, names in missing.items() if names}


def _fields_of(kind: str) -> set[str]:
    """The fields of a kind's confs as `type.field`, at any depth."""
    types = [CONF_TYPES[kind], *([RuleConf] if kind == "MeshTrafficPermission" else [])]
    return {f"{model.__name__}.{field.encode_name}" for model in _models(*types) for field in _fields(model)}


def _fields(model: Any) -> Any:
    return msgspec.structs.fields(model)


def _models(*types: Any) -> Iterator[Any]:
    seen: dict[Any, None] = {}
    todo = list(types)
    while todo:
        found = todo.pop()
        todo.extend(get_args(found))
        if isinstance(found, type) and issubclass(found, msgspec.Struct) and found not in seen:
            seen[found] = None
            todo.extend(field.type for field in _fields(found))
    return iter(seen)


# Of references: a policy in a zone of VMs has no namespaces, and the others are for other places.
# Algorithms without options have none to be ignored.
_ELSEWHERE = {
    "BackendRef": {"namespace", "mesh", "proxyTypes", "sectionName", "tags"},
    "LoadBalancer": {"random", "roundRobin"},
}


def _mentioned(kind: str) -> set[str]:
    """The fields that the samples of a kind set, or that have no meaning where they could be set."""
    found: set[str] = set()
    types = [CONF_TYPES[kind], *([RuleConf] if kind == "MeshTrafficPermission" else [])]
    keys = {
        part for sample in SAMPLES[kind] for path in _leaves(sample) for part in path if isinstance(part, str)
    }
    for model in _models(*types):
        names = {field.encode_name for field in _fields(model)}
        found |= {
            f"{model.__name__}.{name}" for name in names & (keys | _ELSEWHERE.get(model.__name__, set()))
        }
    return found


# --- taking fields away ----------------------------------------------------------------------------


def _leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of everything in a sample that is no container, or an empty one."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    if not inner:
        yield path
    for key, found in inner:
        yield from _leaves(found, (*path, key))


# They say which of the other fields holds; those could not be there without them.
CHOICES = frozenset({"type", "kind", "operation", "op", "predicate"})

CASES = [
    pytest.param(kind, number, path, id=f"{kind}-{number}-{'.'.join(map(str, path))}")
    for kind, samples in SAMPLES.items()
    for number, sample in enumerate(samples)
    for path in _leaves(sample)
    if path[0] != "targetRef" and path[-1] not in CHOICES
]


@pytest.mark.parametrize(("kind", "number", "path"), CASES)
def test_a_field_counts(tried: Tried, kind: str, number: int, path: Path) -> None:
    sample = SAMPLES[kind][number]
    whole = tried.resources(_document(kind, sample))
    others = [other for other in _variants(sample, path) if _is_valid(kind, other)]
    assert others, "the field can neither be left out nor be changed"
    assert any(tried.resources(_document(kind, other)) != whole for other in others)


def _variants(sample: Any, path: Path) -> Iterator[Any]:
    """The sample without one leaf, and with other values of it."""
    value = _at(sample, path)
    without = copy.deepcopy(sample)
    parent = _at(without, path[:-1])
    del parent[path[-1]]
    yield without
    for other in _others(value):
        changed = copy.deepcopy(sample)
        _at(changed, path[:-1])[path[-1]] = other
        yield changed


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _others(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, str):
        yield from (f"1{value}", f"{value}x", "x", "Seconds", "None", "{name: x}")


def _is_valid(kind: str, sample: Any) -> bool:
    try:
        decode(_document(kind, sample))
    except Exception:  # whatever a decoder says of nonsense
        return False
    return True


def _document(kind: str, sample: Any) -> Any:
    return {"type": kind, "mesh": "default", "name": "p", "spec": sample}


@pytest.mark.envoy
@pytest.mark.parametrize("number", range(max(map(len, SAMPLES.values()))))
def test_envoy_accepts_samples(tmp_path: FilePath, number: int) -> None:
    """One sample of each kind at a time, all of a proxy."""
    found = [_document(kind, samples[number]) for kind, samples in SAMPLES.items() if number < len(samples)]
    source = Source(view_of([*WORLD, *found]))
    snapshot = source.connect(node("web"), lambda deltas: None).snapshot()
    assert not source.failures
    validate(rendered(snapshot), tmp_path)


class Tried:
    """All proxies of a mesh, with one policy at a time."""

    def __init__(self) -> None:
        self.view = view_of(WORLD)
        self.source = Source(self.view)
        features: Any = {"features": ["feature-embedded-dns"]}
        nodes = (node("web", **features), node("edge-1"))
        self.streams = [self.source.connect(each, lambda deltas: None) for each in nodes]
        self.key: Any = None

    def resources(self, document: Any) -> frozenset[Any]:
        """The resources of the proxies with a policy; none when it makes no sense."""
        found = resource(document)
        changes: list[Any] = [] if self.key is None else [(self.key, None)]
        self.key = found.key
        self.view, changed = self.view.with_changes(self.view.index + 1, [*changes, (found.key, found)])
        self.source.advance(self.view, changed)
        if self.source.failures:
            return frozenset()
        return frozenset(
            (number, type_url, each.body)
            for number, stream in enumerate(self.streams)
            for type_url, resources in (stream.snapshot() or {}).items()
            for each in resources.values()
        )


@pytest.fixture(scope="module")
def tried() -> Tried:
    return Tried()
