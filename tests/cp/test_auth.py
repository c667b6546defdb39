"""Who a request is taken for: nobody becomes the administrator by what others can send."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cp.api.auth import FORWARDED, user_of_certificate
from cp.logs import ClientsFault
from cp.users import ADMIN
from tests.cp.conftest import Api, ApiFactory

ADMIN_NAME, NOBODY = "mesh-system:admin", "mesh-system:anonymous"


# --- this machine -------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORWARDED)
@pytest.mark.parametrize("value", ["127.0.0.1", "", "for=127.0.0.1"])
async def test_whoever_forwards_is_not_this_machine(api: Api, name: str, value: str) -> None:
    """Whatever the header says: that the client is local is for the connection to tell, not for a text."""
    assert (await api.get("/who-am-i", headers={name: value})).json["name"] == NOBODY
    assert (await api.get("/who-am-i", headers={name.lower(): value})).json["name"] == NOBODY


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", ADMIN_NAME),
        ("LOCALHOST:80", ADMIN_NAME),
        ("127.0.0.1:5681", ADMIN_NAME),
        ("127.8.9.10", ADMIN_NAME),
        ("[::1]:5681", ADMIN_NAME),
        ("localhost.example.com", NOBODY),
        ("127.0.0.1.nip.io", NOBODY),
        ("10.0.0.1", NOBODY),
        ("0.0.0.0", NOBODY),
        ("[::]", NOBODY),
        ("localhost@example.com", NOBODY),
        ("", NOBODY),
    ],
)
async def test_a_name_that_others_can_point_here(api: Api, host: str, name: str) -> None:
    """A page whose own name resolves to this machine (DNS rebinding) sends its own name."""
    answer = await api.get("/who-am-i", headers={"Host": host})
    assert answer.status == 200 and answer.json["name"] == name


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"Origin": "null"}, NOBODY),
        ({"Origin": "http://localhost:9999"}, NOBODY),
        ({"Sec-Fetch-Site": "same-site"}, NOBODY),
        ({"Sec-Fetch-Site": "none"}, ADMIN_NAME),
    ],
)
async def test_pages(api: Api, headers: dict[str, str], name: str) -> None:
    assert (await api.get("/who-am-i", headers=headers)).json["name"] == name


async def test_what_nobody_may_stays_closed_when_headers_lie(api: Api) -> None:
    await api.mesh()
    secret = {"type": "Secret", "mesh": "default", "name": "s", "data": "dG9wLXNlY3JldA=="}
    assert (await api.put("/meshes/default/secrets/s", secret)).status == 201
    for name in FORWARDED:
        answer = await api.get("/meshes/default/secrets/s", headers={name: "127.0.0.1"})
        assert answer.status == 403 and "dG9wLXNlY3JldA" not in answer.text


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "bearer x", "BEARER  a.b.c", "Bearer a b"])
async def test_a_token_that_is_none_is_not_overlooked(api: Api, header: str) -> None:
    """From this machine too: who shows a token wants to be its user."""
    assert (await api.get("/who-am-i", headers={"Authorization": header})).status == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/meshes", 401),
        ("/meshes/default/dataplanes/web/_rules", 401),
        ("/meshes/default/dataplanes/_overview", 401),
        ("/global-insight", 401),
        ("/history", 401),
        ("/xds/streams", 401),
        ("/nothing", 401),
        ("/", 200),
        ("/ready/", 200),
        ("/openapi.json", 200),
    ],
)
async def test_a_bad_token_opens_nothing(api: Api, path: str, status: int) -> None:
    """Also not what is open to everybody, but for what says what this is."""
    await api.mesh()
    answer = await api.get(path, headers={"Authorization": "Bearer a.b.c"})
    assert answer.status == status, answer.text


# --- certificates of clients --------------------------------------------------------------


@pytest.mark.parametrize(
    ("certificate", "name", "groups"),
    [
        ({"subject": ((("commonName", "ops"),),)}, ADMIN.name, ADMIN.groups),
        ({"subjectAltName": (("DNS", "user:root"),)}, ADMIN.name, ADMIN.groups),
        ({"subject": ((("commonName", "user:jane"),),)}, "jane", ("mesh-system:authenticated",)),
        (
            {"subjectAltName": (("URI", "user:jane"), ("URI", "group:ops"), ("URI", "group:dev"))},
            "jane",
            ("ops", "dev", "mesh-system:authenticated"),
        ),
        ({"subjectAltName": (("URI", "group:ops"),)}, "", ("ops", "mesh-system:authenticated")),
    ],
)
def test_whom_a_certificate_names(certificate: dict[str, Any], name: str, groups: tuple[str, ...]) -> None:
    user = user_of_certificate(certificate)
    assert (user.name, user.groups) == (name, groups)


def certificate(directory: Path, name: str, *uris: str) -> tuple[Path, Path]:
    """A self-signed client certificate: its file, and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    cert_path, key_path = directory / f"{name}.pem", directory / f"{name}.key"
    pem = serialization.Encoding.PEM
    cert_path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    plain = serialization.NoEncryption()
    key_path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return cert_path, key_path


