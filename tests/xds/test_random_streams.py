"""Random histories of streams: whatever happens, traffic never meets a hole, and all ends well.

A small mesh changes at random, consistently at each step (routes name existing clusters, each
listener has its route). A model of Envoy receives the responses late, in order, and answers late;
streams break, with everything on the way lost, and the client comes back with what it has, to a
new session as on another replica. After each step the client's own state must hold no dangling
reference (MakeBeforeBreak); when everything has been delivered it must equal the mesh, with
nothing on the way and nothing sent twice.
"""

from __future__ import annotations

import random
from collections import deque

import pytest

from chaos.fakeenvoy import FakeEnvoy, references
from tests.xds.fixtures import cluster, endpoints, listener, route
from xds.delta import DeltaSession
from xds.effects import Effect, Refuse, Send
from xds.proto import msg
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, Delta, Encoded

STEPS = 250
SETTLE_ROUNDS_MAX = 200
SERVICES = [f"svc-{i}" for i in range(5)]
LISTENERS = [f"in-{i}" for i in range(3)]

State = dict[str, dict[str, Encoded]]


class Mesh:
    """A consistent configuration that changes at random."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.services: dict[str, tuple[int, int]] = {}  # name -> (cluster version, endpoints version)
        self.routes: dict[str, tuple[str, int]] = {}  # listener -> (cluster, listener version)
        self.state: State = {}
        self._rebuild()

    def step(self) -> list[Delta]:
        """Change a few things; the deltas from the state before."""
        for _ in range(self._rng.randint(1, 4)):
            self._rng.choice((self._service, self._service, self._route, self._route))()
        before = self.state
        self._rebuild()
        return deltas(before, self.state)

    def _service(self) -> None:
        name = self._rng.choice(SERVICES)
        used = {target for target, _ in self.routes.values()}
        if name in self.services and name not in used and self._rng.random() < 0.5:
            del self.services[name]
        else:
            shape, ports = self.services.get(name, (1, 0))
            if self._rng.random() < 0.5:
                shape += 1
            self.services[name] = (shape, self._rng.randint(0, 3) if self._rng.random() < 0.7 else ports)

    def _route(self) -> None:
        name = self._rng.choice(LISTENERS)
        if not self.services or (name in self.routes and self._rng.random() < 0.3):
            self.routes.pop(name, None)
            return
        version = self.routes.get(name, ("", 0))[1] + self._rng.randint(0, 1)
        self.routes[name] = (self._rng.choice(sorted(self.services)), version)

    def _rebuild(self) -> None:
        resources = [cluster(name, shape) for name, (shape, _) in self.services.items()]
        resources += [endpoints(name, *range(80, 80 + n)) for name, (_, n) in self.services.items()]
        resources += [listener(name, 1000 + v, f"r-{name}") for name, (_, v) in self.routes.items()]
        resources += [route(f"r-{name}", target) for name, (target, _) in self.routes.items()]
        state: State = {type_url: {} for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE)}
        for type_url, resource in resources:
            state[type_url][resource.name] = resource
        self.state = state


def deltas(before: State, after: State) -> list[Delta]:
    found = []
    for type_url, resources in after.items():
        old = before[type_url]
        upserts = tuple(r for r in resources.values() if old.get(r.name) != r)
        removed = tuple(name for name in old if name not in resources)
        if upserts or removed:
            found.append(Delta(type_url, upserts, removed))
    return found


class Rig:
    """A session and a client with a slow, ordered network between them."""

    def __init__(self, seed: int, rejects: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.mesh = Mesh(self.rng)
        self.rejected: set[tuple[str, str]] = set()
        self._rejects = rejects
        self.client = FakeEnvoy("default.dp-1", judge=self._judge)
        self.now = 0.0
        self.sends = 0
        self.late = True
        self.connect()

    def _judge(self, type_url: str, name: str, body: bytes) -> str | None:
        """Refuse some contents, always the same ones."""
        if random.Random(body).random() < self._rejects:
            self.rejected.add((type_url, name))
            return "I do not like it"
        return None

    def connect(self) -> None:
        """A new stream; what was on the way is lost."""
        self.session = DeltaSession()
        self.down: deque[bytes] = deque()
        self.up: deque[bytes] = deque(self.client.hello())
        self.late = True
        if self.rng.random() < 0.5:
            self.know()

    def know(self) -> None:
        """The replica has derived the configuration at last."""
        self.late = False
        self._do(self.session.update(self.mesh.state, [], self.now))

    def change(self) -> None:
        found = self.mesh.step()
        if not self.late:
            self._do(self.session.update(self.mesh.state, found, self.now))

    def upload(self) -> bool:
        if not self.up:
            return False
        self._do(self.session.receive(self.up.popleft(), self.now))
        return True

    def download(self) -> bool:
        if not self.down:
            return False
        self.up.extend(self.client.receive(self.down.popleft()))
        return True

    def settle(self) -> None:
        """Deliver everything, and let waits end."""
        if self.late:
            self.know()
        for _ in range(SETTLE_ROUNDS_MAX):
            while self.upload() or self.download():
                if not self._rejects:
                    self.check()
            deadline = self.session.deadline()
            if deadline is None:
                return
            self.now = max(self.now, deadline)
            self._do(self.session.tick(self.now))
        raise AssertionError("it never settles")

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not isinstance(effect, Refuse), effect
            if isinstance(effect, Send):
                self.sends += bool(effect.names or effect.removed)
                self.down.append(effect.data)

    # --- what must hold ------------------------------------------------------------------------

    def has(self, type_url: str) -> dict[str, bytes]:
        return self.client.resources.get(type_url, {})

    def check(self) -> None:
        """No route in use leads to a cluster that the client lacks."""
        used = {name for body in self.has(LISTENER).values() for _, name in references(LISTENER, body)}
        for name, body in self.has(ROUTE).items():
            if name in used:
                target = target_of(body)
                assert target in self.has(CLUSTER), f"{name} leads to {target}, which is not there"
                assert target in self.has(ENDPOINT), f"{target} is used, but never got endpoints"

    def check_equal(self) -> None:
        for type_url in (CLUSTER, LISTENER):
            want = {name: resource.body for name, resource in self.mesh.state[type_url].items()}
            assert self.has(type_url) == want
        for type_url in (ENDPOINT, ROUTE):
            for name in self.client.subscribed.get(type_url, ()):
                assert self.has(type_url).get(name) == self.mesh.state[type_url][name].body, name


def target_of(body: bytes) -> str:
    message = msg("envoy.config.route.v3.RouteConfiguration").FromString(body)
    return str(message.virtual_hosts[0].routes[0].route.cluster)


@pytest.mark.sim
@pytest.mark.parametrize("seed", range(30))
def test_no_reference_dangles_and_the_end_equals_the_mesh(seed: int) -> None:
    rig = Rig(seed)
    for _ in range(STEPS):
        action = rig.rng.choices(
            (rig.change, rig.upload, rig.download, rig.connect, rig.know), (10, 30, 30, 2, 2)
        )[0]
        action()
        rig.check()
    rig.settle()
    rig.check_equal()
    sends = rig.sends
    rig.know()
    rig.connect()
    rig.settle()
    assert rig.sends == sends, "a reconnect of an unchanged client is sent nothing"


@pytest.mark.sim
@pytest.mark.parametrize("seed", range(30))
def test_rejections_cost_the_rejected_resources_only(seed: int) -> None:
    rig = Rig(seed, rejects=0.15)
    for _ in range(STEPS):
        # No reconnects: Envoy would claim the version before of a resource that it did apply.
        action = rig.rng.choices((rig.change, rig.upload, rig.download, rig.know), (10, 30, 30, 2))[0]
        action()
    rig.settle()
    for type_url, resources in rig.mesh.state.items():
        refused = rig.session.status.of(type_url).rejections
        for name, resource in resources.items():
            if type_url in (CLUSTER, LISTENER) or name in rig.client.subscribed.get(type_url, ()):
                accepted = rig._judge(type_url, name, resource.body) is None
                assert accepted == (name not in refused or refused[name].version != resource.version)
                assert not accepted or rig.has(type_url).get(name) == resource.body
