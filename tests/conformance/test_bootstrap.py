"""The bootstrap goldens: `POST /bootstrap` must answer the same YAML.

The cases have answers only. The request, the settings and the stored Dataplane of each are read
back from the golden: what a client chose (names, ports, versions, features, token, paths) is
taken from where the answer repeats it; everything else the server must produce by itself.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cp.bootstrap import Bootstrap, Settings
from mesh.codec import decode
from mesh.resource import Resource
from tests.conformance.policy_cases import CASES, suite_folder

SUITE = "bootstrap"


def clusters(golden: dict[str, Any]) -> dict[str, Any]:
    return {cluster["name"]: cluster for cluster in golden["staticResources"]["clusters"]}


def ads(golden: dict[str, Any]) -> tuple[str, int]:
    """Host and port of the control plane."""
    google = golden["dynamicResources"]["adsConfig"]["grpcServices"][0].get("googleGrpc")
    if google:
        host, _, port = google["targetUri"].rpartition(":")
        return host.strip("[]"), int(port)
    found = clusters(golden)
    cluster = found.get("ads_cluster") or found["system_ads"]
    address = cluster["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["address"]
    return address["socketAddress"]["address"], address["socketAddress"]["portValue"]


def ca(golden: dict[str, Any]) -> bytes:
    """The certificate of the control plane; the cases write it without its line breaks."""
    secret = golden["staticResources"]["secrets"][0]["validationContext"]
    return base64.b64decode(secret["trustedCa"]["inlineBytes"])


def monitors(golden: dict[str, Any]) -> dict[str, Any]:
    found = golden.get("overloadManager", {}).get("resourceMonitors", [])
    return {monitor["name"].rpartition(".")[2]: monitor["typedConfig"] for monitor in found}


def settings(golden: dict[str, Any], certificate: bytes) -> Settings:
    host, port = ads(golden)
    service = golden["dynamicResources"]["adsConfig"]["grpcServices"][0]
    connections = monitors(golden).get("global_downstream_max_connections", {})
    admin = golden.get("admin", {})
    return Settings(
        cert_pem=certificate,
        listen_port=port,
        xds_host=host,
        connect_timeout=golden["staticResources"]["clusters"][0]["connectTimeout"],
        admin_port=0,
        admin_address=admin["address"]["socketAddress"]["address"] if admin else "127.0.0.1",
        admin_access_log=admin["accessLog"][0]["typedConfig"]["path"] if admin else "/dev/null",
        hds="hdsConfig" in golden,
        dp_token_required="initialMetadata" in service or "googleGrpc" in service,
        reloadable_tokens="googleGrpc" in service,
        gateway_connections_max=int(connections.get("maxActiveDownstreamConnections", 50_000)),
    )


def token(golden: dict[str, Any]) -> dict[str, str]:
    service = golden["dynamicResources"]["adsConfig"]["grpcServices"][0]
    if "googleGrpc" in service:
        plugin = service["googleGrpc"]["callCredentials"][0]["fromPlugin"]
        return {"dataplaneTokenPath": plugin["typedConfig"]["secretData"]["filename"]}
    return {"dataplaneToken": service["initialMetadata"][0]["value"]} if "initialMetadata" in service else {}


def request(golden: dict[str, Any]) -> dict[str, Any]:
    metadata = golden["node"]["metadata"]
    mesh, _, name = golden["node"]["id"].partition(".")
    readiness = int(metadata.get("dataplane.readinessReporter.port", 0))
    return {
        "mesh": mesh,
        "name": name,
        "proxyType": metadata["dataplane.proxyType"],
        **token(golden),
        "host": ads(golden)[0],
        "version": metadata["version"],
        "dynamicMetadata": metadata.get("dynamicMetadata"),
        "dnsPort": int(metadata.get("dataplane.dns.port", 0)),
        "readinessPort": readiness,
        "appProbeProxyDisabled": metadata.get("dataplane.appProbeProxy.enabled") != "true",
        "features": metadata["features"],
        "resources": {
            "maxHeapSizeBytes": int(monitors(golden).get("fixed_heap", {}).get("maxHeapSizeBytes", 0))
        },
        "workdir": metadata["workdir"],
        "metricsResources": {"certPath": metadata["metricsCertPath"], "keyPath": metadata["metricsKeyPath"]},
        "systemCaPath": metadata["systemCaPath"],
        "ipv6Enabled": metadata["ipv6Enabled"],
        "spireSocketPath": metadata["spireAgent.socketPath"],
        "dataplaneResource": metadata.get("dataplane.resource"),
        "transparentProxy": metadata.get("transparentProxy"),
    }


def stored(golden: dict[str, Any]) -> Resource:
    """The Dataplane in the store: gateway if the answer is a gateway's."""
    mesh, _, name = golden["node"]["id"].partition(".")
    tags = {"kuma.io/service": golden["node"]["cluster"]}
    networking: dict[str, Any] = {"address": "127.0.0.1"}
    if len(golden["layeredRuntime"]["layers"]) > 1:
        networking["gateway"] = {"type": "BUILTIN", "tags": tags}
    else:
        networking["inbound"] = [{"port": 22022, "servicePort": 8443, "tags": tags}]
    port = golden.get("admin", {}).get("address", {}).get("socketAddress", {}).get("portValue")
    if port:
        networking["admin"] = {"port": port}
    return decode({"type": "Dataplane", "mesh": mesh, "name": name, "networking": networking})


async def answer(golden: dict[str, Any], certificate: bytes) -> Any:
    dataplane = stored(golden)
    found = {dataplane.key: dataplane}
    bootstrap = Bootstrap(settings(golden, certificate), lambda *key: found.get(key))  # type: ignore[call-overload]
    app = web.Application()
    app.add_routes(bootstrap.routes())
    async with (
        TestClient(TestServer(app)) as client,
        client.post("/bootstrap", json=request(golden)) as response,
    ):
        text = await response.text()
        assert response.status == 200, text
        return yaml.safe_load(text)


def cases() -> list[Path]:
    return sorted((CASES / SUITE).glob("*.golden.yaml"))


async def test_every_bootstrap_equals_its_golden(capsys: pytest.CaptureFixture[str]) -> None:
    suite_folder(SUITE)
    failed = []
    for path in cases():
        golden = yaml.safe_load(path.read_text())
        given = ca(golden)
        if await answer(golden, given) != golden:
            failed.append(path.name)
    with capsys.disabled():
        print(f"\n{SUITE}: passed {len(cases()) - len(failed)} of {len(cases())}")
    assert not failed
