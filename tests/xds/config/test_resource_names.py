"""Every resource of a sidecar that has everything, by its name of old and in the unified scheme.

The two lists are those of the public description of Kuma 2.14, line by line.
"""

from __future__ import annotations

from typing import Any

from tests.xds.config.policies.sidecar import to
from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service, node, policy, view_of
from tests.xds.config.worlds import rendered as rendered_of
from xds.config.identity import NoIdentities
from xds.config.source import Source
from xds.types import CLUSTER, LISTENER

Json = dict[str, Any]
FEATURES = ["feature-strict-inbound-ports", "feature-embedded-dns"]
OTEL = {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel:4317"}}
PROMETHEUS = {"type": "Prometheus", "prometheus": {"port": 5670, "path": "/metrics", "clientId": "main"}}
EXTERNAL = {
    "type": "MeshExternalService",
    "mesh": "default",
    "name": "paypal",
    "spec": {"match": {"port": 443}, "endpoints": [{"address": "1.2.3.4", "port": 443}]},
    "status": {"vip": {"ip": "242.0.0.1"}},
}
EVERYWHERE = {
    "type": "MeshMultiZoneService",
    "mesh": "default",
    "name": "all",
    "labels": {"kuma.io/origin": "global", "kuma.io/display-name": "all", "kuma.io/zone": ""},
    "spec": {"selector": {"meshService": {"matchLabels": {"app": "api"}}}, "ports": [{"port": 80}]},
    "status": {"vips": [{"ip": "243.0.0.1"}]},
}


def names(*features: str) -> tuple[set[str], set[str]]:
    """(listeners, clusters) of the sidecar."""
    networking: Json = {
        "transparentProxying": TRANSPARENT["transparentProxying"] | {"directAccessServices": ["far"]},
        "outbound": [{"port": 10001, "tags": {"kuma.io/service": "old", "version": "v1"}}],
    }
    client = dataplane("web", 8080, service_port=80, networking=networking)
    client["networking"]["inbound"][0]["name"] = "main"
    documents = [
        mesh(mtls=MTLS, meshServices={"mode": "Exclusive"}),
        client,
        dataplane("far", 9000, address="10.0.0.9"),
        mesh_service("api", 80, vip="241.0.0.1", ports=[{"port": 80, "name": "http", "targetPort": 80}]),
        EXTERNAL,
        EVERYWHERE,
        policy("MeshMetric", "m", default={"backends": [PROMETHEUS, OTEL]}),
        policy("MeshTrace", "t", default={"backends": [OTEL]}),
        to("MeshAccessLog", {"backends": [OTEL]}),
    ]
    source = Source(view_of(documents, "z"), zone="z", identities=NoIdentities())
    admin = {"dataplane.admin.port": "9901", "dataplane.readinessReporter.port": "9902"}
    stream = source.connect(node("web", features=[*FEATURES, *features], **admin), lambda deltas: None)
    found = rendered_of(stream.snapshot())
    assert not source.failures
    return set(found[LISTENER]), set(found[CLUSTER])


BOTH = {"direct_access_10.0.0.9:9000"}
NOWHERE = "self_transparentproxy_no_destination_inbound"


def test_names_of_old() -> None:
    listeners, clusters = names()
    passthrough = {f"{way}:passthrough:ipv{n}" for way in ("inbound", "outbound") for n in (4, 6)}
    assert listeners == BOTH | passthrough | {
        "inbound:192.168.0.1:8080",
        "outbound:127.0.0.1:10001",
        "outbound:241.0.0.1:80",
        "outbound:242.0.0.1:443",
        "outbound:243.0.0.1:80",
        "kuma:envoy:admin",
        "_kuma:dynamicconfig",
        "_kuma:metrics:prometheus:main",
        "_kuma:metrics:opentelemetry:otel-4317",
    }
    (split,) = (name for name in clusters if name.startswith("old-"))
    assert len(split) == len("old-") + 16
    assert clusters - {split} == passthrough | {
        "localhost:80",
        "default_api__z_msvc_80",
        "default_paypal__z_extsvc_443",
        "default_all___mzsvc_80",
        "direct_access",
        NOWHERE,
        "kuma:envoy:admin",
        "kuma:readiness",
        "_kuma:metrics:prometheus:main",
        "_kuma:metrics:opentelemetry:otel-4317",
        "meshtrace:opentelemetry",
        "meshaccesslog:opentelemetry:0",
    }


def test_unified_names() -> None:
    listeners, clusters = names("feature-unified-resource-naming")
    passthrough = {
        f"self_transparentproxy_passthrough_{way}_ipv{n}" for way in ("inbound", "outbound") for n in (4, 6)
    }
    destinations = {
        "kri_msvc_default_z__api_http",
        "kri_extsvc_default_z__paypal_443",
        "kri_mzsvc_default___all_80",
    }
    metrics = {"system_meshmetric_prometheus_main", "system_meshmetric_otel_otel-4317"}
    assert listeners == BOTH | passthrough | destinations | metrics | {
        "self_inbound_dp_main",
        "outbound:127.0.0.1:10001",
        "system_envoy_admin",
        "system_dynamicconfig",
    }
    assert {
        name for name in clusters if not name.startswith("old-")
    } == passthrough | destinations | metrics | {
        "self_inbound_dp_main",
        "direct_access",
        NOWHERE,
        "system_envoy_admin",
        "system_probe_readiness",
        "system_meshtrace_otel_otel-4317",
        "system_meshaccesslog_otel_otel-4317",
    }
