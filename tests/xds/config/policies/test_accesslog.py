"""MeshAccessLog: what is written, where, and which requests a route's own log takes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import (
    HTTP_IN,
    HTTP_OUT,
    TCP_IN,
    TCP_OUT,
    Sidecar,
    prefix,
    route,
    rules,
    to,
)
from xds.config.policies.accesslog import HTTP_FORMAT, TCP_FORMAT, filled
from xds.types import CLUSTER

KIND = "MeshAccessLog"


def backends(*found: dict[str, Any]) -> dict[str, Any]:
    return {"backends": list(found)}


def file(path: str = "/dev/stdout", **more: Any) -> dict[str, Any]:
    return {"type": "File", "file": {"path": path, **more}}


def plain(text: str) -> dict[str, Any]:
    return {"format": {"type": "Plain", "plain": text}}


OTEL = {
    "type": "OpenTelemetry",
    "openTelemetry": {
        "endpoint": "otel.example.com:4317",
        "attributes": [{"key": "kuma.mesh", "value": "%KUMA_MESH%"}],
        "body": {
            "kvlistValue": {"values": [{"key": "to", "value": {"stringValue": "%KUMA_DESTINATION_SERVICE%"}}]}
        },
    },
}


def logs(sidecar: Sidecar, listener: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sidecar.manager(listener).get("accessLog", [])
    return found


def text(log: dict[str, Any]) -> str:
    found: str = log["typedConfig"]["logFormat"]["textFormatSource"]["inlineString"]
    return found


def test_placeholders_say_who_talks_to_whom() -> None:
    line = "%KUMA_MESH% %KUMA_SOURCE_SERVICE% %KUMA_DESTINATION_SERVICE% %KUMA_TRAFFIC_DIRECTION% %DURATION%"
    conf = backends(file(**plain(line)))
    outbound, inbound = Sidecar(to(KIND, conf)), Sidecar(rules(KIND, conf))
    assert text(logs(outbound, TCP_OUT)[0]) == "default web db OUTBOUND %DURATION%\n"
    assert text(logs(inbound, HTTP_IN)[0]) == "default unknown web INBOUND %DURATION%\n"


def test_addresses_of_the_client() -> None:
    conf = backends(file(**plain("%KUMA_SOURCE_ADDRESS% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT%")))
    assert text(logs(Sidecar(to(KIND, conf)), TCP_OUT)[0]) == "192.168.0.1:0 192.168.0.1\n"
    assert "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" in text(logs(Sidecar(rules(KIND, conf)), TCP_IN)[0])


def test_defaults_know_the_protocol() -> None:
    sidecar = Sidecar(to(KIND, backends(file())))
    assert "%REQ(:METHOD)%" in text(logs(sidecar, HTTP_OUT)[0])
    assert "took %DURATION%ms" in text(logs(sidecar, TCP_OUT)[0])
    assert "%KUMA_" not in text(logs(sidecar, HTTP_OUT)[0]) + text(logs(sidecar, TCP_OUT)[0])


@pytest.mark.parametrize("format_", [HTTP_FORMAT, TCP_FORMAT])
def test_every_placeholder_of_the_defaults_is_known(format_: str) -> None:
    names = ["MESH", "SOURCE_SERVICE", "SOURCE_ADDRESS_WITHOUT_PORT", "DESTINATION_SERVICE"]
    assert "KUMA" not in filled(format_, {f"%KUMA_{name}%": "" for name in names})


def test_json() -> None:
    found = {"type": "Json", "json": [{"key": "m", "value": "%KUMA_MESH%"}], "omitEmptyValues": True}
    (log,) = logs(Sidecar(rules(KIND, backends(file(format=found)))), HTTP_IN)
    assert log["typedConfig"]["logFormat"] == {"jsonFormat": {"m": "default"}, "omitEmptyValues": True}


def test_tcp_collectors_are_reached_through_the_runner() -> None:
    conf = backends({"type": "Tcp", "tcp": {"address": "1.2.3.4:99", **plain("hi")}})
    (log,) = logs(Sidecar(rules(KIND, conf), workdir="/run/web"), HTTP_IN)
    assert log["typedConfig"]["path"] == "/run/web/kuma-al-web-default.sock"
    found = log["typedConfig"]["logFormat"]
    assert found == {"jsonFormat": {"address": "1.2.3.4:99", "message": "hi\n"}}


def test_json_for_a_tcp_collector_stays_json() -> None:
    fields = {"type": "Json", "json": [{"key": "m", "value": "%KUMA_MESH%"}], "omitEmptyValues": True}
    conf = backends({"type": "Tcp", "tcp": {"address": "1.2.3.4:99", "format": fields}})
    (log,) = logs(Sidecar(rules(KIND, conf)), HTTP_IN)
    wrapped = {"address": "1.2.3.4:99", "message": {"m": "default"}}
    assert log["typedConfig"]["logFormat"] == {"jsonFormat": wrapped, "omitEmptyValues": True}


def test_opentelemetry_needs_a_cluster() -> None:
    sidecar = Sidecar(to(KIND, backends(OTEL)))
    name = "meshaccesslog:opentelemetry:0"
    assert sidecar.config[CLUSTER][name]["type"] == "STRICT_DNS"
    config = logs(sidecar, TCP_OUT)[0]["typedConfig"]
    assert config["commonConfig"]["grpcService"]["envoyGrpc"]["clusterName"] == name
    assert config["attributes"]["values"] == [{"key": "kuma.mesh", "value": {"stringValue": "default"}}]
    assert config["body"]["kvlistValue"]["values"][0]["value"] == {"stringValue": "db"}


def test_collectors_are_numbered() -> None:
    other = {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "second.test"}}
    sidecar = Sidecar(rules(KIND, backends(OTEL), name="in"), to(KIND, backends(other)))
    clusters = sidecar.config[CLUSTER]
    for listener, number, host in ((HTTP_IN, 0, "otel.example.com"), (HTTP_OUT, 1, "second.test")):
        config = logs(sidecar, listener)[0]["typedConfig"]["commonConfig"]
        name = config["grpcService"]["envoyGrpc"]["clusterName"]
        (endpoint,) = clusters[name]["loadAssignment"]["endpoints"][0]["lbEndpoints"]
        assert endpoint["endpoint"]["address"]["socketAddress"]["address"] == host
        assert name == f"meshaccesslog:opentelemetry:{number}"


def test_a_collector_may_be_a_resource() -> None:
    ref = {"kind": "MeshOpenTelemetryBackend", "labels": {"team": "a"}}
    logged = to(KIND, backends({"type": "OpenTelemetry", "openTelemetry": {"backendRef": ref}}))
    backend = {
        "type": "MeshOpenTelemetryBackend",
        "mesh": "default",
        "name": "collector",
        "labels": {"team": "a"},
        "spec": {"endpoint": {"address": "otel.test", "port": 99}},
    }
    assert logs(Sidecar(logged), TCP_OUT) == []
    sidecar = Sidecar(logged, backend)
    assert len(logs(sidecar, TCP_OUT)) == 1
    (endpoints,) = sidecar.config[CLUSTER]["meshaccesslog:opentelemetry:0"]["loadAssignment"]["endpoints"]
    address = endpoints["lbEndpoints"][0]["endpoint"]["address"]["socketAddress"]
    assert address == {"address": "otel.test", "portValue": 99}


def test_a_route_with_its_own_log_leaves_the_common_one() -> None:
    own = to(KIND, backends(file("/own")), {"kind": "MeshHTTPRoute", "name": "r"}, name="own")
    sidecar = Sidecar(route("r", prefix("/x")), own, to(KIND, backends(file("/common"))))
    common, special = logs(sidecar, HTTP_OUT)
    assert common["typedConfig"]["path"] == "/common"
    assert common["filter"]["metadataFilter"]["matcher"]["value"] == {"nullMatch": {}}
    assert special["typedConfig"]["path"] == "/own"
    kri = "kri_mhttpr_default___r_"
    assert special["filter"]["metadataFilter"]["matcher"]["value"] == {"stringMatch": {"exact": kri}}
    assert sidecar.filters(HTTP_OUT) == ["lua", "router"]
    metadata = [found.get("metadata") for found in sidecar.routes(HTTP_OUT)]
    assert [bool(found) for found in metadata] == [True, True, False]


def test_an_empty_list_switches_logging_off() -> None:
    off = to(KIND, {"backends": []}, {"kind": "MeshService", "name": "db"}, name="off")
    sidecar = Sidecar(to(KIND, backends(file())), off)
    assert logs(sidecar, TCP_OUT) == []
    assert len(logs(sidecar, HTTP_OUT)) == 1


def test_what_leaves_the_mesh_is_logged_with_the_mesh() -> None:
    sidecar = Sidecar(to(KIND, backends(file(**plain("to %KUMA_DESTINATION_SERVICE%")))))
    assert text(logs(sidecar, "outbound:passthrough:ipv4")[0]) == "to external\n"
    assert logs(sidecar, "inbound:passthrough:ipv4") == []


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    own = to(KIND, backends(file("/dev/stderr")), {"kind": "MeshHTTPRoute", "name": "r"}, name="own")
    outbound = to(KIND, backends(file(), OTEL))
    Sidecar(route("r", prefix("/x")), own, outbound, rules(KIND, backends(file(), OTEL), name="q")).validate(
        tmp_path
    )
