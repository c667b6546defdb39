"""Zone proxies, SPIFFE identities and external services: who lets what in and out of a zone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.envoy_check import validate
from tests.xds.config.worlds import (
    TRANSPARENT,
    dataplane,
    mesh,
    mesh_service,
    node,
    policy,
    rendered,
    view_of,
)
from xds.config.source import Source
from xds.types import CLUSTER, ENDPOINT, LISTENER, SECRET

ZONE = "z1"
DOMAIN = f"default.{ZONE}.mesh.local"
READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]}
EXTERNAL_KRI = f"kri_extsvc_default_{ZONE}__paypal_443"
SNI = f"sni.extsvc.default.{ZONE}.paypal.443"


def identity(ready: bool = True) -> dict[str, Any]:
    document = {"type": "MeshIdentity", "mesh": "default", "name": "identity"}
    spec = {"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled"}}
    return document | {"spec": spec, "status": READY if ready else {"conditions": []}}


def trust(domain: str = DOMAIN) -> dict[str, Any]:
    bundles = [{"type": "Pem", "pem": {"value": "-----BEGIN CERTIFICATE-----"}}]
    spec = {"trustDomain": domain, "caBundles": bundles}
    return {"type": "MeshTrust", "mesh": "default", "name": domain.replace(".", "-"), "spec": spec}


def zone_proxy(name: str, kind: str, port: int) -> dict[str, Any]:
    networking = {
        "address": "192.168.0.8",
        "listeners": [{"type": kind, "address": "192.168.0.8", "port": port, "name": name}],
    }
    labels = {"kuma.io/workload": name}
    return {"type": "Dataplane", "mesh": "default", "name": name, "labels": labels, "networking": networking}


def external(protocol: str = "http", **spec: Any) -> dict[str, Any]:
    match = {"type": "HostnameGenerator", "port": 443, "protocol": protocol}
    endpoints = [
        {"address": "paypal.test", "port": 443},
        {"address": "backup.test", "port": 443, "priority": 1},
    ]
    document = {"type": "MeshExternalService", "mesh": "default", "name": "paypal"}
    return document | {
        "spec": {"match": match, "endpoints": endpoints, **spec},
        "status": {"vip": {"ip": "242.0.0.1"}},
    }


def client(name: str = "web") -> dict[str, Any]:
    return dataplane(name, 8080, networking=TRANSPARENT) | {"labels": {"kuma.io/workload": name}}


def config(name: str, *documents: dict[str, Any]) -> dict[str, Any]:
    source = Source(view_of([mesh(), client(), *documents], ZONE), zone=ZONE)
    stream = source.connect(node(name), lambda deltas: None)
    assert not source.failures
    return rendered(stream.snapshot())


EGRESS = zone_proxy("egress", "ZoneEgress", 11002)
INGRESS = zone_proxy("ingress", "ZoneIngress", 11001)
IDENTITY = (identity(), trust())


# --- identities ----------------------------------------------------------------------------------


def test_an_identity_counts_once_it_is_ready() -> None:
    service = mesh_service("web", 8080, "tcp", vip="241.0.0.1")
    found = config("web", service, identity(ready=False), trust())
    assert SECRET not in found
    assert "transportSocket" not in found[CLUSTER][f"default_web__{ZONE}_msvc_8080"]


def test_clients_ask_for_the_ids_that_a_service_declares() -> None:
    ids = [{"type": "SpiffeID", "value": f"spiffe://{DOMAIN}/workload/web"}]
    service = mesh_service("web", 8080, "tcp", vip="241.0.0.1", identities=ids)
    found = config("web", service, *IDENTITY)
    context = found[CLUSTER][f"default_web__{ZONE}_msvc_8080"]["transportSocket"]["typedConfig"]
    assert context["sni"] == f"sni.msvc.default.{ZONE}.web.8080"
    names = context["commonTlsContext"]["combinedValidationContext"]["defaultValidationContext"]
    assert [m["matcher"]["exact"] for m in names["matchTypedSubjectAltNames"]] == [ids[0]["value"]]


def test_every_trusted_domain_gets_in() -> None:
    found = config("web", *IDENTITY, trust("default.z2.mesh.local"))
    chain = found[LISTENER]["inbound:192.168.0.1:8080"]["filterChains"][0]
    names = chain["transportSocket"]["typedConfig"]["commonTlsContext"]["combinedValidationContext"]
    prefixes = [
        m["matcher"]["prefix"] for m in names["defaultValidationContext"]["matchTypedSubjectAltNames"]
    ]
    assert prefixes == [f"spiffe://{DOMAIN}/", "spiffe://default.z2.mesh.local/"]
    bundle = found[SECRET]["system_trust_bundle"]["validationContext"]["customValidatorConfig"]
    domains = [d["name"] for d in bundle["typedConfig"]["trustDomains"]]
    assert domains == [DOMAIN, "default.z2.mesh.local"]


# --- ingress -------------------------------------------------------------------------------------


def test_an_ingress_passes_bytes_by_server_name_to_its_own_zone() -> None:
    elsewhere = mesh_service("far", 80) | {"labels": {"kuma.io/origin": "global", "kuma.io/zone": "z2"}}
    found = config("ingress", INGRESS, mesh_service("web", 8080), elsewhere)
    listener = found[LISTENER]["self_zoneingress_dp_ingress"]
    (chain,) = listener["filterChains"]
    assert chain["filterChainMatch"]["serverNames"] == [f"sni.msvc.default.{ZONE}.web.8080"]
    assert "transportSocket" not in chain
    assert set(found[ENDPOINT]) == {f"kri_msvc_default_{ZONE}__web_8080"}


def test_a_listener_without_destinations_says_who_it_is() -> None:
    (chain,) = config("ingress", INGRESS)[LISTENER]["self_zoneingress_dp_ingress"]["filterChains"]
    text = chain["filters"][0]["typedConfig"]["response"]["inlineString"]
    assert text == f'{{"proxy":"ingress","zone":"{ZONE}"}}'


# --- egress --------------------------------------------------------------------------------------


def test_an_egress_lets_out_whom_permissions_allow() -> None:
    allowed = [{"spiffeID": {"type": "Prefix", "value": f"spiffe://{DOMAIN}/"}}]
    permission = policy("MeshTrafficPermission", "p", rules=[{"default": {"allow": allowed}}])
    found = config("egress", EGRESS, external(), permission, *IDENTITY)
    (chain,) = found[LISTENER]["self_zoneegress_dp_egress"]["filterChains"]
    assert chain["filterChainMatch"]["serverNames"] == [SNI]
    guard = chain["filters"][0]["typedConfig"]["httpFilters"][0]["typedConfig"]["matcher"]
    assert len(guard["matcherList"]["matchers"]) == 1
    cluster = found[CLUSTER][EXTERNAL_KRI]
    assert cluster["type"] == "STRICT_DNS"
    assert [part["priority"] for part in cluster["loadAssignment"]["endpoints"]] == [1, 2]


def test_a_sidecar_reaches_external_services_at_the_egress() -> None:
    found = config("web", EGRESS, external(), *IDENTITY)
    name = f"default_paypal__{ZONE}_extsvc_443"
    endpoint = found[ENDPOINT][name]["endpoints"][0]["lbEndpoints"][0]["endpoint"]
    assert endpoint["address"]["socketAddress"] == {"address": "192.168.0.8", "portValue": 11002}
    context = found[CLUSTER][name]["transportSocket"]["typedConfig"]
    assert context["sni"] == SNI
    names = context["commonTlsContext"]["combinedValidationContext"]["defaultValidationContext"]
    ids = [m["matcher"]["exact"] for m in names["matchTypedSubjectAltNames"]]
    assert ids == [f"spiffe://{DOMAIN}/workload/egress"]


def test_without_identities_the_sidecar_goes_out_itself() -> None:
    found = config("web", external())
    cluster = found[CLUSTER][f"default_paypal__{ZONE}_extsvc_443"]
    assert cluster["type"] == "STRICT_DNS"
    routes = found[LISTENER]["outbound:242.0.0.1:443"]["filterChains"][0]["filters"][0]["typedConfig"]
    action = routes["routeConfig"]["virtualHosts"][0]["routes"][0]["route"]
    assert action["autoHostRewrite"] is True


# --- TLS of the outside world --------------------------------------------------------------------


def outside(**tls: Any) -> dict[str, Any]:
    found = config("web", external(tls={"enabled": True, **tls}))
    socket: dict[str, Any] = found[CLUSTER][f"default_paypal__{ZONE}_extsvc_443"]["transportSocket"]
    context: dict[str, Any] = socket["typedConfig"]
    return context


def test_tls_checks_the_server_by_default() -> None:
    context = outside()
    assert context["sni"] == "paypal.test"
    validation = context["commonTlsContext"]["validationContext"]
    assert validation["trustedCa"] == {"filename": "/etc/ssl/certs/ca-certificates.crt"}
    assert validation["matchTypedSubjectAltNames"][0] == {
        "sanType": "DNS",
        "matcher": {"exact": "paypal.test"},
    }


@pytest.mark.parametrize(
    ("mode", "left"),
    [("SkipSAN", {"trustedCa"}), ("SkipCA", set()), ("SkipAll", set())],
)
def test_checks_can_be_left_out(mode: str, left: set[str]) -> None:
    context = outside(verification={"mode": mode})["commonTlsContext"]
    assert set(context.get("validationContext", {})) == left


def test_who_is_not_checked_may_check_us() -> None:
    own = {"clientCert": {"inlineString": "CERT"}, "clientKey": {"inlineString": "KEY"}}
    context = outside(verification={"mode": "SkipAll", **own})["commonTlsContext"]
    (certificate,) = context["tlsCertificates"]
    assert certificate["privateKey"] == {"inlineString": "KEY"}


def test_names_versions_and_our_certificate() -> None:
    verification = {
        "serverName": "other.test",
        "subjectAltNames": [{"type": "Prefix", "value": "spiffe://pay/"}],
        "caCert": {"inlineString": "CA"},
        "clientCert": {"inline": "Q0VSVA=="},
        "clientKey": {"secret": "missing"},
    }
    context = outside(verification=verification, version={"min": "TLS12", "max": "TLS13"})
    assert context["sni"] == "other.test"
    common = context["commonTlsContext"]
    assert common["validationContext"]["trustedCa"] == {"inlineString": "CA"}
    assert {"sanType": "URI", "matcher": {"prefix": "spiffe://pay/"}} in common["validationContext"][
        "matchTypedSubjectAltNames"
    ]
    assert common["tlsCertificates"][0]["certificateChain"] == {"inlineBytes": "Q0VSVA=="}
    assert common["tlsParams"]["tlsMinimumProtocolVersion"] == "TLSv1_2"


@pytest.mark.envoy
@pytest.mark.parametrize("name", ["ingress", "egress", "web"])
def test_envoy_accepts(name: str, tmp_path: Path) -> None:
    documents = [EGRESS, INGRESS, external(), mesh_service("web", 8080, vip="241.0.0.1"), *IDENTITY]
    validate(config(name, *documents), tmp_path)
