"""The xDS benchmark: its mesh is comparable between sizes, its proxies behave, its work is bounded."""

from __future__ import annotations

import pytest

from bench.bench_derive import MESH
from bench.bench_xds import QUICK, SIZES, sizes
from bench.envoys import FEATURES
from bench.meshes import CLIENTS, JOINING, REACHABLE, Mesh, reachable
from bench.xds_cell import Cell
from xds.config.source import Source
from xds.source import NodeInfo


@pytest.mark.parametrize("services", [10, 100, 1000])
def test_the_service_that_changes_has_as_many_clients_in_any_mesh(services: int) -> None:
    clients = [number for number in range(200) if "s0" in reachable(number, services)]
    assert clients == list(range(CLIENTS))
    assert all(len(reachable(number, services)) <= REACHABLE for number in range(200))


def connected(services: int, proxies: int) -> tuple[Mesh, Source, set[str]]:
    mesh = Mesh(services, proxies)
    source, told = Source(mesh.view), set()
    for number in range(proxies):
        name = f"{MESH}.dp-{number}"
        node = NodeInfo(name, metadata={"features": FEATURES})
        source.connect(node, lambda deltas, name=name: told.add(name))  # type: ignore[misc]
    return mesh, source, told


def work(services: int, proxies: int, kind: str) -> tuple[int, int]:
    """(derivations run, proxies told) of the second change of a kind."""
    mesh, source, told = connected(services, proxies)
    for number in range(2):
        source.engine.runs.clear()
        told.clear()
        source.advance(changes=mesh.change(kind, number), view=mesh.view)
    return sum(source.engine.runs.values()), len(told)


def test_an_endpoint_costs_the_same_in_a_larger_mesh() -> None:
    runs, told = work(10, 30, "endpoint")
    assert told == CLIENTS and runs < 10
    assert work(60, 30, "endpoint") == (runs, told)
    assert work(10, 60, "endpoint") == (runs, told)


def test_a_route_costs_the_same_in_a_larger_mesh() -> None:
    runs, told = work(60, 30, "route")
    assert told == CLIENTS and runs < 20 + CLIENTS  # one list for each set of services that a client uses
    assert work(200, 30, "route") == (runs, told)
    assert work(60, 90, "route") == (runs, told)


def test_a_policy_for_all_is_told_to_all() -> None:
    assert work(10, 30, "mesh-wide policy")[1] == 30
    assert work(10, 30, "route")[1] == CLIENTS


@pytest.mark.parametrize("kind", ["route", "mesh-wide policy"])
def test_what_a_policy_says_selects_no_proxy_anew(kind: str) -> None:
    mesh, source, told = connected(10, 30)
    source.advance(changes=mesh.change(kind, 1), view=mesh.view)
    source.engine.runs.clear()
    told.clear()
    source.advance(changes=mesh.change(kind, 2), view=mesh.view)
    assert told and source.engine.runs["confs.selectors_of"] == 1
    assert source.engine.runs["confs.matched_policies"] == 0


async def test_a_whole_cell() -> None:
    found = await Cell(10, 25).run()
    assert found["connect all"]["proxies"] == 25 and found["rejected"] == 0
    assert found["endpoint"]["proxies"] == CLIENTS and found["endpoint"]["resources"] == CLIENTS
    assert found["joining proxy"]["proxies"] == 1 and found["joining proxy"]["resources"] > 10
    assert found["reconnect storm"]["resources"] == 0
    joined = JOINING * found["joining proxy"]["resources"]
    assert found["presented"] == found["connect all"]["resources"] + joined
    assert found["proxies"] == 25 + JOINING
    assert found["endpoint"]["floor_s"] > 0


def test_sizes_are_chosen_by_default_by_haste_or_by_name() -> None:
    assert (sizes(False, ""), sizes(True, "")) == (list(SIZES), list(QUICK))
    assert sizes(True, "7x100,1000x5000") == [(7, 100), (1000, 5000)]
    for wrong in ("10", "10x", "x100", "1x100", "10x20", "a x b"):
        with pytest.raises(ValueError, match="RAFTMESH_BENCH_XDS"):
            sizes(False, wrong)
