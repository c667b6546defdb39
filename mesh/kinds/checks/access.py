"""What has to hold of an AccessRole and of an AccessRoleBinding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from mesh.errors import FieldError
from mesh.kinds.checks.common import Errors
from mesh.reader import Reader
from mesh.resource import Resource

if TYPE_CHECKING:
    from mesh.kinds.access import AccessRole, AccessRoleBinding, Qualifier

EMPTY = "cannot be empty"


def validate_role(resource: Resource, reader: Reader) -> Errors:
    role: AccessRole = resource.spec
    for number, rule in enumerate(role.rules):
        path = f"rules[{number}]"
        if not rule.access:
            yield FieldError(f"{path}.access", EMPTY)
        yield from _not_empty(rule.types, f"{path}.types")
        yield from _not_empty(rule.names, f"{path}.names")
        for at, qualifier in enumerate(rule.when):
            yield from _qualifier(qualifier, f"{path}.when[{at}]")


def _qualifier(qualifier: Qualifier, path: str) -> Errors:
    parts = (
        qualifier.target_ref,
        qualifier.to,
        qualifier.from_,
        qualifier.sources,
        qualifier.destinations,
        qualifier.selectors,
        qualifier.dp_token,
    )
    if all(part is None for part in parts):
        yield FieldError(path, "qualifier cannot be empty")
    for name, section in (("to", qualifier.to), ("from", qualifier.from_)):
        if section is not None and section.target_ref is None:
            yield FieldError(f"{path}.{name}.targetRef", "must be set")
    token = qualifier.dp_token
    if token is not None:
        if not token.tags:
            yield FieldError(f"{path}.dpToken.tags", EMPTY)
        for number, tag in enumerate(token.tags):
            yield from _not_empty((tag.name,), f"{path}.dpToken.tags", suffix=".name", start=number)


def validate_binding(resource: Resource, reader: Reader) -> Errors:
    binding: AccessRoleBinding = resource.spec
    for number, subject in enumerate(binding.subjects):
        if not subject.name:
            yield FieldError(f"subjects[{number}].name", EMPTY)
    yield from _not_empty(binding.roles, "roles")


def _not_empty(texts: Iterable[str], path: str, *, suffix: str = "", start: int = 0) -> Errors:
    for number, text in enumerate(texts, start):
        if not text:
            yield FieldError(f"{path}[{number}]{suffix}", EMPTY)


def warn_role(resource: Resource) -> Iterator[str]:
    """What a role says in vain. Kinds that exist elsewhere only are no error: the role was carried over."""
    from mesh.registry import KINDS  # the registry is made of all kinds, this one included

    role: AccessRole = resource.spec
    for number, rule in enumerate(role.rules):
        for at, name in enumerate(rule.types):
            if name not in KINDS:
                yield f"rules[{number}].types[{at}]: there is no kind {name[:60]!r} here; nothing is granted for it"
            elif rule.mesh and KINDS[name].scope == "global":
                yield f"rules[{number}].mesh: {name} belongs to no mesh; the rule grants nothing for it"
        if any(each.sources or each.destinations for each in rule.when):
            yield f"rules[{number}].when: no kind here has sources or destinations; such a qualifier is never met"
