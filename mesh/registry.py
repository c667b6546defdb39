"""All kinds, by name, by URL path and by the name that people type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mesh.kinds import ALL
from mesh.kinds.base import Kds, Kind

__all__ = ["KINDS", "Kds", "Kind", "kind_by_arg", "kind_by_path"]

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in ALL})
"""Every kind by its name, in the order of their names."""

_BY_PATH = {path: kind for kind in ALL for path in (kind.path, *kind.path_aliases) if path}


def _args(kind: Kind) -> set[str]:
    """What a person may call a kind on a command line: singular, plural, short, any case."""
    given = {kind.arg, *kind.arg_aliases, kind.path, *kind.path_aliases, kind.short, kind.name.lower()}
    plurals = {f"{name}s" for name in (kind.arg, *kind.arg_aliases) if name}
    return (given | plurals) - {""}


# Canonical names come last: where a short name of one kind is the full name of another, it yields.
_BY_ARG = {name: kind for kind in ALL for name in _args(kind)} | {kind.arg: kind for kind in ALL if kind.arg}


def kind_by_path(path: str) -> Kind | None:
    """The kind that is served under `/<path>` or `/meshes/{mesh}/<path>`."""
    return _BY_PATH.get(path)


def kind_by_arg(arg: str) -> Kind | None:
    """The kind that a command-line argument means: "meshtimeout", "meshtimeouts", "mt", "MeshTimeout"."""
    return KINDS.get(arg) or _BY_ARG.get(arg.lower())
