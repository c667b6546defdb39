"""Who may do what: Kuma's static access, or the roles of Kong Mesh's RBAC (`access.type`).

`static`: most of the API is open to everybody who reaches it, as in Kuma; what makes tokens or holds keys
belongs to the users and groups that the settings list.

`rbac`: every write, token and look into a proxy needs a role (cp/roles.py). Roles are resources, so a
change of one is an event: the rules of a user are put together once and dropped when such an event
arrives, on each replica at the same index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from cp import roles
from cp.config_schema import Config, StaticAccess, Subjects
from cp.limits import ACCESS_USERS_MAX
from cp.live import LiveView
from cp.problems import Problem
from cp.roles import ROLE_KINDS, Edit, Rules
from cp.users import ADMIN, ADMIN_GROUP, ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User
from mesh.registry import KINDS, Kind
from mesh.resource import ResourceKey
from mesh.view import KIND, Changes, View
from raftstore.types import Commit

__all__ = [
    "ADMIN",
    "ADMIN_GROUP",
    "ANONYMOUS",
    "AUTHENTICATED",
    "UNAUTHENTICATED",
    "Access",
    "Edit",
    "User",
    "permits",
    "require",
]

_ROLE_EVENTS = frozenset((KIND, kind, None) for kind in ROLE_KINDS)

Token = Literal[
    "GENERATE_DATAPLANE_TOKEN", "GENERATE_USER_TOKEN", "GENERATE_ZONE_TOKEN", "GENERATE_ZONE_CP_TOKEN"
]
Look = Literal["VIEW_CONFIG_DUMP", "VIEW_STATS", "VIEW_CLUSTERS"]
# What each access is called in a refusal, and whom the settings allow it.
_STATIC: dict[str, tuple[str, Callable[[StaticAccess], Subjects]]] = {
    "GENERATE_DATAPLANE_TOKEN": ("generate dataplane token", lambda static: static.generate_dp_token),
    "GENERATE_USER_TOKEN": ("generate user token", lambda static: static.generate_user_token),
    "GENERATE_ZONE_TOKEN": ("generate zone token", lambda static: static.generate_zone_token),
    "GENERATE_ZONE_CP_TOKEN": ("generate zone token", lambda static: static.generate_zone_token),
    "VIEW_CONFIG_DUMP": ("view config dump", lambda static: static.view_config_dump),
    "VIEW_STATS": ("view stats", lambda static: static.view_stats),
    "VIEW_CLUSTERS": ("view clusters", lambda static: static.view_clusters),
}
_METADATA = "access the configuration of the control plane"


def permits(subjects: Subjects, user: User) -> bool:
    """Whether the right belongs to the user, by name or by a group."""
    return user.name in subjects.users or any(group in subjects.groups for group in user.groups)


def require(subjects: Subjects, user: User, what: str) -> None:
    """Raises Problem (403): `what` completes "user … cannot"."""
    if not permits(subjects, user):
        raise denied(user, what)


def denied(user: User, what: str) -> Problem:
    """The refusal, in Kuma's words."""
    return Problem(403, "Access Denied", f'user "{user}" cannot {what}')


class Access:
    """Decides for one worker. Each question raises Problem (403), or answers by returning."""

    def __init__(self, config: Config, live: LiveView) -> None:
        self._static = config.access.static
        self._by_roles = config.access.type == "rbac"
        self._live = live
        self._rules: dict[User, Rules] = {}
        if self._by_roles:
            live.subscribe(self._follow)

    def resource(self, user: User, kind: Kind, key: ResourceKey, edit: Edit | None = None) -> None:
        """Whether the user may write a resource so, or, without `edit`, see it."""
        if not self._by_roles:
            if kind.admin_only or (edit is not None and kind.name in ROLE_KINDS):
                require(self._static.admin_resources, user, f'access the resource of type "{kind.name}"')
            return
        rules = self._rules_of(user)
        if edit is not None:
            if not roles.may_write(rules, edit):
                raise denied(user, "access the resource")
        elif kind.admin_only and not roles.may_read_secret(rules, kind, key):
            raise denied(user, f'access the resource of type "{kind.name}"')

    def token(
        self, user: User, access: Token, mesh: str = "", tags: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Whether the user may generate such a token. mesh, tags: of one for proxies."""
        what, subjects = _STATIC[access]
        if not self._by_roles:
            require(subjects(self._static), user, what)
        elif not roles.may_generate(self._rules_of(user), access, mesh, tags):
            raise denied(user, what)

    def look(self, user: User, access: Look, proxy: ResourceKey) -> None:
        """Whether the user may look into a proxy: the key of a Dataplane or of a zone proxy."""
        what, subjects = _STATIC[access]
        if not self._by_roles:
            require(subjects(self._static), user, what)
        elif not roles.may_view(self._rules_of(user), access, KINDS[proxy.kind], proxy):
            raise denied(user, what)

    def metadata(self, user: User) -> None:
        """Whether the user may read the settings of the control plane."""
        if not self._by_roles:
            require(self._static.control_plane_metadata, user, _METADATA)
        elif not roles.may_access(
            self._rules_of(user), "VIEW_CONTROL_PLANE_METADATA", "GENERATE_DATAPLANE_TOKEN"
        ):
            raise denied(user, _METADATA)

    def operate(self, user: User) -> None:
        """Whether the user may change the cluster, and take away all that it holds as a backup."""
        if not self._by_roles:
            require(self._static.admin_resources, user, "operate the cluster")
        elif not roles.may_everything(self._rules_of(user)):
            raise denied(user, "operate the cluster")

    def _rules_of(self, user: User) -> Rules:
        found = self._rules.get(user)
        if found is None:
            if len(self._rules) >= ACCESS_USERS_MAX:
                self._rules.clear()
            found = self._rules[user] = roles.rules_of(self._live.view, user)
        return found

    def _follow(self, view: View, changes: Changes, commit: Commit | None) -> None:
        """A role or a binding changed: what was put together of them is no longer true."""
        if not _ROLE_EVENTS.isdisjoint(changes.index_keys):
            self._rules.clear()
