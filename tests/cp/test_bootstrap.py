"""What `POST /bootstrap` answers, beyond the goldens: errors, fail-over, and our own runner."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cp.bootstrap import NOT_A_CA, TOKEN_REQUIRED, Bootstrap, Settings
from cp.bootstrap_config import Admin, Parameters, build, socket_path
from mesh.codec import decode
from mesh.resource import Resource
from tests.certificates import make_certificate
from xds import proto

DATAPLANE = {
    "type": "Dataplane",
    "mesh": "default",
    "name": "web-1",
    "networking": {
        "address": "10.0.0.7",
        "inbound": [{"port": 8080, "servicePort": 80, "tags": {"kuma.io/service": "web"}}],
    },
}
REQUEST = {
    "mesh": "default",
    "name": "web-1",
    "dataplaneToken": "token",
    "host": "localhost",
    "workdir": "/tmp/web-1",
    "dataplaneResource": json.dumps(DATAPLANE),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Path(make_certificate(tmp_path_factory.mktemp("cp")).cert_path).read_bytes()


@asynccontextmanager
async def serving(settings: Settings, *stored: Resource) -> AsyncIterator[TestClient[Any, Any]]:
    known = {(resource.kind, resource.mesh, resource.name): resource for resource in stored}
    app = web.Application()
    app.add_routes(Bootstrap(settings, lambda kind, mesh, name: known.get((kind, mesh, name))).routes())
    async with TestClient(TestServer(app)) as client:
        yield client


async def ask(settings: Settings, *stored: Resource, **changes: Any) -> tuple[int, str]:
    async with (
        serving(settings, *stored) as client,
        client.post("/bootstrap", json=REQUEST | changes) as response,
    ):
        return response.status, await response.text()


async def config(settings: Settings, *stored: Resource, **changes: Any) -> dict[str, Any]:
    status, text = await ask(settings, *stored, **changes)
    assert status == 200, text
    answer: dict[str, Any] = yaml.safe_load(text)
    return answer


@pytest.fixture
def settings(certificate: bytes) -> Settings:
    return Settings(cert_pem=certificate, listen_port=5678)


def endpoints(answer: dict[str, Any]) -> list[tuple[str, int]]:
    (ads,) = (c for c in answer["staticResources"]["clusters"] if c["name"] == "ads_cluster")
    entries = ads["loadAssignment"]["endpoints"][0]["lbEndpoints"]
    addresses = [entry["endpoint"]["address"]["socketAddress"] for entry in entries]
    return [(address["address"], address["portValue"]) for address in addresses]


async def test_json_carries_the_yaml_and_the_settings_of_the_runner(settings: Settings) -> None:
    async with serving(settings) as client:
        headers = {"Accept": "application/json"}
        async with client.post("/bootstrap", json=REQUEST, headers=headers) as response:
            answer = await response.json()
    assert answer["kumaSidecarConfiguration"]["networking"] == {
        "isUsingTransparentProxy": False,
        "address": "10.0.0.7",
    }
    assert yaml.safe_load(base64.b64decode(answer["bootstrap"])) == await config(settings)


async def test_versions_are_told_as_they_came(settings: Settings) -> None:
    version = {
        "kumaDp": {"version": "2.14.3"},
        "envoy": {"version": "1.36.0"},
        "dependencies": {"coredns": "1.12"},
    }
    answer = await config(settings, version=version)
    assert answer["node"]["metadata"]["version"] == version


@pytest.mark.parametrize("by", ["dataplane", "runner"])
async def test_the_runner_is_told_that_traffic_is_redirected(settings: Settings, by: str) -> None:
    redirect = {"redirectPortInbound": 15006, "redirectPortOutbound": 15001}
    networking = DATAPLANE["networking"] | {"transparentProxying": redirect}  # type: ignore[operator]
    told = {"redirect": {"outbound": {"enabled": True, "port": 15001}}}
    changes = {
        "dataplane": {"dataplaneResource": json.dumps(DATAPLANE | {"networking": networking})},
        "runner": {"transparentProxy": told},
    }[by]
    async with serving(settings) as client:
        headers = {"Accept": "application/json"}
        async with client.post("/bootstrap", json=REQUEST | changes, headers=headers) as response:
            answer = await response.json()
    assert answer["kumaSidecarConfiguration"]["networking"]["isUsingTransparentProxy"] is True
    metadata = yaml.safe_load(base64.b64decode(answer["bootstrap"]))["node"]["metadata"]
    assert metadata.get("transparentProxy") == (told if by == "runner" else None)


async def test_the_bootstrap_is_one_that_envoy_understands(settings: Settings) -> None:
    answer = await config(settings, cpAddresses=["https://localhost:5678"], features=["feature-delta-grpc"])
    message = proto.from_json("envoy.config.bootstrap.v3.Bootstrap", answer)
    assert (message.node.id, message.node.cluster) == ("default.web-1", "web")
    assert message.dynamic_resources.ads_config.api_type == 3  # DELTA_GRPC


async def test_state_of_the_world_is_the_default_of_runners_that_do_not_say(settings: Settings) -> None:
    assert (await config(settings))["dynamicResources"]["adsConfig"]["apiType"] == "GRPC"


async def test_envoy_knows_all_control_planes_that_the_runner_knows(settings: Settings) -> None:
    urls = ["https://10.0.0.1:5678", "https://localhost:5678", "https://10.0.0.3:15678"]
    answer = await config(settings, cpAddresses=urls)
    assert endpoints(answer) == [("localhost", 5678), ("10.0.0.1", 5678), ("10.0.0.3", 15678)]
    context = answer["staticResources"]["secrets"][0]["validationContext"]
    trusted = {name["matcher"]["exact"] for name in context["matchTypedSubjectAltNames"]}
    assert trusted == {"localhost", "10.0.0.1", "10.0.0.3"}


async def test_a_runner_without_a_list_gets_the_one_it_reached(settings: Settings) -> None:
    assert endpoints(await config(settings)) == [("localhost", 5678)]


async def test_an_address_that_is_none_is_named(settings: Settings) -> None:
    status, text = await ask(settings, cpAddresses=["https://:5678"])
    assert (status, text) == (
        422,
        "cpAddresses: 'https://:5678' is not an address such as https://10.0.0.1:5678",
    )


async def test_our_runner_gets_a_private_admin_socket(settings: Settings) -> None:
    answer = await config(settings, cpAddresses=["https://localhost:5678"])
    pipe = answer["admin"]["address"]["pipe"]
    assert pipe == {"path": "/tmp/web-1/kuma-envoy-admin.sock", "mode": 0o600}
    assert answer["node"]["metadata"]["dataplane.admin.socket"] == pipe["path"]


@pytest.mark.parametrize(("offered", "told"), [(30901, "30901"), (0, None), (70000, None), (None, None)])
async def test_the_port_that_our_runner_offers_leads_to_the_socket(
    settings: Settings, offered: int | None, told: str | None
) -> None:
    answer = await config(settings, cpAddresses=["https://localhost:5678"], adminPort=offered)
    assert "pipe" in answer["admin"]["address"]
    assert answer["node"]["metadata"].get("dataplane.admin.port") == told


async def test_a_socket_path_that_is_too_long_falls_back_to_the_port(settings: Settings) -> None:
    answer = await config(settings, cpAddresses=["https://localhost:5678"], workdir="/tmp/" + "x" * 100)
    assert answer["admin"]["address"]["socketAddress"] == {"address": "127.0.0.1", "portValue": 9901}


async def test_the_admin_port_of_the_dataplane_wins(settings: Settings) -> None:
    networking = DATAPLANE["networking"] | {"admin": {"port": 19901}}  # type: ignore[operator]
    resource = json.dumps(DATAPLANE | {"networking": networking})
    answer = await config(settings, cpAddresses=["https://localhost:5678"], dataplaneResource=resource)
    assert answer["admin"]["address"]["socketAddress"]["portValue"] == 19901


async def test_a_stored_dataplane_needs_no_resource_in_the_request(settings: Settings) -> None:
    answer = await config(settings, decode(DATAPLANE), dataplaneResource=None)
    assert answer["node"]["cluster"] == "web"


async def test_an_unknown_dataplane_is_not_found_with_an_empty_body(settings: Settings) -> None:
    assert await ask(settings, dataplaneResource="") == (404, "")


async def test_a_zone_proxy_has_no_mesh_in_its_id(settings: Settings) -> None:
    ingress = {"type": "ZoneIngress", "name": "in-1", "networking": {"address": "10.0.0.9", "port": 10001}}
    answer = await config(
        settings, mesh="", name="in-1", proxyType="ingress", dataplaneResource=json.dumps(ingress)
    )
    assert (answer["node"]["id"], answer["node"]["cluster"]) == (".in-1", "ingress")


async def test_a_request_without_a_token_is_told_how_to_get_one(settings: Settings) -> None:
    assert await ask(settings, dataplaneToken="") == (422, TOKEN_REQUIRED)


async def test_without_authentication_no_token_is_needed(certificate: bytes) -> None:
    open_door = Settings(cert_pem=certificate, listen_port=5678, dp_token_required=False)
    assert (await ask(open_door, dataplaneToken=""))[0] == 200


async def test_an_invalid_dataplane_is_refused_with_its_faults(settings: Settings) -> None:
    bad = DATAPLANE | {"networking": {"address": "0.0.0.0", "inbound": [{"port": 0}]}}
    status, text = await ask(settings, dataplaneResource=json.dumps(bad))
    assert status == 422
    assert "networking.inbound[0].port" in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"proxyType": "sidecar"}, "unknown proxy type 'sidecar'"),
        ({"dataplaneResource": "]["}, "dataplaneResource: is not YAML"),
        ({"dataplaneResource": "a: &x [*x]"}, "nests deeper"),
        ({"dataplaneResource": "a: 1\n---\nb: 2"}, "must be an object"),
        ({"dataplaneResource": "[" + "1," * 500_000 + "1]"}, "more than 200000 values"),
        ({"dataplaneResource": "{a: [" + "1," * 450_000 + "1]}"}, "more than 400000 values"),
        ({"dataplaneResource": "[1]"}, "must be an object"),
        ({"dataplaneResource": '{"type": "Nothing"}'}, "Nothing"),
        ({"dataplaneResource": "", "name": ""}, "name: cannot be empty"),
        ({"features": 7}, r"features"),
        ({"name": "other"}, "name"),
    ],
)
async def test_bad_requests_are_told_what_is_wrong(settings: Settings, changes: Any, reason: str) -> None:
    status, text = await ask(settings, **changes)
    assert status == 422
    assert reason in text


async def test_a_body_that_is_no_json_is_refused(settings: Settings) -> None:
    async with serving(settings) as client, client.post("/bootstrap", data=b"{") as response:
        assert response.status == 422


async def test_a_name_that_the_certificate_does_not_have_is_refused_with_the_names_it_has(
    settings: Settings,
) -> None:
    status, text = await ask(settings, host="cp.example.com")
    assert status == 400
    assert '"cp.example.com"' in text
    assert "'localhost', '127.0.0.1'" in text


async def test_a_ca_that_the_runner_gives_is_used_and_must_be_one(
    settings: Settings, certificate: bytes
) -> None:
    answer = await config(settings, host="cp.example.com", caCert=certificate.decode())
    context = answer["staticResources"]["secrets"][0]["validationContext"]
    assert base64.b64decode(context["trustedCa"]["inlineBytes"]) == certificate
    assert await ask(settings, caCert="nonsense") == (400, "caCert: is not a PEM certificate")
    assert await ask(settings, caCert=leaf_certificate()) == (400, NOT_A_CA)


def leaf_certificate() -> str:
    """A certificate that may not sign others."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_paths_of_sockets_stay_within_what_unix_allows() -> None:
    assert socket_path("/tmp", "kuma-al", "web-1", "default") == "/tmp/kuma-al-web-1-default.sock"
    assert len(socket_path("/" + "x" * 200, "kuma-al", "web-1", "default")) <= 107


def test_an_ip_needs_no_name_resolution() -> None:
    def kind(*hosts: str) -> str:
        addresses = [(host, 5678) for host in hosts]
        parameters = Parameters("m", "n", "s", addresses, b"", admin=Admin("127.0.0.1", 9901))
        return str(build(parameters)["staticResources"]["clusters"][1]["type"])

    assert kind("10.0.0.1", "fd00::1") == "STATIC"
    assert kind("10.0.0.1", "cp.example.com") == "STRICT_DNS"
