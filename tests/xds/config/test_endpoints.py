"""Endpoints: which inbounds a selector takes, and what an assignment says of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.xds.config.worlds import dataplane, mesh, mesh_service, resource, view_of
from xds.config.endpoints import Selector, selected_endpoints, service_endpoints
from xds.engine import Engine

TAGS = (("kuma.io/service", "api"),)


def proxy(own: str, port: int, **inbound: Any) -> dict[str, Any]:
    document = dataplane(own, port, service="api", tags={"version": own})
    document["networking"]["inbound"][0] |= inbound
    return document | {"labels": {"app": own}}


def ports(selector: Selector, *documents: dict[str, Any]) -> list[int]:
    engine = Engine(view_of([mesh(), *documents]))
    return [endpoint.port for endpoint in engine.get(selected_endpoints, "default", selector)]


def test_selectors() -> None:
    documents = [proxy("a", 1), proxy("b", 2, name="main"), dataplane("c", 3)]
    assert ports(Selector(tags=TAGS), *documents) == [1, 2]
    assert ports(Selector(tags=(*TAGS, ("version", "b"))), *documents) == [2]
    assert ports(Selector(tags=(("version", "a"),)), *documents) == [1]
    assert ports(Selector(labels=(("app", "a"),)), *documents) == [1]
    assert ports(Selector(name="c"), *documents) == [3]
    assert ports(Selector(tags=TAGS, target="main"), *documents) == [2]
    assert ports(Selector(tags=TAGS, target=1), *documents) == [1]
    assert ports(Selector(), *documents) == []


@pytest.mark.parametrize(
    ("inbound", "expected"),
    [
        ({"state": "Ready"}, [1]),
        ({"state": "NotReady"}, []),
        ({"state": "Ignored"}, []),
        ({"health": {"ready": False}}, []),
        ({"health": {"ready": True}}, [1]),
    ],
)
def test_only_what_is_ready_gets_traffic(inbound: dict[str, Any], expected: list[int]) -> None:
    assert ports(Selector(tags=TAGS), proxy("a", 1, **inbound)) == expected


def test_others_reach_a_proxy_at_the_address_that_it_advertises() -> None:
    document = proxy("a", 1, address="10.0.0.1")
    document["networking"]["advertisedAddress"] = "203.0.113.7"
    (found,) = Engine(view_of([mesh(), document])).get(selected_endpoints, "default", Selector(tags=TAGS))
    assert (found.address, found.port) == ("203.0.113.7", 1)
    assert b"203.0.113.7" in found.frame and b"10.0.0.1" not in found.frame


@pytest.mark.parametrize(
    "selector",
    [
        {"dataplaneTags": {"kuma.io/service": "api"}},
        {"dataplaneLabels": {"matchLabels": {"app": "a"}}},
        {"dataplaneRef": {"name": "a"}},
    ],
)
def test_a_service_selects_in_three_ways(selector: dict[str, Any]) -> None:
    service = mesh_service("api", 80, selector=selector, ports=[{"port": 80, "targetPort": 1}])
    engine = Engine(view_of([mesh(), proxy("a", 1), service]))
    found = engine.get(service_endpoints, "default", "api", 80)
    assert [endpoint.port for endpoint in found] == [1]
    assert engine.get(service_endpoints, "default", "api", 81) == ()


def test_one_changed_proxy_encodes_one_endpoint() -> None:
    documents = [proxy(f"a-{i}", 1000 + i) for i in range(30)]
    view = view_of([mesh(), *documents])
    engine = Engine(view)
    engine.watch(selected_endpoints.query("default", Selector(tags=TAGS)))
    engine.step(1000)
    engine.runs.clear()
    changed = resource(proxy("a-7", 7777))
    view, changes = view.with_changes(2, [(changed.key, changed)])
    engine.advance(view, changes)
    assert engine.runs == {
        "facts.dataplane_facts": 1,
        "endpoints.dataplane_endpoints": 1,
        "endpoints.selected_endpoints": 1,
    }
