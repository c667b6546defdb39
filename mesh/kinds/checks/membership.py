"""Who may be a member of a mesh: its constraints against the tags of a Dataplane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mesh.errors import FieldError

if TYPE_CHECKING:
    from mesh.kinds.dataplane import Dataplane
    from mesh.kinds.mesh import Mesh, TagRule

_ANY = "*"


def membership(mesh_name: str, mesh: Mesh, dataplane: Dataplane) -> Iterator[FieldError]:
    """Faults of a Dataplane that joins a mesh; each of its tag sets has to be welcome by itself.

    A set is welcome when some requirement matches it, or there are none, and no restriction does.
    """
    constraints = mesh.constraints.dataplane_proxy if mesh.constraints else None
    if constraints is None:
        return
    for tags in dataplane.tag_sets:
        subject = f'dataplane cannot be a member of mesh "{mesh_name}" because its tags "{_text(tags)}"'
        if constraints.requirements and not any(_matches(rule, tags) for rule in constraints.requirements):
            yield FieldError("mesh", f"{subject} does not fulfill any requirements defined on the Mesh")
        for rule in constraints.restrictions:
            if _matches(rule, tags):
                restricted = _text(rule.tags or {})
                yield FieldError(
                    "mesh", f'{subject} matches restricted tags "{restricted}" defined on the Mesh'
                )


def _matches(rule: TagRule, tags: Mapping[str, str]) -> bool:
    return all(
        bool(tags.get(name)) if value == _ANY else tags.get(name) == value
        for name, value in (rule.tags or {}).items()
    )


def _text(tags: Mapping[str, str]) -> str:
    return " ".join(f"{name}={tags[name]}" for name in sorted(tags))
