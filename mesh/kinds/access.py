"""AccessRole and AccessRoleBinding: who may write what, in the manner of Kong Mesh's RBAC.

A role is a list of rules, a binding gives roles to users and groups. Both are of global scope and are
never copied between zones and Global: each control plane decides for itself (cp/roles.py decides).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from mesh.kinds.base import Kds, Kind, Labels, Model, Tags
from mesh.kinds.checks.access import validate_binding, validate_role, warn_role
from mesh.kinds.policies.common import RefKind

AccessKind = Literal[
    "CREATE",
    "UPDATE",
    "DELETE",
    "GENERATE_DATAPLANE_TOKEN",
    "GENERATE_USER_TOKEN",
    "GENERATE_ZONE_TOKEN",
    "GENERATE_ZONE_CP_TOKEN",
    "VIEW_CONFIG_DUMP",
    "VIEW_STATS",
    "VIEW_CLUSTERS",
    "VIEW_CONTROL_PLANE_METADATA",
]


class TagMatch(Model):
    """Tags that have to be there; `*` in a value stands for any text."""

    match: Tags | None = None


class RefMatch(Model):
    """A targetRef that is allowed: what is left out may be anything."""

    kind: RefKind
    name: str | None = None
    namespace: str | None = None
    labels: Labels | None = None
    section_name: str | None = None
    tags: Tags | None = None


class RefSection(Model):
    """One entry of `to` or `from`."""

    target_ref: RefMatch | None = None


class TokenTag(Model):
    """A tag that the token has to be limited to."""

    name: str
    value: str


class DpTokenMatch(Model):
    """Which tokens of proxies may be generated."""

    tags: tuple[TokenTag, ...] = ()


class Qualifier(Model):
    """A condition on the content. What it does not name may be anything."""

    target_ref: RefMatch | None = None
    to: RefSection | None = None
    from_: RefSection | None = msgspec.field(default=None, name="from")
    sources: TagMatch | None = None
    destinations: TagMatch | None = None
    selectors: TagMatch | None = None
    dp_token: DpTokenMatch | None = None


class Rule(Model):
    """Grants `access` to resources of `types` (empty: all) called `names` (empty: all), in `mesh`
    (empty: anywhere, `*`: in any mesh), when one of the qualifiers is met."""

    access: tuple[AccessKind, ...]
    types: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    mesh: str = ""
    when: tuple[Qualifier, ...] = ()


class AccessRole(Model):
    """What those may do to whom an AccessRoleBinding gives this role."""

    rules: tuple[Rule, ...] = ()


class Subject(Model):
    """A user, or everybody in a group."""

    type: Literal["User", "Group"]
    name: str


class AccessRoleBinding(Model):
    """Gives roles to users and groups."""

    subjects: tuple[Subject, ...] = ()
    roles: tuple[str, ...] = ()


ACCESS_ROLE = Kind(
    name="AccessRole",
    scope="global",
    path="access-roles",
    arg="access-role",
    singular="Access Role",
    plural="Access Roles",
    spec_type=AccessRole,
    wrapped=False,
    kds=Kds.WRITABLE_ON_GLOBAL | Kds.WRITABLE_ON_ZONE,
    validate=validate_role,
    warn=warn_role,
)

ACCESS_ROLE_BINDING = Kind(
    name="AccessRoleBinding",
    scope="global",
    path="access-role-bindings",
    arg="access-role-binding",
    singular="Access Role Binding",
    plural="Access Role Bindings",
    spec_type=AccessRoleBinding,
    wrapped=False,
    kds=Kds.WRITABLE_ON_GLOBAL | Kds.WRITABLE_ON_ZONE,
    validate=validate_binding,
)
