"""Outbounds: the listener, the routes and the cluster of each kind of destination, with each protocol."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.naming import sni_of_resource
from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service, node, rendered, view_of
from xds.config.source import Source
from xds.types import CLUSTER, ENDPOINT, LISTENER

Json = dict[str, Any]
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
DEFAULT_ROUTE = "9Zuf5Tg79OuZcQITwBbQykxAk2u4fRKrwYn3//AL4Yo="
EGRESS = {
    "type": "ZoneEgress",
    "name": "out",
    "zone": "z",
    "networking": {"address": "10.0.0.8", "port": 10002},
}


def external(protocol: str) -> Json:
    match = {"port": 80, "protocol": protocol}
    return {
        "type": "MeshExternalService",
        "mesh": "default",
        "name": "api",
        "spec": {"match": match, "endpoints": [{"address": "1.2.3.4", "port": 80}]},
        "status": {"vip": {"ip": "242.0.0.1"}},
    }


def everywhere(protocol: str) -> Json:
    return {
        "type": "MeshMultiZoneService",
        "mesh": "default",
        "name": "api",
        "labels": {"kuma.io/origin": "global", "kuma.io/display-name": "api", "kuma.io/zone": ""},
        "spec": {
            "selector": {"meshService": {"matchLabels": {"app": "api"}}},
            "ports": [{"port": 80, "appProtocol": protocol}],
        },
        "status": {"vips": [{"ip": "243.0.0.1"}]},
    }


def world(protocol: str, mtls: bool = True, networking: Json | None = None, **metadata: Any) -> Json:
    """What `web` gets among every kind of destination called `api`."""
    settings: Json = {"mtls": MTLS, "routing": {"zoneEgress": True}} if mtls else {}
    outbounds = [
        {"port": 10001, "tags": {"kuma.io/service": "api"}},
        {"port": 10002, "backendRef": {"kind": "MeshService", "name": "api", "port": 80}},
        {"port": 10003, "backendRef": {"kind": "MeshMultiZoneService", "name": "api", "port": 80}},
        {"port": 10004, "backendRef": {"kind": "MeshExternalService", "name": "api", "port": 80}},
    ]
    documents = [
        mesh(**settings),
        dataplane("web", 8080, networking=networking or {"outbound": outbounds}),
        dataplane("api-1", 80, service="api", tags={"kuma.io/protocol": protocol}, address="10.0.0.7"),
        mesh_service("api", 80, protocol, vip="241.0.0.1") | {"labels": {"app": "api"}},
        everywhere(protocol),
        external("tcp" if protocol == "kafka" else protocol),  # the one kind that knows no Kafka
        EGRESS,
    ]
    source = Source(view_of(documents, "z"), zone="z")
    found = rendered(source.connect(node("web", **metadata), lambda deltas: None).snapshot())
    assert not source.failures
    return found


# Port of the outbound, its cluster, its route configuration, what it is called in the metadata.
KINDS = {
    "tags": (10001, "api", "outbound:api", {"kuma.io/service": "api"}),
    "MeshService": (10002, "default_api__z_msvc_80", "kri_msvc_default_z__api_80", None),
    "MeshMultiZoneService": (10003, "default_api___mzsvc_80", "kri_mzsvc_default___api_80", None),
    "MeshExternalService": (10004, "default_api__z_extsvc_80", "kri_extsvc_default_z__api_80", None),
}
HTTP = ("http", "http2", "grpc")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [*HTTP, "tcp", "kafka"])
def test_listeners(kind: str, protocol: str) -> None:
    if (kind, protocol) == ("MeshExternalService", "kafka"):
        return
    port, cluster, routes, tags = KINDS[kind]
    listener = world(protocol)[LISTENER][f"outbound:127.0.0.1:{port}"]
    assert listener["trafficDirection"] == "OUTBOUND" and "bindToPort" not in listener
    found = listener["metadata"]["filterMetadata"]["io.kuma.tags"]
    assert found == (tags or {"kuma.io/unified-name": routes})
    (chain,) = listener["filterChains"]
    names = [each["name"].rpartition(".")[2] for each in chain["filters"]]
    config = chain["filters"][-1]["typedConfig"]
    assert config["statPrefix"] == cluster
    if protocol not in HTTP:
        assert names == (["kafka_broker", "tcp_proxy"] if protocol == "kafka" else ["tcp_proxy"])
        assert (config["cluster"], config["idleTimeout"]) == (cluster, "3600s")
        return
    assert names == ["http_connection_manager"]
    inner = [each["name"].rpartition(".")[2] for each in config["httpFilters"]]
    assert inner == (["grpc_stats", "router"] if protocol == "grpc" else ["router"])
    assert config["normalizePath"] is True
    (host,) = config["routeConfig"]["virtualHosts"]
    assert (config["routeConfig"]["name"], host["name"], host["domains"]) == (routes, cluster, ["*"])
    (route,) = host["routes"]
    assert (route["name"], route["match"]) == (DEFAULT_ROUTE, {"prefix": "/"})
    rewritten = {"autoHostRewrite": True} if kind == "MeshExternalService" else {}
    expected = {"cluster": cluster, "timeout": "15s", "idleTimeout": "1800s"} | rewritten
    assert route["route"] == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [*HTTP, "tcp"])
def test_clusters_speak_http2_inside_the_mesh(kind: str, protocol: str) -> None:
    _, name, *_ = KINDS[kind]
    cluster = world(protocol)[CLUSTER][name]
    assert (cluster["type"], cluster["connectTimeout"]) == ("EDS", "5s")
    assert cluster["circuitBreakers"] == {"thresholds": [{"trackRemaining": True}]}
    version = list(cluster["typedExtensionProtocolOptions"][HTTP_OPTIONS]["explicitHttpConfig"])
    outside = kind == "MeshExternalService" and protocol in ("http", "tcp")
    assert version == ["httpProtocolOptions" if outside else "http2ProtocolOptions"]


@pytest.mark.parametrize(
    ("kind", "sni", "answers"),
    [
        ("tags", "api{mesh=default}", "api"),
        ("MeshService", sni_of_resource("MeshService", "default", "api", 80), "api"),
        ("MeshMultiZoneService", sni_of_resource("MeshMultiZoneService", "default", "api", 80), "api"),
        ("MeshExternalService", sni_of_resource("MeshExternalService", "default", "api", 80), "zone-egress"),
    ],
)
def test_tls_names_who_is_asked_for_and_who_has_to_answer(kind: str, sni: str, answers: str) -> None:
    _, name, *_ = KINDS[kind]
    tls = world("http")[CLUSTER][name]["transportSocket"]["typedConfig"]
    context = tls["commonTlsContext"]
    assert (tls["sni"], context["alpnProtocols"]) == (sni, ["kuma"])
    (identity,) = context["tlsCertificateSdsSecretConfigs"]
    assert identity["name"] == "identity_cert:secret:default"
    combined = context["combinedValidationContext"]
    assert combined["validationContextSdsSecretConfig"]["name"] == "mesh_ca:secret:default"
    (san,) = combined["defaultValidationContext"]["matchTypedSubjectAltNames"]
    assert san == {"sanType": "URI", "matcher": {"exact": f"spiffe://default/{answers}"}}


@pytest.mark.parametrize("kind", KINDS)
def test_without_mtls_there_is_no_tls(kind: str) -> None:
    _, name, *_ = KINDS[kind]
    assert "transportSocket" not in world("http", mtls=False)[CLUSTER][name]


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("tags", ("10.0.0.7", 80)),
        ("MeshService", ("10.0.0.7", 80)),
        ("MeshMultiZoneService", ("10.0.0.7", 80)),
        ("MeshExternalService", ("10.0.0.8", 10002)),
    ],
)
def test_endpoints_are_in_the_locality_of_their_zone(kind: str, address: tuple[str, int]) -> None:
    _, name, *_ = KINDS[kind]
    (locality,) = world("http")[ENDPOINT][name]["endpoints"]
    assert locality["locality"] == {"zone": "z"}
    (endpoint,) = locality["lbEndpoints"]
    ip, port = address
    assert endpoint["endpoint"]["address"]["socketAddress"] == {"address": ip, "portValue": port}
    assert endpoint["loadBalancingWeight"] == 1
    if kind != "MeshExternalService":
        tags = {"kuma.io/protocol": "http", "kuma.io/zone": "z"}
        metadata = endpoint["metadata"]["filterMetadata"]
        assert metadata["envoy.lb"] == metadata["envoy.transport_socket_match"] == tags


def test_redirected_outbounds_are_not_bound() -> None:
    listeners = world("http", networking=TRANSPARENT)[LISTENER]
    for name in ("outbound:241.0.0.1:80", "outbound:242.0.0.1:80", "outbound:243.0.0.1:80"):
        assert listeners[name]["bindToPort"] is False


@pytest.mark.parametrize("outbound", [
    {"port": 10001, "backendRef": {"kind": "MeshService", "name": "nobody", "port": 80}},
    {"port": 10001, "backendRef": {"kind": "MeshService", "name": "api", "port": 81}},
])  # fmt: skip
def test_a_reference_to_nothing_is_left_out(outbound: Json) -> None:
    assert set(world("http", networking={"outbound": [outbound]})[LISTENER]) == {"inbound:192.168.0.1:8080"}


@pytest.mark.parametrize("redirected", [False, True])
def test_two_ways_to_a_destination_are_two_listeners_in_the_unified_scheme_too(redirected: bool) -> None:
    ref = {"kind": "MeshService", "name": "api", "port": 80}
    networking: Json = {"outbound": [{"port": port, "backendRef": ref} for port in (10001, 10002)]}
    found = world(
        "http",
        networking=networking | (TRANSPARENT if redirected else {}),
        features=["feature-unified-resource-naming"],
    )
    at = {
        (listener["address"]["socketAddress"]["address"], listener["address"]["socketAddress"]["portValue"])
        for name, listener in found[LISTENER].items()
        if name.startswith(("outbound:127", "kri_msvc"))
    }
    declared = {("127.0.0.1", 10001), ("127.0.0.1", 10002)}
    assert at == declared | ({("241.0.0.1", 80)} if redirected else set())


def test_a_reference_by_labels() -> None:
    labels = {"app": "api"}
    outbound = {"port": 10001, "backendRef": {"kind": "MeshService", "labels": labels, "port": 80}}
    found = world("http", networking={"outbound": [outbound]})
    assert "default_api__z_msvc_80" in found[CLUSTER]
