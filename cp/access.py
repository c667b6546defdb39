"""Who may do what: Kuma's static access. A user is a name and groups; a right lists both.

Most of the API is open to everybody who reaches it, as in Kuma; what makes tokens or holds
keys is not. Nobody is nobody: a request without a token is the user `anonymous`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cp.config_schema import Subjects
from cp.problems import Problem

ADMIN_GROUP = "mesh-system:admin"
AUTHENTICATED = "mesh-system:authenticated"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. `str()` is how answers and the log name them."""

    name: str
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}/{','.join(self.groups)}"

    def with_groups(self, *groups: str) -> User:
        return User(self.name, self.groups + groups)


ADMIN = User("mesh-system:admin", (ADMIN_GROUP, AUTHENTICATED))
ANONYMOUS = User("mesh-system:anonymous", ("mesh-system:unauthenticated",))


def permits(subjects: Subjects, user: User) -> bool:
    """Whether the right belongs to the user, by name or by a group."""
    return user.name in subjects.users or any(group in subjects.groups for group in user.groups)


def require(subjects: Subjects, user: User, what: str) -> None:
    """Raises Problem (403): `what` completes "user … cannot"."""
    if not permits(subjects, user):
        raise Problem(403, "Access Denied", f'user "{user}" cannot {what}')
