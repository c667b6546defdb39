"""Builtin gateways: listeners by port, routes by host, certificates from secrets, bytes by server name."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import make_certificate
from tests.xds.config.envoy_check import validate
from tests.xds.config.worlds import dataplane, mesh, mesh_service, node, rendered, view_of
from xds.config.gateway import fits
from xds.config.names import tagged_cluster_name
from xds.config.secrets import Certificate, certificate_name
from xds.config.source import Source
from xds.engine import Engine
from xds.types import CLUSTER, LISTENER, ROUTE, RUNTIME, SECRET

TAGS = {"kuma.io/service": "edge"}


def documents(*listeners: dict[str, Any], routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    networking = {"address": "192.168.0.9", "gateway": {"type": "BUILTIN", "tags": TAGS}}
    gateway = {"type": "MeshGateway", "mesh": "default", "name": "edge", "selectors": [{"match": TAGS}]}
    return [
        mesh(meshServices={"mode": "Exclusive"}),
        {"type": "Dataplane", "mesh": "default", "name": "edge-1", "networking": networking},
        gateway | {"conf": {"listeners": list(listeners)}},
        dataplane("web", 80, tags={"kuma.io/protocol": "http"}),
        mesh_service("web", 80),
        *routes,
    ]


def route(kind: str, rules: list[dict[str, Any]], name: str = "r", **to: Any) -> dict[str, Any]:
    target = {"kind": "MeshGateway", "name": "edge"}
    spec = {"targetRef": target, "to": [{"targetRef": {"kind": "Mesh"}, "rules": rules, **to}]}
    return {"type": kind, "mesh": "default", "name": name, "spec": spec}


REFS = {"backendRefs": [{"kind": "MeshService", "name": "web", "port": 80}]}
HTTP_RULES = [
    {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "default": REFS},
    {"matches": [{"path": {"type": "Exact", "value": "/lost"}}], "default": {"backendRefs": []}},
]


def config(found: list[dict[str, Any]]) -> dict[str, Any]:
    source = Source(view_of(found))
    stream = source.connect(node("edge-1"), lambda deltas: None)
    assert not source.failures
    return rendered(stream.snapshot())


def cluster_name() -> str:
    return tagged_cluster_name({"kuma.io/service": "default_web___msvc_80"}, TAGS)


def test_http_listeners_of_a_port_share_one_set_of_routes() -> None:
    listeners = [
        {"port": 80, "protocol": "HTTP", "hostname": "a.test"},
        {"port": 80, "protocol": "HTTP", "hostname": "*.b.test"},
    ]
    found = config(documents(*listeners, routes=[route("MeshHTTPRoute", HTTP_RULES)]))
    assert set(found[LISTENER]) == {"edge:HTTP:80"}
    (routes,) = found[ROUTE].values()
    assert [host["domains"] for host in routes["virtualHosts"]] == [["*.b.test"], ["a.test"]]
    assert set(found[CLUSTER]) == {cluster_name()}
    assert found[CLUSTER][cluster_name()]["perConnectionBufferLimitBytes"] == 32768
    assert found[RUNTIME]["gateway.listeners"] == {"name": "gateway.listeners", "layer": {}}


def test_the_most_specific_route_is_first_and_one_that_leads_nowhere_says_so() -> None:
    found = config(documents({"port": 80, "protocol": "HTTP"}, routes=[route("MeshHTTPRoute", HTTP_RULES)]))
    (routes,) = found[ROUTE].values()
    exact, prefix = routes["virtualHosts"][0]["routes"]
    assert exact["match"] == {"path": "/lost"}
    assert exact["directResponse"] == {"status": 500}
    (share,) = prefix["route"]["weightedClusters"]["clusters"]
    assert share["name"] == cluster_name()
    assert share["requestHeadersToAdd"][0]["header"]["value"] == "&kuma.io/service=edge&"


def test_routes_with_other_hosts_are_not_served() -> None:
    elsewhere = route("MeshHTTPRoute", HTTP_RULES, hostnames=["c.test"])
    listener = {"port": 80, "protocol": "HTTP", "hostname": "a.test"}
    (routes,) = config(documents(listener, routes=[elsewhere]))[ROUTE].values()
    assert "virtualHosts" not in routes


def https(directory: Path) -> list[dict[str, Any]]:
    pair = make_certificate(directory, "a.test")
    pem = Path(pair.key_path).read_bytes() + Path(pair.cert_path).read_bytes()
    secret = {"type": "Secret", "mesh": "default", "name": "a-cert"}
    secret["data"] = base64.b64encode(pem).decode()
    tls = {"mode": "TERMINATE", "certificates": [{"secret": "a-cert"}]}
    listener = {"port": 443, "protocol": "HTTPS", "hostname": "a.test", "tls": tls}
    return [*documents(listener, routes=[route("MeshHTTPRoute", HTTP_RULES)]), secret]


@pytest.mark.parametrize("field", ["inline", "inlineString"])
def test_a_certificate_may_be_in_the_gateway_itself(tmp_path: Path, field: str) -> None:
    documents = https(tmp_path)
    data = documents.pop()["data"]
    text = data if field == "inline" else base64.b64decode(data).decode()
    documents[2]["conf"]["listeners"][0]["tls"]["certificates"] = [{field: text}]
    found = config(documents)
    (name,) = found[SECRET]
    assert name.startswith("cert.ecdsa.")
    (chain,) = found[LISTENER]["edge:HTTPS:443"]["filterChains"]
    context = chain["transportSocket"]["typedConfig"]["commonTlsContext"]
    assert [each["name"] for each in context["tlsCertificateSdsSecretConfigs"]] == [name]
    shown = found[SECRET][name]["tlsCertificate"]["certificateChain"]["inlineBytes"]
    assert base64.b64decode(shown).startswith(b"-----BEGIN CERTIFICATE")


def test_a_certificate_is_named_by_its_kind_of_key() -> None:
    key = rsa.generate_private_key(65537, 2048)
    forms = (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL)
    for form in forms:
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        secret = {"type": "Secret", "mesh": "default", "name": "c", "data": base64.b64encode(pem).decode()}
        engine = Engine(view_of([secret]))
        assert engine.get(certificate_name, "default", Certificate(secret="c")) == "cert.rsa.c"


def tcp(directory: Path | None = None) -> list[dict[str, Any]]:
    passthrough = {"port": 444, "protocol": "TLS", "hostname": "b.test", "tls": {"mode": "PASSTHROUGH"}}
    rules = [{"default": REFS}]
    return documents({"port": 99, "protocol": "TCP"}, passthrough, routes=[route("MeshTCPRoute", rules)])


def test_tcp_and_tls_carry_bytes() -> None:
    found = config(tcp())[LISTENER]
    (chain,) = found["edge:TLS:444"]["filterChains"]
    assert chain["filterChainMatch"] == {"serverNames": ["b.test"], "transportProtocol": "tls"}
    assert chain["filters"][0]["typedConfig"]["cluster"] == cluster_name()
    assert "filterChainMatch" not in found["edge:TCP:99"]["filterChains"][0]


def test_tls_may_end_at_the_gateway(tmp_path: Path) -> None:
    found = https(tmp_path)
    found[2]["conf"]["listeners"][0]["protocol"] = "TLS"
    found[5] = route("MeshTCPRoute", [{"default": REFS}])
    served = config(found)
    (chain,) = served[LISTENER]["edge:TLS:443"]["filterChains"]
    (certificate,) = chain["transportSocket"]["typedConfig"]["commonTlsContext"][
        "tlsCertificateSdsSecretConfigs"
    ]
    assert certificate["name"] in served[SECRET]


def test_connections_are_limited_by_listener() -> None:
    listener = {"port": 80, "protocol": "HTTP", "resources": {"connectionLimit": 7}}
    found = config(documents(listener, routes=[route("MeshHTTPRoute", HTTP_RULES)]))
    layer = found[RUNTIME]["gateway.listeners"]["layer"]
    assert layer == {"envoy.resource_limits.listener.edge:HTTP:80.connection_limit": 7.0}


def of_gateway(kind: str, default: dict[str, Any]) -> dict[str, Any]:
    to = [{"targetRef": {"kind": "Mesh"}, "default": default}]
    spec = {"targetRef": {"kind": "MeshGateway", "name": "edge"}, "to": to}
    return {"type": kind, "mesh": "default", "name": "p", "spec": spec}


def manager(found: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = found[LISTENER]["edge:HTTP:80"]["filterChains"][0]["filters"][-1]["typedConfig"]
    return result


def policed(policy: dict[str, Any]) -> dict[str, Any]:
    routes = [route("MeshHTTPRoute", HTTP_RULES), policy]
    return config(documents({"port": 80, "protocol": "HTTP"}, routes=routes))


def test_requests_and_connections_of_a_gateway_are_limited() -> None:
    http = {"requestRate": {"num": 5, "interval": "1s"}}
    tcp = {"connectionRate": {"num": 9, "interval": "1s"}}
    found = policed(of_gateway("MeshRateLimit", {"local": {"http": http, "tcp": tcp}}))
    (routes,) = found[ROUTE].values()
    limits = [each.get("typedPerFilterConfig") for each in routes["virtualHosts"][0]["routes"]]
    limited = [
        each["envoy.filters.http.local_ratelimit"]["tokenBucket"]["maxTokens"] for each in limits if each
    ]
    assert limited == [5]
    filters = found[LISTENER]["edge:HTTP:80"]["filterChains"][0]["filters"]
    assert filters[0]["typedConfig"]["tokenBucket"]["maxTokens"] == 9


def test_faults_are_injected_at_a_gateway() -> None:
    fault = {"abort": {"httpStatus": 503, "percentage": 50}}
    found = policed(of_gateway("MeshFaultInjection", {"http": [fault]}))
    (injected,) = [f for f in manager(found)["httpFilters"] if f["name"] == "envoy.filters.http.fault"]
    assert injected["typedConfig"]["abort"]["httpStatus"] == 503
    assert "headers" not in injected["typedConfig"]


def test_a_gateway_logs_what_it_sends_into_the_mesh() -> None:
    text = {"type": "Plain", "plain": "%KUMA_SOURCE_SERVICE% to %KUMA_DESTINATION_SERVICE%"}
    backend = {"type": "File", "file": {"path": "/dev/stdout", "format": text}}
    (log,) = manager(policed(of_gateway("MeshAccessLog", {"backends": [backend]})))["accessLog"]
    assert log["typedConfig"]["logFormat"]["textFormatSource"]["inlineString"] == "edge to *\n"


def test_a_gateway_mirrors_requests() -> None:
    mirror = {"backendRef": REFS["backendRefs"][0], "percentage": 10}
    filters = [{"type": "RequestMirror", "requestMirror": mirror}]
    rules = [{"matches": HTTP_RULES[0]["matches"], "default": {**REFS, "filters": filters}}]
    found = config(documents({"port": 80, "protocol": "HTTP"}, routes=[route("MeshHTTPRoute", rules)]))
    (routes,) = found[ROUTE].values()
    (copy,) = routes["virtualHosts"][0]["routes"][0]["route"]["requestMirrorPolicies"]
    assert copy["cluster"] == cluster_name()


def test_a_gateway_that_no_meshgateway_selects_has_no_listeners() -> None:
    found = documents({"port": 80, "protocol": "HTTP"}, routes=[])
    found[2]["selectors"] = [{"match": {"kuma.io/service": "other"}}]
    assert LISTENER not in config(found)


@pytest.mark.parametrize(
    ("hostname", "pattern", "expected"),
    [
        ("a.test", "*", True),
        ("a.test", "a.test", True),
        ("x.a.test", "*.a.test", True),
        ("a.test", "*.a.test", False),
        ("b.test", "a.test", False),
    ],
)
def test_hosts_fit_listeners(hostname: str, pattern: str, expected: bool) -> None:
    assert fits(hostname, pattern) is expected


def test_https_shows_the_certificate_of_its_host(tmp_path: Path) -> None:
    found = config(https(tmp_path))
    (chain,) = found[LISTENER]["edge:HTTPS:443"]["filterChains"]
    assert chain["filterChainMatch"]["serverNames"] == ["a.test"]
    assert set(found[SECRET]) == {"cert.ecdsa.a-cert"}
    assert set(found[SECRET]["cert.ecdsa.a-cert"]["tlsCertificate"]) == {"certificateChain", "privateKey"}
    assert set(found[ROUTE]) == {"edge:HTTPS:443:a.test"}


@pytest.mark.envoy
@pytest.mark.parametrize("make", [https, tcp])
def test_envoy_accepts(make: Any, tmp_path: Path) -> None:
    validate(config(make(tmp_path)), tmp_path)


def at(target: dict[str, Any], kind: str, default: dict[str, Any], name: str) -> dict[str, Any]:
    to = [{"targetRef": {"kind": "Mesh"}, "default": default}]
    spec = {"targetRef": target, "to": to}
    return {"type": kind, "mesh": "default", "name": name, "spec": spec}


def listener_with(**tags: str) -> dict[str, Any]:
    return {"kind": "MeshGateway", "name": "edge", "tags": tags}


def request_timeout(text: str) -> dict[str, Any]:
    return {"http": {"requestTimeout": text}}


def timeouts(config: dict[str, Any]) -> dict[str, set[str]]:
    """Request timeouts by host, of all ports."""
    return {
        f"{name} {host['name']}": {each["route"]["timeout"] for each in host["routes"] if "route" in each}
        for name, routes in config[ROUTE].items()
        for host in routes["virtualHosts"]
    }


def test_policies_of_a_listener_are_for_its_routes_alone() -> None:
    listeners = [
        {"port": 80, "protocol": "HTTP", "hostname": "a.test", "tags": {"part": "a"}},
        {"port": 80, "protocol": "HTTP", "hostname": "b.test", "tags": {"part": "b"}},
        {"port": 81, "protocol": "HTTP", "tags": {"part": "c"}},
    ]
    policies = [
        at(listener_with(part=part), "MeshTimeout", request_timeout(text), part)
        for part, text in (("a", "1s"), ("b", "2s"), ("c", "3s"))
    ]
    found = config(documents(*listeners, routes=[route("MeshHTTPRoute", HTTP_RULES), *policies]))
    assert timeouts(found) == {
        "edge:HTTP:80:* a.test": {"1s"},
        "edge:HTTP:80:* b.test": {"2s"},
        "edge:HTTP:81:* *": {"3s"},
    }


def test_a_route_that_selects_a_listener_is_served_there_alone() -> None:
    listeners = [
        {"port": 80, "protocol": "HTTP", "tags": {"part": "a"}},
        {"port": 81, "protocol": "HTTP", "tags": {"part": "b"}},
        {"port": 90, "protocol": "TCP", "tags": {"part": "c"}},
        {"port": 91, "protocol": "TCP", "tags": {"part": "d"}},
    ]
    http, tcp = route("MeshHTTPRoute", HTTP_RULES), route("MeshTCPRoute", [{"default": REFS}], name="t")
    http["spec"]["targetRef"], tcp["spec"]["targetRef"] = listener_with(part="a"), listener_with(part="d")
    found = config(documents(*listeners, routes=[http, tcp]))
    assert {name for name, each in found[ROUTE].items() if "virtualHosts" in each} == {"edge:HTTP:80:*"}
    assert "edge:TCP:91" in found[LISTENER] and "edge:TCP:90" not in found[LISTENER]


def test_policies_of_a_listener_are_for_its_clusters_alone() -> None:
    listeners = [
        {"port": 80 + number, "protocol": "TCP", "tags": {"part": part}} for number, part in enumerate("ab")
    ]
    policies = [
        at(listener_with(part="a"), "MeshCircuitBreaker", {"connectionLimits": {"maxConnections": 7}}, "p")
    ]
    for part, service in (("a", "web"), ("b", "api")):
        ref = {"backendRefs": [{"kind": "MeshService", "name": service, "port": 80}]}
        found = route("MeshTCPRoute", [{"default": ref}], name=part)
        found["spec"]["targetRef"] = listener_with(part=part)
        policies.append(found)
    clusters = config([*documents(*listeners, routes=policies), mesh_service("api", 80)])[CLUSTER]
    limits = {
        name: each["circuitBreakers"]["thresholds"][0].get("maxConnections")
        for name, each in clusters.items()
    }
    assert limits[cluster_name()] == 7
    assert [limit for name, limit in limits.items() if name != cluster_name()] == [None]


@pytest.mark.parametrize(
    "target", [{"kind": "MeshHTTPRoute", "name": "r"}, {"kind": "MeshGateway", "name": "edge"}]
)
def test_policies_of_a_route_go_before_those_of_the_gateway(target: dict[str, Any]) -> None:
    routes = [
        route("MeshHTTPRoute", HTTP_RULES),
        at({"kind": "MeshGateway", "name": "edge"}, "MeshTimeout", request_timeout("9s"), "all"),
        at(target, "MeshTimeout", request_timeout("1s"), "a"),
        at(target, "MeshRetry", {"http": {"numRetries": 7}}, "retry"),
        at(
            target,
            "MeshRateLimit",
            {"local": {"http": {"requestRate": {"num": 5, "interval": "1s"}}}},
            "limit",
        ),
    ]
    found = config(documents({"port": 80, "protocol": "HTTP"}, routes=routes))
    assert timeouts(found) == {"edge:HTTP:80:* *": {"1s"}}
    (served,) = [
        each for each in found[ROUTE]["edge:HTTP:80:*"]["virtualHosts"][0]["routes"] if "route" in each
    ]
    assert served["route"]["retryPolicy"]["numRetries"] == 7
    assert (
        served["typedPerFilterConfig"]["envoy.filters.http.local_ratelimit"]["tokenBucket"]["maxTokens"] == 5
    )


def test_policies_of_another_route_are_not_for_this_one() -> None:
    other = [{"matches": [{"path": {"type": "Exact", "value": "/o"}}], "default": REFS}]
    routes = [
        route("MeshHTTPRoute", HTTP_RULES),
        route("MeshHTTPRoute", other, name="other"),
        at({"kind": "MeshHTTPRoute", "name": "other"}, "MeshTimeout", request_timeout("1s"), "p"),
    ]
    found = config(documents({"port": 80, "protocol": "HTTP"}, routes=routes))
    served = found[ROUTE]["edge:HTTP:80:*"]["virtualHosts"][0]["routes"]
    by_path = {each["match"].get("path"): each["route"].get("timeout") for each in served if "route" in each}
    assert by_path == {"/o": "1s", None: None}


def test_a_port_of_bytes_opens_with_its_route() -> None:
    found = config(documents({"port": 99, "protocol": "TCP"}, routes=[]))
    assert "edge:TCP:99" not in found.get(LISTENER, {})
