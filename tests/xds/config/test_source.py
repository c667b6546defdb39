"""The source: plans become snapshots, and events become the deltas of the proxies they concern."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    rendered,
    resource,
    view_of,
)
from xds.config.identity import Identity, authority_secret, certificate_secret
from xds.config.source import Source
from xds.types import CLUSTER, ENDPOINT, LISTENER, SECRET, Delta, Encoded

WEB = dataplane(
    "web", 8080, networking={"outbound": [{"port": 10001, "tags": {"kuma.io/service": "backend"}}]}
)
BACKEND_1 = dataplane(
    "backend-1", 9001, service="backend", tags={"kuma.io/protocol": "http", "version": "v1"}
)
BACKEND_2 = dataplane(
    "backend-2", 9002, service="backend", tags={"kuma.io/protocol": "http", "version": "v2"}
)


class Follower:
    """A stream that writes down what it is told."""

    def __init__(self, source: Source, name: str, **metadata: Any) -> None:
        self.deltas: list[Delta] = []
        self.stream = source.connect(node(name, **metadata), self.deltas.extend)

    def changed(self) -> set[tuple[str, str]]:
        """(last part of the type, name) of all that was told since the last call; "-" marks removals."""
        found = set()
        for delta in self.deltas:
            kind = delta.type_url.rpartition(".")[2]
            found |= {(kind, encoded.name) for encoded in delta.upserts}
            found |= {(kind, "-" + name) for name in delta.removed}
        self.deltas.clear()
        return found

    def json(self, type_url: str) -> Any:
        return rendered(self.stream.snapshot()).get(type_url, {})


class World:
    """A source and the view that it follows."""

    def __init__(self, *documents: Mapping[str, Any], **settings: Any) -> None:
        self.view = view_of(documents)
        self.source = Source(self.view, **settings)

    def put(self, *documents: Mapping[str, Any]) -> None:
        self._move((r.key, r) for r in map(resource, documents))

    def delete(self, *documents: Mapping[str, Any]) -> None:
        self._move((resource(document).key, None) for document in documents)

    def _move(self, changes: Any) -> None:
        self.view, changed = self.view.with_changes(self.view.index + 1, changes)
        self.source.advance(self.view, changed)


def addresses(assignment: Any) -> list[int]:
    return [
        endpoint["endpoint"]["address"]["socketAddress"]["portValue"]
        for locality in assignment.get("endpoints", ())
        for endpoint in locality["lbEndpoints"]
    ]


def test_a_proxy_gets_its_inbound_and_the_outbounds_it_declares() -> None:
    world = World(mesh(), WEB, BACKEND_1, BACKEND_2)
    web = Follower(world.source, "web")
    assert set(web.json(LISTENER)) == {"inbound:192.168.0.1:8080", "outbound:127.0.0.1:10001"}
    assert set(web.json(CLUSTER)) == {"localhost:8080", "backend"}
    assert addresses(web.json(ENDPOINT)["backend"]) == [9001, 9002]
    route = web.json(LISTENER)["outbound:127.0.0.1:10001"]["filterChains"][0]["filters"][0]["typedConfig"]
    assert route["routeConfig"]["name"] == "outbound:backend"
    assert web.changed() == set()


def test_there_is_no_snapshot_before_the_dataplane_is_known() -> None:
    world = World(mesh())
    web = Follower(world.source, "web")
    assert web.stream.snapshot() is None
    world.put(WEB)
    assert ("Listener", "inbound:192.168.0.1:8080") in web.changed()
    assert web.stream.snapshot() is not None


def test_an_endpoint_that_comes_or_goes_is_one_assignment() -> None:
    world = World(mesh(), WEB, BACKEND_1)
    web = Follower(world.source, "web")
    world.put(BACKEND_2)
    assert web.changed() == {("ClusterLoadAssignment", "backend")}
    world.delete(BACKEND_1)
    assert web.changed() == {("ClusterLoadAssignment", "backend")}
    assert addresses(web.json(ENDPOINT)["backend"]) == [9002]
    world.delete(BACKEND_2)
    assert addresses(web.json(ENDPOINT)["backend"]) == []


def test_an_endpoint_change_runs_no_unrelated_derivation() -> None:
    services = [f"s{i}" for i in range(40)]
    outbounds = [{"port": 10_000 + i, "tags": {"kuma.io/service": s}} for i, s in enumerate(services)]
    client = dataplane("client", networking={"outbound": outbounds})
    world = World(mesh(), client, *(dataplane(s, 9000 + i) for i, s in enumerate(services)))
    Follower(world.source, "client")
    world.source.engine.runs.clear()
    world.put(dataplane("s7-b", 9999, service="s7"))
    runs = world.source.engine.runs
    assert runs["assignments.service_assignment"] == 1
    assert runs["outbound.backend_cluster"] == runs["outbound.outbound_listener"] == 0
    assert sum(runs.values()) < 12


def test_equal_proxies_share_every_outbound_resource() -> None:
    outbound = {"outbound": [{"port": 10001, "tags": {"kuma.io/service": "backend"}}]}
    clients = [dataplane(f"web-{i}", 8080, address=f"10.0.0.{i + 1}", networking=outbound) for i in range(5)]
    world = World(mesh(), BACKEND_1, *clients)
    followers = [Follower(world.source, f"web-{i}") for i in range(5)]
    snapshots = [follower.stream.snapshot() for follower in followers]
    for type_url, name in (
        (LISTENER, "outbound:127.0.0.1:10001"),
        (CLUSTER, "backend"),
        (ENDPOINT, "backend"),
    ):
        assert len({id(snapshot[type_url][name]) for snapshot in snapshots if snapshot}) == 1
    assert world.source.engine.runs["outbound.backend_cluster"] == 1


def test_an_event_that_changes_nothing_is_told_to_nobody() -> None:
    world = World(mesh(), WEB, BACKEND_1)
    web = Follower(world.source, "web")
    world.put(BACKEND_1 | {"metrics": {"name": "m", "type": "prometheus"}})
    assert web.changed() == set()


def test_a_policy_changes_what_it_names() -> None:
    world = World(mesh(), WEB, BACKEND_1)
    web = Follower(world.source, "web")
    world.put(
        policy(
            "MeshTimeout",
            "slow",
            to=[{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "7s"}}],
        )
    )
    assert ("Cluster", "backend") in web.changed()
    assert web.json(CLUSTER)["backend"]["connectTimeout"] == "7s"


def test_a_route_moves_traffic_to_a_version() -> None:
    world = World(mesh(), WEB, BACKEND_1, BACKEND_2)
    web = Follower(world.source, "web")
    subset = {"kind": "MeshServiceSubset", "name": "backend", "tags": {"version": "v2"}, "weight": 100}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "default": {"backendRefs": [subset]},
    }
    route = policy(
        "MeshHTTPRoute",
        "to-v2",
        to=[{"targetRef": {"kind": "MeshService", "name": "backend"}, "rules": [rule]}],
    )
    world.put(route)
    listener = web.json(LISTENER)["outbound:127.0.0.1:10001"]
    routes = listener["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"][0][
        "routes"
    ]
    cluster = routes[0]["route"]["cluster"]
    assert len(routes) == 1
    assert cluster.startswith("backend-")
    assert addresses(web.json(ENDPOINT)[cluster]) == [9002]
    world.delete(route)
    assert ("Cluster", "-" + cluster) in web.changed()


def test_the_own_change_of_a_proxy_comes_before_a_change_of_the_mesh() -> None:
    turns: list[Callable[[], None]] = []
    clients = [
        dataplane(
            f"web-{i}",
            8080,
            networking={"outbound": [{"port": 10_000 + i, "tags": {"kuma.io/service": "backend"}}]},
        )
        for i in range(60)
    ]
    world = World(mesh(), BACKEND_1, *clients, later=turns.append)
    followers = [Follower(world.source, f"web-{i}") for i in range(60)]
    while turns:
        turns.pop(0)()
    for follower in followers:
        follower.changed()
    order: list[int] = []
    for i, follower in enumerate(followers):
        follower.stream.on_change = lambda deltas, i=i: order.append(i)  # type: ignore[misc]
    timeout = policy(
        "MeshTimeout", "t", to=[{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "7s"}}]
    )
    changed = dataplane("web-42", 8081, networking={})
    world.put(timeout, changed)
    while turns:
        turns.pop(0)()
    assert order[0] == 42
    assert set(order) == set(range(60))
    assert world.source.settled


def test_what_changes_again_before_the_turn_comes_is_derived_once() -> None:
    """A worker that falls behind takes up many commits with one turn, or it would never catch up."""
    turns: list[Callable[[], None]] = []
    world = World(mesh(), WEB, BACKEND_1, later=turns.append)
    web = Follower(world.source, "web")
    while turns:
        turns.pop(0)()
    seconds = range(1, 50)

    def put(second: int) -> None:
        conf = {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": f"{second}s"}}
        world.put(*(policy("MeshTimeout", f"t-{n}", to=[conf]) for n in range(9)))

    world.source.engine.runs.clear()
    put(seconds[0])
    while turns:
        turns.pop(0)()
    alone = world.source.engine.runs.total()
    world.source.engine.runs.clear()
    for second in seconds[1:]:
        put(second)
    assert len(turns) <= 1
    while turns:
        turns.pop(0)()
    assert world.source.engine.runs.total() < 3 * alone
    assert world.source.settled
    timeouts = {each["connectTimeout"] for each in web.json(CLUSTER).values() if "connectTimeout" in each}
    assert "49s" in timeouts


def test_what_no_proxy_needs_is_forgotten() -> None:
    world = World(mesh(), WEB, BACKEND_1)
    first, second = Follower(world.source, "web"), Follower(world.source, "web")
    size = len(world.source.engine)
    first.stream.close()
    first.stream.close()
    assert len(world.source.engine) == size
    second.stream.close()
    world.put(BACKEND_2)
    assert len(world.source.engine) == 0


def test_a_proxy_that_comes_back_soon_costs_nothing() -> None:
    timers: list[Callable[[], object]] = []
    world = World(mesh(), WEB, BACKEND_1, linger=timers.append)
    Follower(world.source, "web").stream.close()
    world.put(BACKEND_2)
    world.source.engine.runs.clear()
    again = Follower(world.source, "web")
    assert not world.source.engine.runs, "it was kept"
    assert addresses(again.json(ENDPOINT)["backend"]) == [9001, 9002], "and kept up to date"
    timers.pop()()
    world.delete(BACKEND_1)
    assert again.changed() == {("ClusterLoadAssignment", "backend")}, "an old timer forgets nobody"
    again.stream.close()
    timers.pop()()
    world.put(BACKEND_1)
    assert len(world.source.engine) == 0


def test_a_closed_stream_hears_nothing() -> None:
    world = World(mesh(), WEB, BACKEND_1)
    gone, other = Follower(world.source, "web"), Follower(world.source, "web")
    gone.stream.close()
    world.put(BACKEND_2)
    assert gone.changed() == set()
    assert other.changed() == {("ClusterLoadAssignment", "backend")}


def test_a_dataplane_that_vanishes_leaves_its_proxy_what_it_has() -> None:
    world = World(mesh(), WEB, BACKEND_1)
    web = Follower(world.source, "web")
    before = web.json(LISTENER)
    world.delete(WEB)
    assert web.json(LISTENER) == before


def test_a_stream_that_fails_does_not_keep_the_news_from_others() -> None:
    world = World(mesh(), WEB, BACKEND_1)

    def fail(deltas: object) -> None:
        raise RuntimeError("broken stream")

    world.source.connect(node("web"), fail)
    other = Follower(world.source, "web")
    world.put(BACKEND_2)
    assert other.changed() == {("ClusterLoadAssignment", "backend")}


class RotatingSecrets:
    """A provider whose certificates have a generation."""

    def __init__(self) -> None:
        self.generation = b"1"
        self.open_identities: dict[Identity, Callable[[], None]] = {}

    def open(self, identity: Identity, on_change: Callable[[], None]) -> Any:
        provider = self
        self.open_identities[identity] = on_change

        class Handle:
            def secrets(self) -> dict[str, Encoded]:
                own, ca = identity.identity_secret, identity.ca_secret
                chain = certificate_secret(own, b"cert " + provider.generation, b"key")
                return {own: chain, ca: authority_secret(ca, b"roots")}

            def close(self) -> None:
                provider.open_identities.pop(identity, None)

        return Handle()

    def rotate(self) -> None:
        self.generation += b"+"
        for on_change in list(self.open_identities.values()):
            on_change()


def test_secrets_come_from_the_provider_and_rotate_alone() -> None:
    provider = RotatingSecrets()
    world = World(mesh(mtls=MTLS), WEB, BACKEND_1, identities=provider)
    web = Follower(world.source, "web")
    assert set(web.json(SECRET)) == {"identity_cert:secret:default", "mesh_ca:secret:default"}
    provider.rotate()
    assert web.changed() == {("Secret", "identity_cert:secret:default")}
    world.put(mesh())
    assert ("Secret", "-identity_cert:secret:default") in web.changed()
    assert not provider.open_identities
    assert "transportSocket" not in web.json(CLUSTER)["backend"]


def test_incremental_equals_full_after_any_of_these_events() -> None:
    tproxy = dataplane("tp", 7000, tags={"kuma.io/protocol": "http"}, networking=TRANSPARENT)
    service = mesh_service("backend", 9001, vip="241.0.0.1")
    world = World(mesh(), WEB, BACKEND_1, tproxy)
    names = ["web", "tp", "backend-1"]
    followers = {name: Follower(world.source, name) for name in names}
    events: list[Callable[[], None]] = [
        lambda: world.put(service),
        lambda: world.put(BACKEND_2),
        lambda: world.put(mesh(mtls=MTLS)),
        lambda: world.delete(service),
        lambda: world.put(mesh_service("backend", 9002, "tcp", vip="241.0.0.9")),
        lambda: world.put(mesh(networking={"outbound": {"passthrough": False}})),
        lambda: world.delete(BACKEND_1),
        lambda: world.put(BACKEND_1),
    ]
    for event in events:
        event()
        fresh = Source(View.of(list(world.view)))
        for name in names:
            if world.view.get("Dataplane", "default", name) is None:
                continue
            expected = Follower(fresh, name).stream.snapshot()
            found = followers[name].stream.snapshot()
            assert expected is not None and found is not None
            for type_url, resources in expected.items():
                assert dict(found[type_url]) == dict(resources), (name, type_url)


def test_an_address_that_an_inbound_has_is_no_outbounds() -> None:
    """Envoy refuses the second listener at an address."""
    outbounds = [
        {"port": port, "address": "192.168.0.1", "tags": {"kuma.io/service": "b"}} for port in (80, 81, 81)
    ]
    client = dataplane("web", 80, networking={"outbound": outbounds})
    stream = Source(view_of([mesh(), client, dataplane("b", 80)])).connect(node("web"), lambda deltas: None)
    assert set(rendered(stream.snapshot())[LISTENER]) == {"inbound:192.168.0.1:80", "outbound:192.168.0.1:81"}
