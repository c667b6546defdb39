"""Which Dataplanes stand behind services and gateways."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.resource import Resource
from mesh.selection import dataplanes_of, dataplanes_of_gateway
from mesh.view import View


def dataplane(name: str, *tags: dict[str, str], **labels: str) -> Resource:
    inbound = [{"port": 80 + number, "tags": each} for number, each in enumerate(tags)]
    networking = {"address": "10.0.0.1", "inbound": inbound}
    return decode({"type": "Dataplane", "name": name, "labels": labels, "networking": networking})


PROXIES = (
    dataplane("a", {"app": "web", "v": "1"}, team="x"),
    dataplane("b", {"app": "web"}, {"v": "1"}, team="x", tier="1"),
    dataplane("c", {"app": "db"}),
)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ({"dataplaneTags": {"app": "web"}}, ["a", "b"]),
        ({"dataplaneTags": {"app": "web", "v": "1"}}, ["a"]),  # of one inbound, not of several
        ({"dataplaneTags": {}}, []),
        ({"dataplaneRef": {"name": "c"}}, ["c"]),
        ({"dataplaneLabels": {"matchLabels": {"team": "x"}}}, ["a", "b"]),
        ({"dataplaneLabels": {"matchLabels": {"team": "x", "tier": "1"}}}, ["b"]),
        ({"dataplaneLabels": {}}, []),
    ],
)
def test_selectors_of_a_service(selector: dict[str, Any], names: list[str]) -> None:
    service = decode({"type": "MeshService", "name": "s", "spec": {"selector": selector}})
    assert [each.name for each in dataplanes_of(View.of([service, *PROXIES]), service)] == names


def test_proxies_of_a_gateway_are_those_that_it_selects_best() -> None:
    def gateway(name: str, **match: str) -> Resource:
        return decode({"type": "MeshGateway", "name": name, "selectors": [{"match": match}]})

    def proxy(name: str, kind: str, **tags: str) -> Resource:
        networking = {"address": "10.0.0.1", "gateway": {"type": kind, "tags": tags}}
        return decode({"type": "Dataplane", "name": name, "networking": networking})

    wide, narrow = gateway("wide", app="gw"), gateway("narrow", app="gw", v="1")
    proxies = [
        proxy("a", "BUILTIN", app="gw"),
        proxy("b", "BUILTIN", app="gw", v="1"),
        proxy("c", "DELEGATED", app="gw"),
    ]
    view = View.of([wide, narrow, *proxies, *PROXIES[2:]])
    assert [each.name for each in dataplanes_of_gateway(view, wide)] == ["a"]
    assert [each.name for each in dataplanes_of_gateway(view, narrow)] == ["b"]
