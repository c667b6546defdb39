"""The `xds` conformance suite, in process: what Kuma 2.14 sends to a sidecar, resource by resource.

The cases are data of the Kuma project, found through RAFTMESH_CONFORMANCE. Normalised is only what the
description of the suite names: addresses, statistics prefixes, and the operations of a diff.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh_service, node, view_of
from xds.config.diff import diff
from xds.config.identity import Identity, IdentityHandle, authority_secret, certificate_secret
from xds.config.source import Source
from xds.types import Encoded

ROOT = Path(__file__).resolve().parents[3]
CASES = Path(os.environ.get("RAFTMESH_CONFORMANCE", ROOT / "../shared/conformance/cases")).resolve() / "xds"
MESH, ZONE_MESH, ZONE = "envoyconfig", "envoyconfig-zoneproxies", "kuma-3"
GATEWAY_MESH = "envoyconfig-builtingateway"
FLOOR = 59

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no conformance cases at {CASES}")

FEATURES = [
    "feature-tcp-accesslog-via-named-pipe",
    "feature-otel-via-kuma-dp",
    "feature-strict-inbound-ports",
    "feature-reuse-port",
    "feature-embedded-dns",
    "feature-transparent-proxy-in-dataplane-metadata",
]
METADATA = {
    "features": FEATURES,
    "ipv6Enabled": False,
    "workdir": "/tmp",
    "dataplane.admin.address": "127.0.0.1",
    "dataplane.admin.port": "9901",
    "dataplane.readinessReporter.port": "9902",
}


def pem(label: str) -> bytes:
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n".encode()


ADMIN_CA = {
    "type": "GlobalSecret",
    "name": "envoy-admin-ca",
    "data": base64.b64encode((pem("CERTIFICATE") + pem("PRIVATE KEY")) * 2).decode(),
}


class FixedSecrets:
    """Secrets under the names that the plan asks for; their contents are hidden in what is compared."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def secrets(self) -> dict[str, Encoded]:
        own, ca = self._identity.identity_secret, self._identity.ca_secret
        found = {own: certificate_secret(own, b"chain", b"key")}
        return found | ({ca: authority_secret(ca, b"roots")} if ca else {})

    def close(self) -> None:
        return None


class FixedIdentities:
    def open(self, identity: Identity, on_change: Any) -> IdentityHandle:
        return FixedSecrets(identity)


def zone_proxy(name: str, kind: str, port: int, address: str) -> dict[str, Any]:
    listener = {"type": kind, "address": address, "port": port, "name": name}
    document = {"type": "Dataplane", "mesh": ZONE_MESH, "name": name, "labels": {"kuma.io/workload": name}}
    return document | {"networking": {"address": address, "listeners": [listener]}}


def zone_proxies() -> list[dict[str, Any]]:
    domain = f"{ZONE_MESH}.{ZONE}.mesh.local"
    server_tags = {"kuma.io/protocol": "http", "version": "v1", "instance": "1", "team": "server-owners"}
    servers = ["zone-proxy-test-server", "zone-proxy-test-server-no-reusable-ports"]
    ready = [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]
    ca = {"type": "Pem", "pem": {"value": "CA"}}
    external = {
        "type": "MeshExternalService",
        "mesh": ZONE_MESH,
        "name": "mes-zone-proxy",
        "labels": {"kuma.io/access": "external", "kuma.io/display-name": "mes-zone-proxy"},
        "spec": {
            "match": {"type": "HostnameGenerator", "port": 80, "protocol": "http"},
            "endpoints": [{"address": "192.168.1.1", "port": 80}],
        },
        "status": {"vip": {"ip": "242.0.0.1"}},
    }
    documents: list[dict[str, Any]] = [
        {"type": "Mesh", "name": ZONE_MESH, "meshServices": {"mode": "Exclusive"}},
        {
            "type": "MeshIdentity",
            "mesh": ZONE_MESH,
            "name": "identity",
            "spec": {"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled"}},
            "status": {"conditions": ready},
        },
        {
            "type": "MeshTrust",
            "mesh": ZONE_MESH,
            "name": "identity",
            "spec": {"trustDomain": domain, "caBundles": [ca]},
        },
        external,
        zone_proxy("zone-proxy-ingress", "ZoneIngress", 11001, "192.168.0.11"),
        zone_proxy("zone-proxy-egress", "ZoneEgress", 11002, "192.168.0.12"),
        dataplane(
            "zone-proxy-demo-client",
            3000,
            mesh=ZONE_MESH,
            tags={"team": "client-owners"},
            networking=TRANSPARENT,
        ),
        *(
            dataplane(
                name,
                80,
                mesh=ZONE_MESH,
                service_port=8080,
                tags=server_tags,
                address=f"192.168.0.{n + 2}",
                networking=TRANSPARENT,
            )
            for n, name in enumerate(servers)
        ),
    ]
    for document in documents:
        if document["type"] == "Dataplane":
            document.setdefault("labels", {"kuma.io/workload": document["name"]})
    for n, (name, port, protocol) in enumerate(
        [("zone-proxy-demo-client", 3000, "tcp"), *((server, 80, "http") for server in servers)]
    ):
        identities = [
            {"type": "SpiffeID", "value": f"spiffe://{domain}/workload/{name}"},
            {"type": "ServiceTag", "value": name},
        ]
        vip = f"241.0.0.{n + 1}"
        documents.append(mesh_service(name, port, protocol, mesh=ZONE_MESH, vip=vip, identities=identities))
    return documents


