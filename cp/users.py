"""Who asks: a name and the groups it is in."""

from __future__ import annotations

from dataclasses import dataclass

ADMIN_GROUP = "mesh-system:admin"
AUTHENTICATED = "mesh-system:authenticated"
UNAUTHENTICATED = "mesh-system:unauthenticated"


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
ANONYMOUS = User("mesh-system:anonymous", (UNAUTHENTICATED,))
