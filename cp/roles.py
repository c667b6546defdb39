"""What AccessRoles grant to a user: pure functions of the roles, the resource and its content.

A rule grants an access to resources by kind, name and mesh; with `when`, only to content that meets one of
its qualifiers. Everything that is not granted is refused: there is no rule that takes away.

Content is judged piece by piece. A policy says what it does in pairs of one entry of `to` and one of
`from`, so each such pair has to be covered by *one* qualifier: two qualifiers that each cover half of a
policy do not add up to a right that nobody was given. A qualifier that speaks of a part which the kind
does not have is not met. Semantics after Kong Mesh's documentation of its RBAC; where that is silent, the
narrower reading (docs/adr/0015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cp.users import User
from mesh.kinds.access import AccessRole, AccessRoleBinding, Qualifier, RefMatch, Rule
from mesh.kinds.base import Kind
from mesh.reader import Reader
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey

ROLE_KINDS = ("AccessRole", "AccessRoleBinding")
WRITES = frozenset({"CREATE", "UPDATE", "DELETE"})
ANY_MESH = "*"
Rules = tuple[Rule, ...]


def rules_of(reader: Reader, user: User) -> Rules:
    """The rules of all roles that are bound to the user, or to a group of the user."""
    names: dict[str, None] = {}
    for each in reader.list("AccessRoleBinding"):
        binding: AccessRoleBinding = each.spec
        if any(_is_subject(subject.type, subject.name, user) for subject in binding.subjects):
            names |= dict.fromkeys(binding.roles)
    found: list[Rule] = []
    for name in names:
        stored = reader.get("AccessRole", "", name)
        if stored is not None:
            role: AccessRole = stored.spec
            found += role.rules
    return tuple(found)


def _is_subject(kind: str, name: str, user: User) -> bool:
    return name == user.name if kind == "User" else name in user.groups


class Edit(NamedTuple):
    """What a write does to one resource: `before` is None for a creation, `after` for a deletion."""

    before: Resource | None
    after: Resource | None


# --- decisions ----------------------------------------------------------------------------


def may_write(rules: Rules, edit: Edit) -> bool:
    """Whether a resource may be created, deleted or changed so.

    A change needs the right to what was there and to what comes, or it could be used to take over.
    """
    access = "CREATE" if edit.before is None else "DELETE" if edit.after is None else "UPDATE"
    contents = [content for content in edit if content is not None]
    return all(_grants_content(rules, access, content) for content in contents)


def may_read_secret(rules: Rules, kind: Kind, key: ResourceKey) -> bool:
    """Whether a resource of a kind that is kept from most may be seen: by those who may write it.

    key: without a name, the whole list.
    """
    return any(WRITES & set(rule.access) and not rule.when and _covers(rule, kind, key) for rule in rules)


def may_view(rules: Rules, access: str, kind: Kind, key: ResourceKey) -> bool:
    """Whether what a proxy is configured with, or counts, may be seen."""
    return any(access in rule.access and not rule.when and _covers(rule, kind, key) for rule in rules)


def may_generate(
    rules: Rules, access: str, mesh: str = "", tags: Mapping[str, Sequence[str]] | None = None
) -> bool:
    """Whether a token may be generated. Kinds and names of a rule speak of resources, not of tokens.

    mesh, tags: of a token for proxies.
    """
    for rule in rules:
        if access not in rule.access or rule.mesh not in ("", ANY_MESH, mesh):
            continue
        if not rule.when or any(_fits_token(qualifier, tags or {}) for qualifier in rule.when):
            return True
    return False


def may_access(rules: Rules, *accesses: str) -> bool:
    """Whether one of the accesses is granted at all, to whatever."""
    return any(access in rule.access for rule in rules for access in accesses)


def may_everything(rules: Rules) -> bool:
    """Whether a rule allows to write every resource there is: who may that, may operate the cluster."""
    return any(
        set(rule.access) >= WRITES and not (rule.types or rule.names or rule.mesh or rule.when)
        for rule in rules
    )


def _grants_content(rules: Rules, access: str, resource: Resource) -> bool:
    kind = KINDS[resource.kind]
    return any(
        access in rule.access
        and _covers(rule, kind, resource.key)
        and (not rule.when or _meets(rule.when, kind, resource.spec))
        for rule in rules
    )


def _covers(rule: Rule, kind: Kind, key: ResourceKey) -> bool:
    if rule.types and kind.name not in rule.types:
        return False
    if rule.names and key.name not in rule.names:
        return False
    if not rule.mesh:
        return True
    return kind.scope == "mesh" and rule.mesh in (ANY_MESH, key.mesh)


# --- content ------------------------------------------------------------------------------


def _meets(when: Sequence[Qualifier], kind: Kind, spec: Any) -> bool:
    """Whether each pair of entries of `to` and `from` is covered by one of the qualifiers."""
    fitting = [
        qualifier
        for qualifier in when
        if _fits_kind(qualifier, kind)
        and _fits_ref(qualifier.target_ref, getattr(spec, "target_ref", None))
        and _fits_selectors(qualifier, spec)
    ]
    to = _covered(
        getattr(spec, "to", None), [each.to.target_ref if each.to else None for each in fitting], fitting
    )
    sources = [each.from_.target_ref if each.from_ else None for each in fitting]
    inbound = _covered(getattr(spec, "from_", None), sources, fitting)
    if getattr(spec, "rules", None):
        # They are what follows `from`, and say nothing of who is meant by a targetRef.
        inbound |= {frozenset(at for at, each in enumerate(fitting) if each.from_ is None)}
    return all(outward & inward for outward in to for inward in inbound)


def _covered(
    entries: Sequence[Any] | None, wanted: Sequence[RefMatch | None], fitting: Sequence[Qualifier]
) -> set[frozenset[int]]:
    """For each distinct entry, which qualifiers allow it (by position); all of them when there is none."""
    if not entries:
        return {frozenset(range(len(fitting)))}
    return {
        frozenset(
            at for at, match in enumerate(wanted) if match is None or _fits_ref(match, entry.target_ref)
        )
        for entry in entries
    }


def _fits_kind(qualifier: Qualifier, kind: Kind) -> bool:
    """Whether everything that the qualifier names is a part of the kind."""
    if qualifier.dp_token is not None or qualifier.sources or qualifier.destinations:
        return False
    if (qualifier.target_ref or qualifier.to or qualifier.from_) and not kind.is_policy:
        return False
    return (qualifier.to is None or kind.has_to) and (qualifier.from_ is None or kind.has_from)


def _fits_ref(wanted: RefMatch | None, ref: Any) -> bool:
    """Whether a targetRef is allowed. One that is absent means the whole mesh, as everywhere."""
    if wanted is None:
        return True
    if ref is None:
        return wanted == RefMatch(kind="Mesh")
    return (
        wanted.kind == ref.kind
        and wanted.name in (None, ref.name)
        and wanted.namespace in (None, ref.namespace)
        and wanted.section_name in (None, ref.section_name)
        and _has_all(wanted.labels, ref.labels)
        and _has_all(wanted.tags, ref.tags)
    )


def _fits_selectors(qualifier: Qualifier, spec: Any) -> bool:
    if qualifier.selectors is None:
        return True
    selectors = getattr(spec, "selectors", None)
    if not selectors:
        return False
    return all(_has_all(qualifier.selectors.match, selector.match) for selector in selectors)


def _has_all(wanted: Mapping[str, str] | None, given: Mapping[str, str] | None) -> bool:
    """More tags than wanted select fewer proxies, so they are allowed."""
    given = given or {}
    return all(name in given and _matches(value, given[name]) for name, value in (wanted or {}).items())


def _fits_token(qualifier: Qualifier, tags: Mapping[str, Sequence[str]]) -> bool:
    """Whether the token is limited to the values that the qualifier allows for each of its tags."""
    if qualifier.dp_token is None or not qualifier.dp_token.tags:
        return False
    allowed: dict[str, list[str]] = {}
    for tag in qualifier.dp_token.tags:
        allowed.setdefault(tag.name, []).append(tag.value)
    return all(
        bool(tags.get(name)) and all(any(_matches(each, value) for each in values) for value in tags[name])
        for name, values in allowed.items()
    )


def _matches(pattern: str, text: str) -> bool:
    """Whether `text` is the pattern, in which `*` stands for any text. Linear, whatever the pattern."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    last = rest.pop()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in rest:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