def gateway() -> list[dict[str, Any]]:
    server_tags = {"kuma.io/protocol": "http", "version": "v1", "instance": "1", "team": "server-owners"}
    networking = {
        "address": "192.168.0.1",
        "gateway": {"type": "BUILTIN", "tags": {"kuma.io/service": "gateway-proxy"}},
    }
    listeners = [{"port": 8080, "protocol": "HTTP"}]
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "default": {"backendRefs": [{"kind": "MeshService", "name": "echo-service", "port": 80}]},
    }
    to = [{"targetRef": {"kind": "Mesh"}, "hostnames": ["example.kuma.io"], "rules": [rule]}]
    target = {"kind": "MeshGateway", "name": "gateway-proxy"}
    return [
        {"type": "Mesh", "name": GATEWAY_MESH, "mtls": MTLS, "meshServices": {"mode": "Exclusive"}},
        {"type": "Dataplane", "mesh": GATEWAY_MESH, "name": "gateway-proxy", "networking": networking},
        {
            "type": "MeshGateway",
            "mesh": GATEWAY_MESH,
            "name": "gateway-proxy",
            "selectors": [{"match": {"kuma.io/service": "gateway-proxy"}}],
            "conf": {"listeners": listeners},
        },
        {
            "type": "MeshHTTPRoute",
            "mesh": GATEWAY_MESH,
            "name": "route",
            "spec": {"targetRef": target, "to": to},
        },
        dataplane("echo-service", 80, mesh=GATEWAY_MESH, tags=server_tags, networking=TRANSPARENT),
        mesh_service("echo-service", 80, "http", mesh=GATEWAY_MESH, vip="241.0.0.1"),
    ]


