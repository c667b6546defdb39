"""The generators on a view: what they write, once, and what they leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cp.config import load
from cp.generators.core import LEAVING, Generators
from cp.generators.limits import GRACE_S
from mesh.codec import decode_value, to_document
from mesh.resource import Resource, ResourceKey
from mesh.view import View
from raftstore.types import Absent, Delete, Key, Put, VersionIs
from tests.xds.config.worlds import resource

CONFIG = load(None, {}).config
MESH = {"type": "Mesh", "name": "default", "meshServices": {"mode": "Exclusive"}}
GENERATOR = {
    "type": "HostnameGenerator",
    "name": "local",
    "spec": {
        "template": "{{ .DisplayName }}.svc.mesh.local",
        "selector": {"meshService": {"matchLabels": {}}},
    },
}


def dataplane(name: str, *ports: int, service: str = "web", labels: Mapping[str, str] | None = None) -> Any:
    tags = {"kuma.io/service": service, "kuma.io/protocol": "http"}
    inbound = [{"port": port, "tags": tags} for port in ports]
    networking = {"address": "10.0.0.1", "inbound": inbound}
    return {
        "type": "Dataplane",
        "mesh": "default",
        "name": name,
        "labels": dict(labels or {}),
        "networking": networking,
    }


def insight(name: str, online: bool) -> Any:
    subscription = {"id": "1", "connectTime": "2024-01-01T00:00:00Z"}
    if not online:
        subscription["disconnectTime"] = "2024-01-01T00:00:01Z"
    return {"type": "DataplaneInsight", "mesh": "default", "name": name, "subscriptions": [subscription]}


class World:
    """A view, and the generators that follow it. `settle` applies what they write, until it is nothing."""

    def __init__(self, *documents: Mapping[str, Any]) -> None:
        self.now = 1_000_000
        self.rounds = self.writes = 0
        self.view = View.empty()
        self.put(*documents)
        self.generators = Generators(CONFIG, self.view)

    def put(self, *documents: Mapping[str, Any]) -> None:
        self.move(*(resource(document) for document in documents))

    def move(self, *resources: Resource) -> None:
        self._move([(each.key, each) for each in resources])

    def delete(self, *keys: tuple[str, str, str]) -> None:
        self._move([(ResourceKey(*key), None) for key in keys])

    def _move(self, changes: list[tuple[ResourceKey, Resource | None]]) -> None:
        index = self.view.index + 1
        stamped = [(key, each and replace(each, version=index, created_ms=index)) for key, each in changes]
        self.view, changed = self.view.with_changes(index, stamped)
        if hasattr(self, "generators"):
            self.generators.follow(self.view, changed)

    def settle(self) -> int:
        """How many writes it took."""
        writes = 0
        for _ in range(20):
            while self.generators.step():
                pass
            found = list(self.generators.take(self.now))
            if not found:
                return writes
            writes += len(found)
            for key, write, guard in found:
                stored = self.view.get(*key)
                record = Key(*key)
                assert guard == (Absent(record) if stored is None else VersionIs(record, stored.version))
                if isinstance(write, Put):
                    index = self.view.index + 1
                    self.move(decode_value(key, write.value, index, index, index))
                else:
                    assert isinstance(write, Delete)
                    self.delete(key)
        raise AssertionError("the generators do not come to rest")

    def document(self, kind: str, name: str) -> Any:
        found = self.view.get(kind, "default", name)
        return None if found is None else to_document(found)


def test_a_service_of_inbounds_becomes_a_mesh_service() -> None:
    world = World(MESH, dataplane("web-1", 8080, 8081), dataplane("web-2", 8080, 8081))
    world.settle()
    found = world.document("MeshService", "web")
    assert found["labels"]["kuma.io/managed-by"] == "meshservice-generator"
    assert found["labels"]["kuma.io/origin"] == "zone" and found["labels"]["kuma.io/env"] == "universal"
    assert found["spec"] == {
        "state": "Available",
        "selector": {"dataplaneTags": {"kuma.io/service": "web"}},
        "ports": [
            {"port": 8080, "targetPort": 8080, "appProtocol": "http"},
            {"port": 8081, "targetPort": 8081, "appProtocol": "http"},
        ],
        "identities": [{"type": "ServiceTag", "value": "web"}],
    }
    assert found["status"]["vips"][0]["ip"].startswith("241.")
    assert found["status"]["dataplaneProxies"]["total"] == 2


def test_clients_are_told_the_spiffe_ids_that_its_proxies_have() -> None:
    ready = [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]
    identity = {
        "type": "MeshIdentity",
        "mesh": "default",
        "name": "identity",
        "spec": {"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled"}},
        "status": {"conditions": ready},
    }
    proxies = [dataplane(f"web-{n}", 8080, labels={"kuma.io/workload": "w"}) for n in (1, 2)]
    world = World(MESH, identity, *proxies)
    world.settle()
    spiffe_id, service = world.document("MeshService", "web")["spec"]["identities"]
    assert (spiffe_id["type"], service) == ("SpiffeID", {"type": "ServiceTag", "value": "web"})
    assert spiffe_id["value"].startswith("spiffe://default.") and spiffe_id["value"].endswith("/workload/w")


def test_it_rests_and_a_new_leader_finds_nothing_to_do() -> None:
    world = World(MESH, GENERATOR, dataplane("web-1", 8080))
    assert world.settle() == 2, "the service, then its status"
    assert world.settle() == 0
    world.generators = Generators(CONFIG, world.view)
    assert world.settle() == 0


def test_no_mesh_service_where_the_mesh_wants_none_or_the_name_is_no_dns_label() -> None:
    world = World({"type": "Mesh", "name": "default"}, dataplane("web-1", 8080))
    assert world.settle() == 0
    world = World(MESH, dataplane("web-1", 8080, service="Web_1"))
    assert world.settle() == 0


def test_a_mesh_may_want_mesh_services_later() -> None:
    world = World({"type": "Mesh", "name": "default"}, dataplane("web-1", 8080))
    assert world.settle() == 0
    world.put(MESH)
    assert world.settle() == 2
    world.put(MESH | {"meshServices": {"mode": "Disabled"}})
    world.settle()
    assert LEAVING in world.document("MeshService", "web")["labels"]


def test_the_first_dataplane_says_which_ports() -> None:
    world = World(MESH, dataplane("web-2", 9090), dataplane("web-1", 8080))
    world.settle()
    assert [port["port"] for port in world.document("MeshService", "web")["spec"]["ports"]] == [8080]
    world.delete(("Dataplane", "default", "web-1"))
    world.settle()
    assert [port["port"] for port in world.document("MeshService", "web")["spec"]["ports"]] == [9090]


def test_what_somebody_wrote_by_hand_keeps_what_it_says() -> None:
    spec = {
        "selector": {"dataplaneTags": {"kuma.io/service": "web"}},
        "ports": [{"port": 1, "targetPort": 8080}],
    }
    own = {"type": "MeshService", "mesh": "default", "name": "web", "spec": spec}
    world = World(MESH, dataplane("web-1", 8080), own)
    before = world.document("MeshService", "web")["spec"]
    world.settle()
    found = world.document("MeshService", "web")
    assert found["spec"] == before and found["status"]["vips"]
    world.delete(("Dataplane", "default", "web-1"))
    world.settle()
    world.now += 2 * GRACE_S
    world.settle()
    assert world.document("MeshService", "web") is not None


def test_a_service_outlives_its_last_dataplane_for_the_grace_period() -> None:
    world = World(MESH, dataplane("web-1", 8080))
    world.settle()
    world.delete(("Dataplane", "default", "web-1"))
    world.settle()
    assert world.document("MeshService", "web")["labels"][LEAVING] == str(world.now)
    assert world.generators.next_deadline() == world.now + GRACE_S
    world.now += GRACE_S - 1
    assert world.settle() == 0
    world.now += 1
    world.settle()
    assert world.document("MeshService", "web") is None
    assert world.generators.next_deadline() is None and len(world.generators) == 0


def test_a_service_whose_dataplane_comes_back_stays_with_its_address() -> None:
    world = World(MESH, dataplane("web-1", 8080))
    world.settle()
    address = world.document("MeshService", "web")["status"]["vips"]
    world.delete(("Dataplane", "default", "web-1"))
    world.settle()
    world.put(dataplane("web-1", 8080))
    world.settle()
    found = world.document("MeshService", "web")
    assert LEAVING not in found["labels"] and found["status"]["vips"] == address
    world.now += 2 * GRACE_S
    assert world.settle() == 0


def test_proxies_are_counted_and_a_heartbeat_writes_nothing() -> None:
    world = World(MESH, dataplane("web-1", 8080), dataplane("web-2", 8080), insight("web-1", True))
    world.settle()
    proxies = world.document("MeshService", "web")["status"]["dataplaneProxies"]
    assert proxies == {"connected": 1, "healthy": 1, "total": 2}
    world.put(insight("web-1", True))
    assert world.settle() == 0
    world.put(insight("web-1", False))
    assert world.settle() == 1
    assert world.document("MeshService", "web")["status"]["dataplaneProxies"] == {"total": 2}


def test_host_names_and_who_gets_one_that_two_want() -> None:
    both = GENERATOR | {"spec": GENERATOR["spec"] | {"template": "one.mesh.local"}}  # type: ignore[operator]
    world = World(MESH, both, dataplane("web-1", 8080), dataplane("db-1", 5432, service="db"))
    world.settle()
    db, web = (world.document("MeshService", name)["status"] for name in ("db", "web"))
    assert [each["hostname"] for each in db["addresses"]] == ["one.mesh.local"]
    assert "addresses" not in web
    (condition,) = web["hostnameGenerators"][0]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Collision")
    assert "MeshService db" in condition["message"]
    world.put(GENERATOR)
    world.settle()
    web = world.document("MeshService", "web")["status"]
    assert [each["hostname"] for each in web["addresses"]] == ["web.svc.mesh.local"]


def test_a_template_that_fails_is_told() -> None:
    wrong = GENERATOR | {"spec": GENERATOR["spec"] | {"template": '{{ label "nobody" }}.local'}}  # type: ignore[operator]
    world = World(MESH, wrong, dataplane("web-1", 8080))
    world.settle()
    (generator,) = world.document("MeshService", "web")["status"]["hostnameGenerators"]
    assert generator["conditions"][0]["reason"] == "TemplateError"


def test_a_service_of_many_zones_names_its_members() -> None:
    spec = {"selector": {"meshService": {"matchLabels": {"kuma.io/managed-by": "meshservice-generator"}}}}
    many = {
        "type": "MeshMultiZoneService",
        "mesh": "default",
        "name": "all",
        "spec": spec | {"ports": [{"port": 80}]},
    }
    world = World(MESH, many, dataplane("web-1", 8080), dataplane("db-1", 5432, service="db"))
    world.settle()
    status = world.document("MeshMultiZoneService", "all")["status"]
    assert [each["name"] for each in status["meshServices"]] == ["db", "web"]
    assert status["vips"][0]["ip"].startswith("243.")


def test_workloads_follow_the_label() -> None:
    label = {"kuma.io/workload": "checkout"}
    world = World(MESH, dataplane("web-1", 8080, labels=label), insight("web-1", True))
    world.settle()
    found = world.document("Workload", "checkout")
    assert found["status"]["dataplaneProxies"] == {"connected": 1, "healthy": 1, "total": 1}
    world.put(dataplane("web-1", 8080))
    world.settle()
    world.now += GRACE_S
    world.settle()
    assert world.document("Workload", "checkout") is None


def test_an_event_costs_what_it_touches() -> None:
    services = [dataplane(f"s{n}-1", 8080, service=f"s{n}") for n in range(50)]
    world = World(MESH, GENERATOR, *services)
    world.settle()
    world.generators.runs.clear()
    world.put(insight("s7-1", True))
    assert world.settle() == 1
    assert sum(world.generators.runs.values()) < 20


def test_a_write_that_was_overtaken_is_offered_again() -> None:
    world = World(MESH, dataplane("web-1", 8080))
    while world.generators.step():
        pass
    ((key, _, _),) = world.generators.take(world.now)
    assert not world.generators.waiting
    world.generators.again(key)
    assert world.generators.waiting and world.settle() == 2
