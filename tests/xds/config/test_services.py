"""Which services a mesh has by the tags of inbounds, found without looking at every proxy."""

from __future__ import annotations

from typing import Any

from tests.xds.config.worlds import dataplane, mesh, resource, view_of
from xds.config.services import services_of
from xds.engine import Engine

GATEWAY = {"gateway": {"tags": {"kuma.io/service": "edge"}}, "inbound": []}


def engine(*documents: dict[str, Any]) -> Engine:
    return Engine(view_of([mesh(), *documents]))


def test_each_service_is_named_once() -> None:
    found = engine(dataplane("a-1", service="a"), dataplane("a-2", service="a"), dataplane("b"))
    assert found.get(services_of, "default", False) == ("a", "b")
    assert found.get(services_of, "elsewhere", False) == ()


def test_gateways_count_where_they_are_asked_for() -> None:
    found = engine(dataplane("a"), dataplane("edge", networking=GATEWAY))
    assert found.get(services_of, "default", False) == ("a",)
    assert found.get(services_of, "default", True) == ("a", "edge")


def test_a_proxy_that_moves_to_another_service_of_its_shard_is_seen() -> None:
    """A shard knows its members, not what they changed to."""
    names = [f"s{number}" for number in range(400)]
    documents = [dataplane("dp", service=name) for name in names]
    moving = engine()
    view = view_of([mesh()])
    for index, document in enumerate(documents):
        view, changes = view.with_changes(index + 2, [(resource(document).key, resource(document))])
        moving.begin(view, changes)
        assert moving.get(services_of, "default", False) == (names[index],)


def test_an_address_that_changes_stops_at_its_proxy() -> None:
    found = engine(*(dataplane(f"a-{number}", service="a") for number in range(9)))
    query = services_of.query("default", False)
    found.watch(query)
    assert list(found.step(100)) == [query]
    before = found.runs.copy()
    moved = resource(dataplane("a-1", service="a", address="10.0.0.9"))
    view, changes = view_of(
        [mesh(), *(dataplane(f"a-{n}", service="a") for n in range(9))], index=2
    ).with_changes(3, [(moved.key, moved)])
    found.begin(view, changes)
    assert list(found.step(100)) == []
    assert sum((found.runs - before).values()) == 1
