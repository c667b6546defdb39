"""IncrementalEqualsFull, of everything: whatever happens to a mesh, in whatever order, every proxy has what a build
from scratch gives it, byte for byte, and was told exactly what changed.

A history puts and deletes variants of all resources of the pool (resources.py, policies.py): all sixteen policies,
destinations of every kind, gateways, zone proxies. After each event a source that has followed every event is held
against one that starts from nothing, on a view that starts from nothing, too.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import xds.config
from mesh.policy.kinds import POLICY_KINDS
from mesh.resource import Resource
from mesh.view import View
from tests.xds import second_opinion
from tests.xds.config.worlds import resource
from tests.xds.incremental import policies, resources
from tests.xds.incremental.dangling import dangling
from xds import proto
from xds.config.identity import Identity, authority_secret, certificate_secret
from xds.config.source import Later, Source, Stream
from xds.engine import Derivation
from xds.source import NodeInfo
from xds.types import Delta, Encoded, Snapshot

# What each resource may be; None: it is not there.
POOL: tuple[tuple[Resource | None, ...], ...] = tuple(
    (*(resource(document, resources.ZONE) for document in variants), None)
    for variants in (
        *resources.pool(),
        *(found for kind in policies.SPECS for found in policies.variants(kind).values()),
    )
)
Move = tuple[int, int]  # a resource of the pool, and the variant that it becomes
Named = dict[tuple[str, str], Encoded]
MESHES = resources.MESHES
PARTS = len(MESHES)
MOVES_AT_ONCE = 20
# A failure is told as it was found: to shrink a history takes many minutes, for each trial derives a mesh.
PHASES = (Phase.explicit, Phase.generate)
CONTENTS_DECODED = 3
UNTRIED_MAX = 8


class Certificates:
    """Secrets that depend on the identity alone. Implements xds.config.identity.IdentityProvider."""

    def open(self, identity: Identity, on_change: Callable[[], None]) -> Any:
        class Handle:
            def secrets(self) -> dict[str, Encoded]:
                own, ca = identity.identity_secret, identity.ca_secret
                found = {own: certificate_secret(own, repr(identity).encode(), b"key")}
                return found | ({ca: authority_secret(ca, b"roots")} if ca else {})

            def close(self) -> None:
                return

        return Handle()


def source_of(view: View, later: Later | None = None) -> Source:
    return Source(view, zone=resources.ZONE, identities=Certificates(), later=later)


class Follower:
    """A stream that looks at what it is told of, and at nothing else, as a session does."""

    def __init__(self, source: Source, node: NodeInfo) -> None:
        self.stream = source.connect(node, self._hear)
        self.told: Named | None = None
        self.news = False
        self._first()

    def _first(self) -> None:
        snapshot = self.stream.snapshot()
        self.told = None if snapshot is None else flat(snapshot)

    def _hear(self, deltas: Iterable[Delta]) -> None:
        self.news = True
        if self.told is None:
            self._first()
            return
        snapshot = self.stream.snapshot()
        assert snapshot is not None
        for delta in deltas:
            for name in (*(encoded.name for encoded in delta.upserts), *delta.removed):
                found = snapshot[delta.type_url].get(name)
                if found is None:
                    self.told.pop((delta.type_url, name), None)
                else:
                    self.told[delta.type_url, name] = found


def flat(snapshot: Snapshot) -> Named:
    return {(type_url, name): of_type[name] for type_url, of_type in snapshot.items() for name in of_type}


class History:
    """A source that follows every event. sliced: a slice at a time, when `turn` says so."""

    def __init__(self, start: Iterable[Resource], *, sliced: bool = False) -> None:
        self.view = View.of(list(start), 1)
        self.turns: deque[Callable[[], None]] = deque()
        self.source = source_of(self.view, self.turns.append if sliced else None)
        self.followers = [Follower(self.source, node) for node in resources.PROXIES]

    def turn(self) -> bool:
        """Let the source do one slice; whether it had something to do."""
        if not self.turns:
            return False
        self.turns.popleft()()
        return True

    def settle(self) -> None:
        while self.turn():
            self.nothing_dangles()

    def nothing_dangles(self) -> None:
        """Every reference of a told resource is to a told resource."""
        for follower in self.followers:
            if follower.news:
                follower.news = False
                assert not dangling(follower.told or {})

    def move(self, *moves: Move) -> None:
        """One transaction."""
        changes = {}
        for at, variant in moves:
            entry = POOL[at][variant % len(POOL[at])]
            key = next(found.key for found in POOL[at] if found is not None)
            changes[key] = entry
        self.view, changed = self.view.with_changes(self.view.index + 1, list(changes.items()))
        self.source.advance(self.view, changed)

    def check(self) -> None:
        """Everything is as if made from nothing."""
        assert self.source.settled
        fresh = source_of(View.of(list(self.view), self.view.index))
        expected = [fresh.connect(node, lambda deltas: None) for node in resources.PROXIES]
        for follower, stream in zip(self.followers, expected, strict=True):
            self._compare(follower, stream, kept=bool(fresh.failures))
        for why in fresh.failures.values():
            assert "PatchError" in why, "only the patch that cannot be applied is meant to fail"
        if all(stream.snapshot() is not None for stream in expected):
            assert self.source.failures == fresh.failures

    def _compare(self, follower: Follower, expected: Stream, *, kept: bool) -> None:
        """kept: something cannot be derived; then proxies keep what they had of it, and new ones have nothing."""
        want, have = expected.snapshot(), follower.stream.snapshot()
        if want is None:  # its Dataplane or Mesh is gone: it keeps what it has
            return
        assert have is not None and follower.told is not None
        wanted, had = flat(want), flat(have)
        assert follower.told == had, "what it was told of is all that changed"
        if kept:
            had = {name: had[name] for name in wanted if name in had}
        assert names(had) == names(wanted)
        assert had == wanted, [name for name in wanted if had[name].body != wanted[name].body]


def names(found: Named) -> list[str]:
    return sorted(f"{type_url.rpartition('.')[2]} {name}" for type_url, name in found)


def calm() -> list[Resource]:
    """The first variant of each resource that is not a policy."""
    return [entry for variants in POOL[: len(resources.pool())] if (entry := variants[0]) is not None]


MOVES = st.tuples(st.integers(0, len(POOL) - 1), st.integers(0, 7))


@settings(max_examples=6, phases=PHASES)
@given(st.lists(st.lists(MOVES, min_size=1, max_size=3), min_size=1, max_size=8))
def test_any_history_of_a_mesh_ends_as_if_made_from_nothing(history: list[list[Move]]) -> None:
    found = History(calm())
    for transaction in history:
        found.move(*transaction)
        found.check()


@settings(max_examples=5, phases=PHASES)
@given(st.lists(st.tuples(st.lists(MOVES, min_size=1, max_size=6), st.integers(0, 40)), max_size=6))
def test_in_slices_too_and_what_a_proxy_was_told_never_refers_to_what_it_was_not(
    history: list[tuple[list[Move], int]],
) -> None:
    """Transactions come while the wave of those before is still running."""
    found = History(calm(), sliced=True)
    found.settle()
    for transaction, turns in history:
        found.move(*transaction)
        for _ in range(turns):
            found.turn()
            found.nothing_dangles()
    found.settle()
    found.check()


# --- one walk through the whole pool ---------------------------------------------------------------


class Walk(NamedTuple):
    """ran: names of the derivations that ran. kinds: what was put. emitted: every resource, by type and version."""

    ran: set[str]
    kinds: set[str]
    emitted: dict[tuple[str, str], Encoded]


def transactions(rng: random.Random) -> Iterator[list[Move]]:
    """Every variant of everything comes, and everything goes once, in any order.

    In four parts, each of which begins with another variant of the mesh and of all that is in it. In each part
    happens all that may happen to resources, which is taken back in the next transaction, and a quarter of what may
    happen to policies, which stays.
    """
    resources_end = len(resources.pool())
    for part in range(PARTS):
        begin = [(at, (part + at) % (len(POOL[at]) - 1)) for at in range(resources_end)]
        yield begin
        moves = [(0, len(MESHES))]
        for at, variants in enumerate(POOL[1:], start=1):
            every = range(len(variants)) if at < resources_end else range(part, len(variants), PARTS)
            moves += [(at, variant) for variant in every]
        rng.shuffle(moves)
        back: list[Move] = []
        for first in range(0, len(moves), MOVES_AT_ONCE):
            together = moves[first : first + MOVES_AT_ONCE]
            yield back + together
            back = [begin[at] for at, _ in together if at < resources_end]


@pytest.fixture(scope="module")
def walk() -> Walk:
    found, walked = History(calm()), Walk(set(), set(), {})
    for together in transactions(random.Random(1)):
        found.move(*together)
        found.check()
        walked.kinds.update(entry.kind for at, variant in together if (entry := POOL[at][variant]))
        for follower in found.followers:
            snapshot = follower.stream.snapshot() or {}
            walked.emitted.update(
                ((type_url, encoded.version), encoded) for (type_url, _), encoded in flat(snapshot).items()
            )
    walked.ran.update(found.source.engine.runs)
    return walked


def test_the_walk_puts_every_kind_that_proxies_depend_on(walk: Walk) -> None:
    assert walk.kinds >= {kind.name for kind in POLICY_KINDS}
    assert walk.kinds >= {"MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshGateway"}
    assert walk.kinds >= {"Dataplane", "ZoneIngress", "ZoneEgress", "MeshIdentity", "MeshTrust", "Secret"}


def test_the_walk_runs_nearly_every_derivation(walk: Walk) -> None:
    """All of them when this was written; what comes new may need something new in the pool."""
    assert len(all_derivations() - walk.ran) <= UNTRIED_MAX, all_derivations() - walk.ran


def all_derivations() -> set[str]:
    """The names of all derivations that the product has."""
    found = set()
    for module in pkgutil.walk_packages(xds.config.__path__, "xds.config."):
        values = vars(importlib.import_module(module.name)).values()
        found |= {value.name for value in values if isinstance(value, Derivation)}
    return found


def test_an_independent_decoder_reads_the_same_from_what_is_emitted(walk: Walk) -> None:
    """Every resource by name, and of each name the first contents: it is pure Python, and slow."""
    seen: Counter[tuple[str, str]] = Counter()
    for (type_url, _), encoded in walk.emitted.items():
        seen[type_url, encoded.name] += 1
        if seen[type_url, encoded.name] > CONTENTS_DECODED:
            continue
        full_name = type_url.rpartition("/")[2]
        ours = proto.parse(proto.msg(full_name), encoded.body)
        theirs = second_opinion.decode(full_name, encoded.body)
        again = proto.parse(proto.msg(full_name), bytes(theirs))
        assert proto.to_json(again) == proto.to_json(ours), encoded.name
