"""MeshTimeout: where each field goes, and what holds without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xds.config.policies.sidecar import (
    HTTP_APP,
    HTTP_CLUSTER,
    HTTP_IN,
    HTTP_OUT,
    TCP_APP,
    TCP_CLUSTER,
    TCP_IN,
    TCP_OUT,
    Sidecar,
    prefix,
    route,
    rules,
    to,
)

CONF = {
    "connectionTimeout": "7s",
    "idleTimeout": "1m10s",
    "http": {
        "requestTimeout": "2s",
        "streamIdleTimeout": "3s",
        "maxStreamDuration": "4s",
        "maxConnectionDuration": "5s",
        "requestHeadersTimeout": "250ms",
    },
}
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def common(sidecar: Sidecar, cluster: str) -> dict[str, str]:
    found: dict[str, str] = sidecar.cluster(cluster)["typedExtensionProtocolOptions"][OPTIONS][
        "commonHttpProtocolOptions"
    ]
    return found


def test_defaults() -> None:
    sidecar = Sidecar()
    assert sidecar.cluster(HTTP_CLUSTER)["connectTimeout"] == "5s"
    assert common(sidecar, HTTP_CLUSTER)["idleTimeout"] == "3600s"
    assert sidecar.routes(HTTP_OUT)[0]["route"]["timeout"] == "15s"
    assert sidecar.routes(HTTP_IN)[0]["route"]["idleTimeout"] == "1800s"


def test_outbound() -> None:
    sidecar = Sidecar(to("MeshTimeout", CONF))
    assert sidecar.cluster(HTTP_CLUSTER)["connectTimeout"] == "7s"
    assert sidecar.cluster(TCP_CLUSTER)["connectTimeout"] == "7s"
    assert common(sidecar, HTTP_CLUSTER) == {
        "idleTimeout": "70s",
        "maxConnectionDuration": "5s",
        "maxStreamDuration": "4s",
    }
    action = sidecar.routes(HTTP_OUT)[0]["route"]
    assert (action["timeout"], action["idleTimeout"]) == ("2s", "3s")
    assert sidecar.manager(HTTP_OUT)["requestHeadersTimeout"] == "0.250s"
    assert sidecar.manager(TCP_OUT)["idleTimeout"] == "70s"
    assert sidecar.cluster(HTTP_APP)["connectTimeout"] == "5s"


def test_inbound() -> None:
    sidecar = Sidecar(rules("MeshTimeout", CONF))
    assert sidecar.cluster(HTTP_APP)["connectTimeout"] == sidecar.cluster(TCP_APP)["connectTimeout"] == "7s"
    assert common(sidecar, HTTP_APP)["maxConnectionDuration"] == "5s"
    assert sidecar.routes(HTTP_IN)[0]["route"]["timeout"] == "2s"
    assert sidecar.manager(TCP_IN)["idleTimeout"] == "70s"
    assert sidecar.cluster(HTTP_CLUSTER)["connectTimeout"] == "5s"


def test_a_route_has_its_own() -> None:
    own = to("MeshTimeout", {"http": {"requestTimeout": "9s"}}, {"kind": "MeshHTTPRoute", "name": "r"})
    sidecar = Sidecar(route("r", prefix("/slow")), own)
    assert [found["route"]["timeout"] for found in sidecar.routes(HTTP_OUT)] == ["9s", "9s", "15s"]


def test_a_route_keeps_what_its_own_leaves_open_from_the_destination_not_from_the_mesh() -> None:
    own = to("MeshTimeout", {"http": {"requestTimeout": "9s"}}, {"kind": "MeshHTTPRoute", "name": "r"}, "own")
    service = {"kind": "MeshService", "name": "api"}
    of_api = to("MeshTimeout", {"http": {"requestTimeout": "8s", "streamIdleTimeout": "7s"}}, service, "api")
    of_mesh = to("MeshTimeout", {"http": {"requestTimeout": "6s", "streamIdleTimeout": "5s"}}, name="mesh")
    sidecar = Sidecar(route("r", prefix("/slow")), own, of_api, of_mesh)
    found = [(r["route"]["timeout"], r["route"]["idleTimeout"]) for r in sidecar.routes(HTTP_OUT)]
    assert found == [("9s", "7s"), ("9s", "7s"), ("8s", "7s")]


def test_one_destination_leaves_the_others_alone() -> None:
    sidecar = Sidecar(to("MeshTimeout", CONF, {"kind": "MeshService", "name": "api"}))
    assert sidecar.cluster(HTTP_CLUSTER)["connectTimeout"] == "7s"
    assert sidecar.cluster(TCP_CLUSTER)["connectTimeout"] == "5s"


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    Sidecar(to("MeshTimeout", CONF), rules("MeshTimeout", CONF, name="q")).validate(tmp_path)
