"""A real Envoy accepts what is emitted, and an independent decoder reads the same from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds import second_opinion
from tests.xds.config.collected import keep
from tests.xds.config.envoy_check import validate
from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service, node, rendered, view_of
from xds import proto
from xds.config.source import Source
from xds.types import LISTENER, Snapshot

HTTP = {"kuma.io/protocol": "http"}
OUTBOUND = {"outbound": [{"port": 10001, "tags": {"kuma.io/service": "backend"}}]}
BACKEND = dataplane("backend", 9001, tags=HTTP | {"version": "v1"}, service_port=9002)


def snapshot(documents: list[dict[str, Any]], name: str, **metadata: Any) -> Snapshot:
    source = Source(view_of(documents, "zone-1"))
    found = source.connect(node(name, **metadata), lambda deltas: None).snapshot()
    assert found is not None
    assert not source.failures
    keep(found)
    return found


WORLDS = {
    "tags": ([mesh(), dataplane("web", 8080, tags=HTTP, networking=OUTBOUND), BACKEND], "web"),
    "tags with mTLS": (
        [mesh(mtls=MTLS), dataplane("web", 8080, tags=HTTP, networking=OUTBOUND), BACKEND],
        "web",
    ),
    "resources, transparent": (
        [
            mesh(mtls=MTLS, meshServices={"mode": "Exclusive"}),
            dataplane("web", 8080, networking=TRANSPARENT),
            BACKEND,
            mesh_service("backend", 9001, vip="241.0.0.1"),
            mesh_service("web", 8080, "tcp", vip="241.0.0.2"),
        ],
        "web",
    ),
}


@pytest.mark.envoy
@pytest.mark.parametrize("world", WORLDS)
def test_envoy_accepts(world: str, tmp_path: Path) -> None:
    documents, name = WORLDS[world]
    admin = {"dataplane.admin.port": "9901", "dataplane.readinessReporter.port": "9902"}
    config = rendered(snapshot(documents, name, **admin))
    assert "kuma:envoy:admin" in config[LISTENER]
    validate(config, tmp_path)


@pytest.mark.parametrize("world", WORLDS)
def test_a_second_decoder_reads_the_same(world: str) -> None:
    documents, name = WORLDS[world]
    for type_url, resources in snapshot(documents, name).items():
        full_name = type_url.rpartition("/")[2]
        for resource in (resources[key] for key in resources):
            ours = proto.parse(proto.msg(full_name), resource.body)
            theirs = second_opinion.decode(full_name, resource.body)
            again = proto.parse(proto.msg(full_name), bytes(theirs))
            assert proto.to_json(again) == proto.to_json(ours)