def base() -> list[dict[str, Any]]:
    allow = {"type": "MeshTrafficPermission", "mesh": MESH, "name": "allow-all-envoyconfig"}
    allow["spec"] = {"from": [{"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}]}  # type: ignore[assignment]
    server_tags = {"kuma.io/protocol": "http", "version": "v1", "instance": "1", "team": "server-owners"}
    return [
        {
            "type": "Mesh",
            "name": MESH,
            "mtls": MTLS,
            "meshServices": {"mode": "Exclusive"},
            "skipCreatingInitialPolicies": ["*"],
        },
        allow,
        dataplane("demo-client", 3000, mesh=MESH, tags={"team": "client-owners"}, networking=TRANSPARENT),
        dataplane(
            "test-server",
            80,
            mesh=MESH,
            service_port=8080,
            tags=server_tags,
            address="192.168.0.2",
            networking=TRANSPARENT,
        ),
        mesh_service("demo-client", 3000, "tcp", mesh=MESH, vip="241.0.0.1"),
        mesh_service("test-server", 80, "http", mesh=MESH, vip="241.0.0.2"),
    ]


def configs(documents: list[dict[str, Any]], name: str) -> tuple[Any, Any]:
    """What a proxy has, and what it would have with shadow policies; both normalised."""
    source = Source(view_of(documents, ZONE), identities=FixedIdentities(), zone=ZONE)
    metadata = dict(METADATA)
    if name.endswith("no-reusable-ports"):
        metadata["features"] = [feature for feature in FEATURES if feature != "feature-reuse-port"]
    mesh = documents[0]["name"]
    source.connect(node(name, mesh=mesh, **metadata), lambda deltas: None)
    assert not source.failures
    return source.config(mesh, name), source.config(mesh, name, shadow=True)


# --- normalisation -------------------------------------------------------------------------------

_IP = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")


def normalised(value: Any) -> Any:
    result = json.loads(_IP.sub("IP_REDACTED", json.dumps(_plain(value), sort_keys=True)))
    for resources in result.values():
        for name in [name for name in resources if "dynamicconfig" in name]:
            del resources[name]
        for name in ("kuma:envoy:admin", "kuma:readiness"):
            if name in resources:
                _redact_admin(resources[name])
    return {key: resources for key, resources in result.items() if resources}


def normalised_diff(real: Any, shadow: Any) -> Any:
    operations = diff(_plain(real), _plain(shadow))
    kept = [found for found in operations if not found["path"].endswith("/maxDirectResponseBodySizeBytes")]
    redacted = json.loads(_IP.sub("IP_REDACTED", json.dumps(kept)))
    return sorted(redacted, key=lambda found: (found["path"], found["op"] == "add"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        found = {key: _plain(item) for key, item in value.items() if key != "dnsLookupFamily"}
        if "trustBundle" in found:
            found["trustBundle"] = {"inlineBytes": "CERT_REDACTED"}
        if "statPrefix" in found:
            found["statPrefix"] = "STAT_PREFIX_REDACTED"
        if isinstance(found.get("address"), str) and ":" in found["address"]:
            found["address"] = "IP_REDACTED"
        return found
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _redact_admin(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "address" and isinstance(item, dict):
                value[key] = {"socketAddress": {"address": "ADMIN_REDACTED", "portValue": 0}}
            else:
                _redact_admin(item)
    elif isinstance(value, list):
        for item in value:
            _redact_admin(item)


# --- cases ---------------------------------------------------------------------------------------


def cases() -> Iterator[tuple[Path, str, Path]]:
    """(input, dataplane, golden) of each case."""
    for found in sorted(CASES.rglob("*.input.yaml")):
        stem = found.name.removesuffix(".input.yaml")
        for golden in sorted(found.parent.glob(f"{stem}.*.golden.json")):
            yield found, golden.name.removeprefix(f"{stem}.").removesuffix(".golden.json"), golden


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in sorted({*expected, *actual}):
            if key not in actual:
                yield f"- {path}/{key} {json.dumps(expected[key])[:200]}"
            elif key not in expected:
                yield f"+ {path}/{key} {json.dumps(actual[key])[:200]}"
            else:
                yield from differences(expected[key], actual[key], f"{path}/{key}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(one, other, f"{path}/{index}")
    elif expected != actual:
        yield f"! {path} {json.dumps(expected)[:200]} got {json.dumps(actual)[:200]}"


def check(found: Path, name: str, golden: Path) -> list[str]:
    """What is wrong with one case; [] when it passes."""
    expected = json.loads(golden.read_text())
    worlds = {"builtingateway": gateway, "sidecars": base, "zoneproxies": zone_proxies}
    resources = worlds[found.relative_to(CASES).parts[0]]()
    documents = [*resources, ADMIN_CA, *(doc for doc in yaml.safe_load_all(found.read_text()) if doc)]
    real, shadow = configs(documents, name)
    if shadow is None:
        return ["the proxy gets no configuration"]
    wrong = list(differences(expected["xds"], normalised(shadow)))
    for ours, theirs in zip_longest(normalised_diff(real, shadow), expected["diff"]):
        if ours != theirs:
            wrong.append(f"diff: {json.dumps(theirs)[:200]} got {json.dumps(ours)[:200]}")
    return wrong


def test_conformance() -> None:
    verbose = os.environ.get("RAFTMESH_CONFORMANCE_VERBOSE", "")
    passed = total = 0
    for found, name, golden in cases():
        total += 1
        wrong = check(found, name, golden)
        passed += not wrong
        if verbose and verbose in str(golden):
            print(f"{'FAIL' if wrong else 'pass'} {golden.relative_to(CASES)}")
            for line in wrong[:12]:
                print("    ", line)
    print(f"xds: passed {passed} of {total}")
    assert passed >= FLOOR
