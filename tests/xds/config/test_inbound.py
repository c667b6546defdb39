"""Inbounds: where they listen, what they do with each protocol, and where the application is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, node, rendered, view_of
from xds.config.source import Source
from xds.types import CLUSTER, LISTENER

Json = dict[str, Any]
UNIFIED = {"features": ["feature-unified-resource-naming"]}
HTTP2_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def config(
    inbound: Json, settings: Json | None = None, networking: Json | None = None, **metadata: Any
) -> Json:
    """What a proxy with this inbound gets."""
    document = dataplane("web", 8080, networking=networking or {})
    document["networking"]["inbound"] = [
        {"port": 8080, "servicePort": 80, "tags": {"kuma.io/service": "web"}} | inbound
    ]
    source = Source(view_of([mesh(**(settings or {})), document]))
    found = rendered(source.connect(node("web", **metadata), lambda deltas: None).snapshot())
    assert not source.failures
    return found


def listener(inbound: Json, **more: Any) -> Json:
    (found,) = config(inbound, **more)[LISTENER].values()
    result: Json = found
    return result


def filters(found: Json, chain: int = 0) -> list[str]:
    return [each["name"].rpartition(".")[2] for each in found["filterChains"][chain]["filters"]]


@pytest.mark.parametrize(
    ("protocol", "expected", "http_filters", "version"),
    [
        ("http", ["http_connection_manager"], ["router"], "httpProtocolOptions"),
        ("http2", ["http_connection_manager"], ["router"], "http2ProtocolOptions"),
        ("grpc", ["http_connection_manager"], ["grpc_stats", "router"], "http2ProtocolOptions"),
        ("tcp", ["tcp_proxy"], [], None),
        ("kafka", ["kafka_broker", "tcp_proxy"], [], None),
        ("something", ["tcp_proxy"], [], None),
    ],
)
@pytest.mark.parametrize("by", ["tag", "field"])
def test_a_protocol_decides_the_filters_and_the_cluster(
    by: str, protocol: str, expected: list[str], http_filters: list[str], version: str | None
) -> None:
    tags = {"kuma.io/service": "web", "kuma.io/protocol": protocol}
    inbound = {"tags": tags} if by == "tag" else {"protocol": protocol}
    found = config(inbound)
    (listener,) = found[LISTENER].values()
    assert filters(listener) == expected
    last = listener["filterChains"][0]["filters"][-1]["typedConfig"]
    assert [each["name"].rpartition(".")[2] for each in last.get("httpFilters", ())] == http_filters
    options = found[CLUSTER]["localhost:80"].get("typedExtensionProtocolOptions", {}).get(HTTP2_OPTIONS, {})
    assert list(options.get("explicitHttpConfig", {})) == ([version] if version else [])


def test_kafka_is_bytes_to_an_envoy_that_cannot_read_it() -> None:
    found = listener({"protocol": "kafka"}, features=["feature-no-kafka-filter"])
    assert filters(found) == ["tcp_proxy"]
    (kafka, _) = listener({"protocol": "kafka"})["filterChains"][0]["filters"]
    assert kafka["typedConfig"]["statPrefix"] == "localhost_80"


@pytest.mark.parametrize(("protocol", "expected"), [("tcp", []), ("kafka", ["kafka_broker"])])
def test_permissions_come_before_what_reads_the_traffic(protocol: str, expected: list[str]) -> None:
    found = listener({"protocol": protocol}, settings={"mtls": MTLS})
    assert filters(found) == ["rbac", *expected, "tcp_proxy"]


@pytest.mark.parametrize(
    ("inbound", "listens", "application"),
    [
        ({}, ("192.168.0.1", 8080), ("127.0.0.1", 80)),
        ({"servicePort": 0}, ("192.168.0.1", 8080), ("127.0.0.1", 8080)),
        ({"address": "10.0.0.5"}, ("10.0.0.5", 8080), ("127.0.0.1", 80)),
        ({"serviceAddress": "10.0.0.6"}, ("192.168.0.1", 8080), ("10.0.0.6", 80)),
    ],
)
def test_addresses(inbound: Json, listens: tuple[str, int], application: tuple[str, int]) -> None:
    found = config(inbound)
    ip, port = listens
    at = found[LISTENER][f"inbound:{ip}:{port}"]
    assert at["address"]["socketAddress"] == {"address": ip, "portValue": port}
    assert "bindToPort" not in at and at["trafficDirection"] == "INBOUND"
    target, number = application
    (endpoints,) = found[CLUSTER][f"localhost:{number}"]["loadAssignment"]["endpoints"]
    address = endpoints["lbEndpoints"][0]["endpoint"]["address"]["socketAddress"]
    assert address == {"address": target, "portValue": number}


def test_redirected_traffic_reaches_the_application_from_an_address_of_its_own() -> None:
    plain = config({})[CLUSTER]["localhost:80"]
    assert "upstreamBindConfig" not in plain
    found = config({}, networking=TRANSPARENT)
    assert found[LISTENER]["inbound:192.168.0.1:8080"]["bindToPort"] is False
    source = found[CLUSTER]["localhost:80"]["upstreamBindConfig"]["sourceAddress"]
    assert source["address"] == "127.0.0.6"
    found = config({"serviceAddress": "fd00::1"}, networking=TRANSPARENT)
    assert found[CLUSTER]["localhost:80"]["upstreamBindConfig"]["sourceAddress"]["address"] == "::6"


@pytest.mark.parametrize(("inbound", "section"), [({}, "8080"), ({"name": "main"}, "main")])
def test_unified_names(inbound: Json, section: str) -> None:
    found = config({"protocol": "http"} | inbound, **UNIFIED)
    name = f"self_inbound_dp_{section}"
    assert set(found[LISTENER]) == set(found[CLUSTER]) == {name}
    (manager,) = found[LISTENER][name]["filterChains"][0]["filters"]
    routes = manager["typedConfig"]["routeConfig"]
    assert routes["name"] == routes["virtualHosts"][0]["name"] == name
    assert routes["virtualHosts"][0]["routes"][0]["route"]["cluster"] == name


def test_old_names_and_what_every_request_gets() -> None:
    (manager,) = listener({"protocol": "http"})["filterChains"][0]["filters"]
    config = manager["typedConfig"]
    routes = config["routeConfig"]
    assert (routes["name"], routes["virtualHosts"][0]["name"]) == ("inbound:web", "web")
    assert routes["requestHeadersToRemove"] == ["x-kuma-tags"]
    (route,) = routes["virtualHosts"][0]["routes"]
    assert route["route"] == {"cluster": "localhost:80", "timeout": "15s", "idleTimeout": "1800s"}
    assert config["forwardClientCertDetails"] == "SANITIZE_SET"
    assert config["setCurrentClientCertDetails"] == {"uri": True}
    assert config["streamIdleTimeout"] == "3600s"
    ranges = [each["addressPrefix"] for each in config["internalAddressConfig"]["cidrRanges"]]
    assert ranges == ["10.0.0.0", "192.168.0.0", "172.16.0.0", "127.0.0.1"]


def test_tags_are_metadata() -> None:
    found = listener({"tags": {"kuma.io/service": "web", "version": "v1"}})
    assert found["metadata"]["filterMetadata"]["io.kuma.tags"] == {"kuma.io/service": "web", "version": "v1"}


@pytest.mark.parametrize(("features", "expected"), [([], False), (["feature-reuse-port"], True)])
def test_ports_are_reused_where_the_runner_says_so(features: list[str], expected: bool) -> None:
    assert listener({}, features=features)["enableReusePort"] is expected


# --- mTLS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "identity", "ca"),
    [
        ({}, "identity_cert:secret:default", "mesh_ca:secret:default"),
        (UNIFIED, "system_mtls_identity_default", "system_mtls_ca_default"),
    ],
)
def test_members_of_the_mesh_get_in(metadata: Json, identity: str, ca: str) -> None:
    (chain,) = listener({}, settings={"mtls": MTLS}, **metadata)["filterChains"]
    tls = chain["transportSocket"]["typedConfig"]
    context = tls["commonTlsContext"]
    assert tls["requireClientCertificate"] is True
    assert [each["name"] for each in context["tlsCertificateSdsSecretConfigs"]] == [identity]
    combined = context["combinedValidationContext"]
    assert combined["validationContextSdsSecretConfig"]["name"] == ca
    (san,) = combined["defaultValidationContext"]["matchTypedSubjectAltNames"]
    assert san == {"sanType": "URI", "matcher": {"prefix": "spiffe://default/"}}


def test_a_permissive_mesh_also_takes_plain_traffic_and_foreign_tls() -> None:
    backend = MTLS["backends"][0] | {"mode": "PERMISSIVE"}
    found = listener({}, settings={"mtls": MTLS | {"backends": [backend]}})
    matches = [chain["filterChainMatch"] for chain in found["filterChains"]]
    assert matches == [
        {"transportProtocol": "raw_buffer"},
        {"transportProtocol": "tls"},
        {"transportProtocol": "tls", "applicationProtocols": ["kuma"]},
    ]
    assert ["transportSocket" in chain for chain in found["filterChains"]] == [False, False, True]
    assert [each["name"] for each in found["listenerFilters"]] == ["envoy.filters.listener.tls_inspector"]
