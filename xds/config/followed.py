"""What is known of a proxy that is followed: its plan, the layers of its resources, and who listens."""

from __future__ import annotations

from typing import Any

from xds.config.holdings import Layer, snapshot_of
from xds.config.identity import Identity, IdentityHandle
from xds.config.plan import Plan
from xds.engine import Query
from xds.types import Snapshot


class Proxy:
    """One plan that at least one stream follows. layers: own resources, secrets, then groups."""

    def __init__(self, plan: Query) -> None:
        self.query = plan
        self.plan: Plan | None = None
        self.own = Layer()
        self.secrets = Layer()
        self.groups: dict[Query, Layer] = {}
        self.identities: dict[Identity, IdentityHandle] = {}
        self.snapshot: Snapshot | None = None
        # Ordered as they came; each is told what changes.
        self.streams: dict[Any, None] = {}
        self.own.users[self] = None
        self.secrets.users[self] = None

    def restack(self) -> None:
        """Make the snapshot anew after the set of layers changed."""
        self.snapshot = snapshot_of([self.own, self.secrets, *self.groups.values()])
