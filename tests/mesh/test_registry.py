"""Kinds are found by every name that people and URLs use."""

from __future__ import annotations

import pytest

from mesh.kinds.base import Kds
from mesh.registry import KINDS, kind_by_arg, kind_by_path


def test_all_kinds_are_there() -> None:
    policies = {name for name, kind in KINDS.items() if kind.is_policy}
    assert len(policies) == 16
    assert len(KINDS) == 42
    assert list(KINDS) == sorted(KINDS)


def test_names_do_not_collide() -> None:
    paths = [path for kind in KINDS.values() for path in (kind.path, *kind.path_aliases) if path]
    assert len(paths) == len(set(paths))
    shorts = [kind.short for kind in KINDS.values() if kind.short]
    assert len(shorts) == len(set(shorts))


@pytest.mark.parametrize(
    ("path", "name"),
    [("meshes", "Mesh"), ("zone-ingresses", "ZoneIngress"), ("global-secrets", "GlobalSecret"), ("x", None)],
)
def test_by_path(path: str, name: str | None) -> None:
    kind = kind_by_path(path)
    assert (kind.name if kind else None) == name


@pytest.mark.parametrize(
    ("arg", "name"),
    [
        ("meshtimeout", "MeshTimeout"),
        ("meshtimeouts", "MeshTimeout"),
        ("MeshTimeout", "MeshTimeout"),
        ("mt", "MeshTimeout"),
        ("dp", "Dataplane"),
        ("meshes", "Mesh"),
        ("mesh", "Mesh"),
        ("zone-ingress", "ZoneIngress"),
        ("global-secret", "GlobalSecret"),
        ("global-secrets", "GlobalSecret"),
        ("mtls", "MeshTLS"),
        ("config", None),
        ("nonsense", None),
    ],
)
def test_by_argument(arg: str, name: str | None) -> None:
    kind = kind_by_arg(arg)
    if name is None and arg == "config":
        assert kind is None or kind.name == "Config"
        return
    assert (kind.name if kind else None) == name


def test_who_may_write_what() -> None:
    assert KINDS["Mesh"].writable_on_global
    assert not KINDS["Mesh"].writable_on_zone
    assert KINDS["Dataplane"].writable_on_zone
    assert not KINDS["Dataplane"].writable_on_global
    assert KINDS["MeshTimeout"].writable_on_global
    assert KINDS["MeshTimeout"].writable_on_zone
    assert KINDS["Zone"].kds == Kds.WRITABLE_ON_GLOBAL | Kds.WRITABLE_ON_ZONE
    read_only = {name for name, kind in KINDS.items() if kind.read_only}
    assert read_only == {
        "DataplaneInsight",
        "MeshInsight",
        "ServiceInsight",
        "ZoneEgressInsight",
        "ZoneIngressInsight",
        "ZoneInsight",
    }
    assert {name for name, kind in KINDS.items() if kind.admin_only} == {"Secret", "GlobalSecret"}


def test_insights_exist_and_have_the_scope_of_what_they_tell_of() -> None:
    for kind in KINDS.values():
        if kind.has_insight:
            assert KINDS[kind.has_insight].scope == kind.scope
