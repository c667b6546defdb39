"""Ways to the API: TLS with client certificates, pages of other sites, another base path, other keys."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from cp.config import ConfigError, load
from cp.config_schema import PublicKey, Validator
from cp.ports import Unusable
from cp.tokens import USER, InvalidToken, key_document, new_key
from cp.verifier import verifier
from mesh.codec import decode
from mesh.view import View
from tests.certificates import Certificate, make_certificate
from tests.cp.conftest import Api, ApiFactory

PEM = new_key()
PUBLIC = (
    serialization.load_pem_private_key(PEM, password=None)
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("clients"))


def https(certificate: Certificate, tmp_path: Path) -> dict[str, str]:
    clients = tmp_path / "clients"
    clients.mkdir()
    (clients / "admin.pem").write_bytes(Path(certificate.cert_path).read_bytes())
    return {
        "RAFTMESH_API_SERVER_HTTPS_ENABLED": "true",
        "RAFTMESH_API_SERVER_HTTPS_PORT": "0",
        "RAFTMESH_API_SERVER_HTTPS_INTERFACE": "127.0.0.1",
        "RAFTMESH_GENERAL_WORK_DIR": str(tmp_path),
        "RAFTMESH_API_SERVER_AUTHN_TYPE": "adminClientCerts",
        "RAFTMESH_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN": "false",
        "RAFTMESH_API_SERVER_AUTH_CLIENT_CERTS_DIR": str(clients),
    }


async def who(api: Api, tls: ssl.SSLContext) -> str:
    url = f"https://127.0.0.1:{api.worker.ports['apiServer.https.port']}/who-am-i"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=tls) as response:
        return str((await response.json())["name"])


async def test_a_client_certificate_makes_an_administrator(
    make_api: ApiFactory, certificate: Certificate, tmp_path: Path
) -> None:
    api = await make_api(**https(certificate, tmp_path))
    anonymous = ssl.create_default_context(cafile=str(tmp_path / "tls" / "server.pem"))
    assert await who(api, anonymous) == "mesh-system:anonymous"
    admin = ssl.create_default_context(cafile=str(tmp_path / "tls" / "server.pem"))
    admin.load_cert_chain(certificate.cert_path, certificate.key_path)
    assert await who(api, admin) == "mesh-system:admin"
    stranger = make_certificate(tmp_path)
    wrong = ssl.create_default_context(cafile=str(tmp_path / "tls" / "server.pem"))
    wrong.load_cert_chain(stranger.cert_path, stranger.key_path)
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await who(api, wrong)


async def test_a_directory_without_certificates(
    make_api: ApiFactory, tmp_path: Path, certificate: Certificate
) -> None:
    environ = https(certificate, tmp_path)
    (tmp_path / "clients" / "admin.pem").unlink()
    with pytest.raises(Unusable, match=r"clientCertsDir: .* holds no \*\.pem"):
        await make_api(**environ)


async def test_pages_of_other_sites(make_api: ApiFactory) -> None:
    api = await make_api(KUMA_API_SERVER_CORS_ALLOWED_DOMAINS=r"https://mesh\.example\.com")
    friend, foe = {"Origin": "https://mesh.example.com"}, {"Origin": "https://mesh.example.com.evil"}
    asked = {"Access-Control-Request-Method": "PUT"}
    allowed = await api.call("OPTIONS", "/meshes/m", headers=friend | asked)
    assert allowed.status == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://mesh.example.com"
    assert "PUT" in allowed.headers["Access-Control-Allow-Methods"]
    assert (await api.call("OPTIONS", "/meshes/m", headers=foe | asked)).status == 405
    read = await api.get("/meshes", headers=friend)
    assert read.headers["Access-Control-Allow-Origin"] == "https://mesh.example.com"
    assert "X-Raftmesh-Index" in read.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in (await api.get("/meshes", headers=foe)).headers


async def test_no_other_site_by_default(api: Api) -> None:
    answer = await api.get("/meshes", headers={"Origin": "https://mesh.example.com"})
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_another_base_path(make_api: ApiFactory) -> None:
    api = await make_api(KUMA_API_SERVER_BASE_PATH="/mesh-api/")
    assert (await api.get("/mesh-api/meshes")).status == 200
    assert (await api.get("/meshes")).status == 404
    with pytest.raises(ConfigError, match="basePath: 'x' must begin with /"):
        load(None, {"RAFTMESH_API_SERVER_BASE_PATH": "x"})


# --- keys from the settings -----------------------------------------------------------------


def signed(kid: str) -> str:
    now = int(time.time())
    return jwt.encode({"Name": "a", "exp": now + 60}, PEM, algorithm="RS256", headers={"kid": kid})


def test_a_public_key_verifies_what_was_signed_elsewhere() -> None:
    nothing = View.empty()
    key = PublicKey(kid="ci", key=PUBLIC.decode())
    assert (
        verifier(Validator(public_keys=(key,)), "v").verify(nothing, USER, signed("ci"), time.time())["Name"]
        == "a"
    )
    other_mesh = verifier(Validator(public_keys=(PublicKey(kid="ci", mesh="m", key=PUBLIC.decode()),)), "v")
    with pytest.raises(InvalidToken, match="no signing key"):
        other_mesh.verify(nothing, USER, signed("ci"), time.time())


def test_keys_of_the_log_can_be_switched_off() -> None:
    reader = View.of([decode(key_document(USER, PEM))], 1)
    assert verifier(Validator(), "v").verify(reader, USER, signed("1"), time.time())
    with pytest.raises(InvalidToken, match="no key verifies such tokens here"):
        verifier(Validator(use_secrets=False), "v").verify(reader, USER, signed("1"), time.time())


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (PublicKey(key="x"), r"v\.publicKeys\[0\]\.kid: must name"),
        (PublicKey(kid="a", key="x"), r"v\.publicKeys\[0\]: is no RSA public key"),
        (PublicKey(kid="a"), "give either key or keyFile"),
        (PublicKey(kid="a", key_file="/absent"), "/absent: No such file"),
    ],
)
def test_keys_that_are_none(key: PublicKey, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        verifier(Validator(public_keys=(key,)), "v")
