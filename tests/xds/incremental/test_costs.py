"""What derivation costs, counted and not timed: slices, memory under churn, one endpoint among many."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable
from typing import Any

from mesh.view import View
from tests.xds.config.worlds import (
    MTLS,
    TRANSPARENT,
    dataplane,
    mesh,
    mesh_service,
    node,
    policy,
    resource,
)
from xds.config.limits import SLICE
from xds.config.source import Source
from xds.types import ENDPOINT

Json = dict[str, Any]
SERVICES = 20
PROXIES = 60
REACHABLE = 5
# A slice ends when so many derivations ran; the one that is running may need a few more beneath it.
SLICE_RUNS_MAX = 4 * SLICE
CHURNED = 10_000
AT_ONCE = 250


def proxy(number: int, port: int = 8080) -> Json:
    names = (f"s{(number * 7 + n) % SERVICES}" for n in range(REACHABLE))
    refs = [{"kind": "MeshService", "name": name} for name in names]
    redirect = TRANSPARENT["transparentProxying"] | {"reachableBackends": {"refs": refs}}
    return dataplane(
        f"web-{number}",
        port,
        service=f"s{number % SERVICES}",
        address=f"10.0.{number // 250}.{number % 250 + 1}",
        networking={"transparentProxying": redirect},
    )


class World:
    """A mesh whose proxies are all connected, and a source that takes its turns when told."""

    def __init__(self, proxies: int = PROXIES) -> None:
        services = [mesh_service(f"s{n}", 80, vip=f"241.0.0.{n + 1}") for n in range(SERVICES)]
        documents = [settings(), *services, *(proxy(n) for n in range(proxies))]
        self.view = View.of([resource(document) for document in documents], 1)
        self.turns: deque[Callable[[], None]] = deque()
        self.source = Source(self.view, later=self.turns.append)
        self.told: list[Any] = []
        for number in range(proxies):
            self.source.connect(node(f"web-{number}"), self.told.extend)
        self.settle()

    def move(self, *puts: Json, deletes: tuple[Json, ...] = ()) -> None:
        changes = [(found.key, found) for found in map(resource, puts)]
        gone = [(resource(document).key, None) for document in deletes]
        self.view, changed = self.view.with_changes(self.view.index + 1, [*changes, *gone])
        self.source.advance(self.view, changed)

    def settle(self) -> int:
        """Take all turns; the most derivations that one of them ran."""
        most = 0
        while self.turns:
            before = self.source.engine.ran
            self.turns.popleft()()
            most = max(most, self.source.engine.ran - before)
        assert self.source.settled
        return most


def settings(**more: Any) -> Json:
    return mesh(meshServices={"mode": "Exclusive"}, **more)


def timeout(seconds: int, name: str = "t") -> Json:
    to = [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": f"{seconds}s"}}]
    return policy("MeshTimeout", name, to=to)


def test_no_slice_runs_many_derivations_whatever_changes() -> None:
    world = World()
    limit = {"local": {"http": {"requestRate": {"num": 5, "interval": "10s"}}}}
    for documents in (
        [timeout(7)],
        [timeout(8)],
        [settings(mtls=MTLS)],
        [policy("MeshRateLimit", "r", rules=[{"default": limit}])],
        [proxy(number, 8081) for number in range(PROXIES)],
        [settings()],
    ):
        before = world.source.engine.ran
        world.move(*documents)
        assert world.source.engine.ran - before <= SLICE_RUNS_MAX
        assert world.settle() <= SLICE_RUNS_MAX
        assert world.source.engine.ran - before > SLICE, "it was more than one slice's work"


def test_a_proxy_with_much_of_its_own_does_not_hold_up_the_loop_when_it_connects() -> None:
    world = World(proxies=1)
    new = proxy(1)
    del new["networking"]["transparentProxying"]["reachableBackends"]  # it may reach everything
    world.move(new)
    world.settle()
    before = world.source.engine.ran
    stream = world.source.connect(node("web-1"), world.told.extend)
    assert world.source.engine.ran - before <= SLICE_RUNS_MAX
    assert stream.snapshot() is None, "nothing is said before all is there"
    assert world.settle() <= SLICE_RUNS_MAX
    snapshot = stream.snapshot()
    assert snapshot is not None and len(snapshot[ENDPOINT]) == SERVICES


def test_ten_thousand_resources_that_come_and_go_leave_nothing_behind() -> None:
    world = World(proxies=3)
    _churn(world, 2 * AT_ONCE)  # what is made once and kept is made
    nodes, objects = len(world.source.engine), _objects(world)
    _churn(world, CHURNED)
    assert len(world.source.engine) == nodes
    # Some caches of a fixed size fill; what leaked would be dozens of objects for each resource.
    assert _objects(world) - objects < CHURNED


def _churn(world: World, number: int) -> None:
    """Proxies connect and leave, policies and services come and go, `number` in all."""
    for first in range(0, number, AT_ONCE):
        came = [proxy(10 + n) for n in range(first, first + AT_ONCE - 2)]
        came += [timeout(1 + first, f"t{first}"), mesh_service(f"new-{first}", 80, vip="241.1.0.1")]
        world.move(*came)
        streams = [world.source.connect(node(f"web-{10 + first + n}"), world.told.extend) for n in (0, 1)]
        world.settle()
        for stream in streams:
            stream.close()
        world.move(deletes=tuple(came))
        world.settle()
        world.told.clear()


def _objects(world: World) -> int:
    """How many objects there are. The view is made anew: an old one remembers how it was sorted."""
    world.view = View.of(list(world.view), world.view.index)
    gc.collect()
    return len(gc.get_objects())


def test_one_endpoint_among_many_is_encoded_alone() -> None:
    world = World(proxies=1)
    many = [proxy(n * SERVICES + 20) for n in range(200)]  # all of service s0
    world.move(*many)
    world.settle()
    world.source.engine.runs.clear()
    world.move(many[7] | {"networking": many[7]["networking"] | {"address": "10.9.9.9"}})
    world.settle()
    runs = world.source.engine.runs
    made = {name: count for name, count in runs.items() if name.startswith(("endpoints.", "assignments."))}
    assert made and all(count == 1 for count in made.values()), made