def https(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "RAFTMESH_API_SERVER_HTTPS_ENABLED": "true",
        "RAFTMESH_API_SERVER_HTTPS_PORT": "0",
        "RAFTMESH_API_SERVER_HTTPS_INTERFACE": "127.0.0.1",
        "RAFTMESH_GENERAL_WORK_DIR": str(tmp_path),
        "RAFTMESH_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN": "false",
    } | more


async def test_certificates_over_tls(make_api: ApiFactory, tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    clients.mkdir()
    admin = certificate(clients, "ops")
    jane = certificate(clients, "jane", "user:jane", "group:ops")
    api = await make_api(
        **https(
            tmp_path,
            RAFTMESH_API_SERVER_AUTHN_TYPE="adminClientCerts",
            RAFTMESH_API_SERVER_AUTH_CLIENT_CERTS_DIR=str(clients),
        )
    )

    async def who(*files: Path) -> dict[str, Any]:
        tls = ssl.create_default_context(cafile=str(tmp_path / "tls" / "server.pem"))
        if files:
            tls.load_cert_chain(*files)
        url = f"https://127.0.0.1:{api.worker.ports['apiServer.https.port']}/who-am-i"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=tls) as response:
            found: dict[str, Any] = await response.json()
            return found

    assert (await who())["name"] == NOBODY
    assert (await who(*admin))["name"] == ADMIN_NAME
    assert await who(*jane) == {"name": "jane", "groups": ["ops", "mesh-system:authenticated"]}


# --- garbage on 5682 ----------------------------------------------------------------------

GARBAGE = (
    b"\x00" * 64,
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",  # without TLS
    b"\x16\x03\x01\x02\x00" + os.urandom(512),  # the beginning of a handshake
    b"\x16\x03\x01\xff\xff" + b"\x01" * 4096,
    os.urandom(4096),
    b"",
)
INSIDE = (
    b"\x00" * 64,
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
    b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + b"\xff\xfe\x00" + b"\r\n\r\n",
    b"POST /tokens/user HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /tokens/user HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    os.urandom(4096),
)


async def throw(port: int, data: bytes, tls: ssl.SSLContext | None) -> bytes:
    """Send, and read what comes; the other side may hang up first, and that is fine."""
    try:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            writer.write(data)
            if tls is None:
                writer.write_eof()
            answer = await reader.read(65_536)
            writer.close()
            return answer
    except (OSError, TimeoutError):
        return b""


async def test_garbage_on_the_port_of_tls(
    make_api: ApiFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = await make_api(**https(tmp_path))
    port = api.worker.ports["apiServer.https.port"]
    trusting = ssl.create_default_context(cafile=str(tmp_path / "tls" / "server.pem"))
    quiet = ClientsFault()
    logging.getLogger("aiohttp.server").addFilter(quiet)
    try:
        with caplog.at_level(logging.INFO):
            for data in GARBAGE:
                await throw(port, data, None)
            for answer in [await throw(port, data, trusting) for data in INSIDE]:
                assert b"Traceback" not in answer and not answer.startswith(b"HTTP/1.1 5"), answer
            async with aiohttp.ClientSession() as session:
                served = await session.get(f"https://127.0.0.1:{port}/", ssl=trusting)
                assert served.status == 200
    finally:
        logging.getLogger("aiohttp.server").removeFilter(quiet)
    assert not [record for record in caplog.records if record.exc_info], caplog.text
    assert "refused what is not HTTP" in caplog.text and "Bearer" not in caplog.text
