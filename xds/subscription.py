"""One resource type on one stream: what the client wants, what it has, and what to send next.

The two are kept apart on purpose. *Wants* are subscriptions (`wildcard`, `names`). *Has* are the
versions the client was sent, or said it has when it reconnected. A resource is sent when it is
wanted and its version is not the one the client has; nothing else decides.

    dirty     names that may need sending: changed, or newly wanted. Looked at, then cleared.
    forced    names whose present state must be sent even if the client has it: it asked again,
              or their cluster changed and Envoy waits for them.
    in_flight the one response that is not acknowledged yet. Until then changes gather in
              `dirty`, so a slow client gets the latest state and never the intermediate ones.
    rejected  versions the client refused. They are not sent again; another version is.
    owed      the first answer to a wildcard: a new client waits for it even if it is empty.
    suspects  after a rejection that names no culprit: groups to be tried one by one, halved
              until the culprit stands alone. The innocent are acknowledged on the way.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from xds.encode import empty_assignment
from xds.status import Rejection
from xds.types import ENDPOINT, Encoded

# In `has`: the client rejected a response with it, and may have the version before or that one.
UNKNOWN = "?"


class Plan(NamedTuple):
    """The content of the next response."""

    upserts: list[Encoded]
    removed: list[str]

    def __bool__(self) -> bool:
        return bool(self.upserts or self.removed)


@dataclass(slots=True)
class InFlight:
    """A response that awaits its ACK. `before` has the versions it replaced."""

    nonce: str
    upserts: dict[str, str]
    before: dict[str, str]
    removed: tuple[str, ...]
    sent_at: float

    @property
    def adds(self) -> bool:
        """Whether it brings resources that the client did not have in any version."""
        return self.upserts.keys() != self.before.keys()


@dataclass(slots=True)
class Subscription:
    type_url: str
    started: bool = False
    resumed: bool = False
    wildcard: bool = False
    owed: bool = False
    names: set[str] = field(default_factory=set)
    has: dict[str, str] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    rejected: dict[str, Rejection] = field(default_factory=dict)
    suspects: deque[frozenset[str]] = field(default_factory=deque)
    in_flight: InFlight | None = None

    # --- what the client wants -----------------------------------------------------------------

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def start(self, has: Mapping[str, str]) -> None:
        """The first request of this type on this stream: the client says which versions it has."""
        self.started = True
        self.resumed = bool(has)
        self.has = dict(has)
        self.dirty.update(has)

    def subscribe(self, names: Iterable[str]) -> None:
        """The client asks for `names`, perhaps again: each is answered, even if it has it."""
        for name in names:
            self.names.add(name)
            self.forced.add(name)
            self.dirty.add(name)

    def resume(self, names: Iterable[str]) -> None:
        """Like `subscribe`, on a new stream: what the client has in the right version is not sent."""
        for name in names:
            self.names.add(name)
            self.dirty.add(name)
            if name not in self.has:
                self.forced.add(name)

    def subscribe_wildcard(self, known: Iterable[str]) -> None:
        """The client asks for everything. `known` names are all that exist now."""
        self.wildcard = True
        self.owed = not self.has
        self.dirty.update(known)
        self.dirty.update(self.has)

    def unsubscribe(self, names: Iterable[str]) -> None:
        for name in names:
            self.names.discard(name)
            if self.wildcard:
                # Still covered by the wildcard, or not: the client learns which (xDS protocol,
                # "How the client specifies what resources to return").
                self.forced.add(name)
                self.dirty.add(name)
            else:
                self._forget(name)

    def unsubscribe_wildcard(self) -> None:
        self.wildcard = False
        for name in [name for name in self.has if name not in self.names]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self.has.pop(name, None)
        self.rejected.pop(name, None)
        self.dirty.discard(name)
        self.forced.discard(name)

    def changed(self, names: Iterable[str]) -> None:
        """The configuration of these names changed: look at them."""
        self.dirty.update(names)

    def follow(self, names: Iterable[str]) -> None:
        """The client waits for these although they did not change (their cluster did)."""
        for name in names:
            if self.wants(name) or not self.started:
                self.forced.add(name)
                self.dirty.add(name)

    # --- what to send --------------------------------------------------------------------------

    def _known(self, name: str) -> bool:
        """Whether the client has some version of it for sure."""
        return self.has.get(name, UNKNOWN) != UNKNOWN

    def due(self) -> bool:
        """Whether there may be something to send."""
        return self.owed or bool(self.dirty)

    def quiet(self) -> bool:
        """Nothing on its way and nothing waiting."""
        return self.in_flight is None and not self.dirty

    def adding(self, resources: Mapping[str, Encoded]) -> bool:
        """Whether resources that the client does not have are on their way or wait to be sent."""
        if self.in_flight is not None and self.in_flight.adds:
            return True
        return any(
            not self._known(name) and name in resources and self.wants(name) and name not in self.rejected
            for name in self.dirty
        )

    def plan(self, resources: Mapping[str, Encoded], removals: bool) -> Plan:
        """What to send now. Clears the dirty names that need nothing.

        removals: whether resources that vanished may be removed now; otherwise they stay dirty.
        """
        while True:
            plan = Plan([], [])
            for name in sorted(self.suspects[0] if self.suspects else self.dirty):
                self._plan_one(plan, name, resources.get(name), removals)
            if plan or not self.suspects:
                return plan
            self.suspects.popleft()

    def _plan_one(self, plan: Plan, name: str, resource: Encoded | None, removals: bool) -> None:
        if not self.wants(name):
            self._forget(name)
        elif resource is not None:
            self._plan_upsert(plan, name, resource)
        elif name not in self.has:
            if name in self.forced:
                plan.removed.append(name)  # asked for by name, and unknown: say so
            else:
                self.dirty.discard(name)
                self.rejected.pop(name, None)
        elif removals:
            self._plan_vanished(plan, name)

    def _plan_upsert(self, plan: Plan, name: str, resource: Encoded) -> None:
        rejection = self.rejected.get(name)
        refused = rejection is not None and rejection.version == resource.version
        if name in self.forced or (self.has.get(name) != resource.version and not refused):
            plan.upserts.append(resource)
        else:
            self.dirty.discard(name)

    def _plan_vanished(self, plan: Plan, name: str) -> None:
        if self.type_url != ENDPOINT:
            plan.removed.append(name)
            return
        # Envoy acknowledges the removal of endpoints and keeps using them.
        empty = empty_assignment(name)
        if self.has.get(name) != empty.version:
            plan.upserts.append(empty)
        else:
            self.dirty.discard(name)

    def sent(self, plan: Plan, nonce: str, now: float) -> None:
        """The plan was put into a response with this nonce."""
        upserts = {resource.name: resource.version for resource in plan.upserts}
        before = {name: self.has[name] for name in upserts if self._known(name)}
        self.in_flight = InFlight(nonce, upserts, before, tuple(plan.removed), now)
        self.owed = False
        if self.suspects:
            self.suspects.popleft()
        self.has.update(upserts)
        for name in plan.removed:
            self.has.pop(name, None)
        self.dirty.difference_update(upserts, plan.removed)
        self.forced.difference_update(upserts, plan.removed)
        if not self.dirty:  # an emptied set keeps its table: 32 KB after 500 names
            self.dirty, self.forced = set(), set(self.forced)

    def acknowledged(self) -> dict[str, str]:
        """The versions that the client confirmed to have."""
        versions = {name: version for name, version in self.has.items() if version != UNKNOWN}
        if self.in_flight is not None:
            for name in self.in_flight.upserts:
                versions.pop(name, None)
            versions.update(self.in_flight.before)
        return versions

    # --- what came of it -----------------------------------------------------------------------

    def acked(self) -> InFlight:
        """The response in flight was accepted."""
        response = self._landed()
        for name in (*response.upserts, *response.removed):
            self.rejected.pop(name, None)
        return response

    def nacked(self, message: str) -> tuple[str, ...]:
        """The response in flight was rejected. Returns the names that are to blame, if known.

        Envoy applies the good resources of a rejected response, but does not count their versions
        as received. So the innocent are sent again, without the culprit, and until then nothing is
        assumed of what the client has: not even the version before, should it be wanted again.
        """
        response = self._landed()
        guilty = culprits(response.upserts, message)
        for name in response.upserts:
            if name in self.has:  # otherwise unsubscribed meanwhile
                self.has[name] = UNKNOWN
        for name in guilty:
            self.rejected[name] = Rejection(response.upserts[name], message)
        self._retry([name for name in response.upserts if name not in guilty], split=not guilty)
        return guilty

    def _landed(self) -> InFlight:
        response = self.in_flight
        assert response is not None, "an answer without a response in flight"
        self.in_flight = None
        return response

    def _retry(self, innocent: list[str], split: bool) -> None:
        self.dirty.update(innocent)
        if split and innocent:
            half = (len(innocent) + 1) // 2
            for group in (innocent[half:], innocent[:half]):
                if group:
                    self.suspects.appendleft(frozenset(group))


def culprits(names: Iterable[str], message: str) -> tuple[str, ...]:
    """The names that an error message of Envoy blames; a single name is to blame in any case.

    Envoy writes e.g. "Error adding/updating listener(s) in:80: <reason>, in:81: <reason>".
    """
    names = list(names)
    if len(names) == 1:
        return (names[0],)
    return tuple(
        name for name in names if re.search(rf"(?<![\w.:/-]){re.escape(name)}(?![\w/-]|[.:]\w)", message)
    )
