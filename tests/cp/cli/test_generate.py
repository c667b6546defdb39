"""`raftmesh generate`: what is signed here or there is accepted by the verifier of the control plane."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import jwt
import pytest

from cp.tokens import USER, new_key, read_public_key, verify
from mesh.view import View
from tests.cp.cli.conftest import Cli
from tests.cp.conftest import ApiFactory

ISSUERS = {
    "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_ENABLE_ISSUER": "true",
    "RAFTMESH_DP_SERVER_AUTHN_ZONE_PROXY_ZONE_TOKEN_ENABLE_ISSUER": "true",
    "RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER": "true",
    "RAFTMESH_DEFAULTS_SKIP_MESH_CREATION": "false",
}
DAY = ("--valid-for", "24h")


async def test_tokens_from_the_control_plane(make_api: ApiFactory, cli: Cli) -> None:
    api = await make_api(**ISSUERS)
    live = api.worker.live
    while live.view.get("Secret", "default", "dataplane-token-signing-key-default-1") is None:
        assert await live.wait_for(live.index + 1, 60.0)
    ran = await cli("generate", "dataplane-token", "--name", "a", "--tag", "x=1,x=2", *DAY, api=api)
    assert ran.status == 0, ran.err
    claims = jwt.decode(ran.out, options={"verify_signature": False})
    assert (claims["Name"], claims["Mesh"], claims["Tags"]) == ("a", "default", {"x": ["1", "2"]})
    assert claims["exp"] - claims["iat"] == 86_400
    ran = await cli("generate", "zone-token", *DAY, api=api)
    claims = jwt.decode(ran.out, options={"verify_signature": False})
    assert (claims["Zone"], claims["Scope"]) == ("", ["ingress", "egress", "cp"])
    ran = await cli("generate", "user-token", "--name", "jane", "--group", "ops", *DAY, api=api)
    assert verify(api.worker.live.view, USER, ran.out, time.time())["Groups"] == ["ops"]


async def test_a_token_that_is_signed_here(cli: Cli, tmp_path: Path) -> None:
    key = tmp_path / "key"
    for form in ("pem", "pem-base64"):
        key.write_text((await cli("generate", "signing-key", "--format", form)).out)
        public = (await cli("generate", "public-key", "--signing-key-path", str(key))).out
        offline = ("--signing-key-path", str(key), "--kid", "mine")
        token = (await cli("generate", "user-token", "--name", "jane", *DAY, *offline)).out
        claims = verify(View.of([], 1), USER, token, time.time(), {"mine": public.encode()})
        assert claims["Name"] == "jane"


async def test_a_certificate_that_a_server_can_use(cli: Cli, tmp_path: Path) -> None:
    key, cert = tmp_path / "k", tmp_path / "c"
    files = ("--key-file", str(key), "--cert-file", str(cert))
    command = ("generate", "tls-certificate", "--type=server", "--hostname=a.example,127.0.0.1", *files)
    for key_type in ("rsa", "ecdsa"):
        ran = await cli(*command, "--key-type", key_type)
        assert ran.out == f"Private key saved in {key}\nCertificate saved in {cert}\n"
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
        assert key.stat().st_mode & 0o777 == 0o600
    ran = await cli("generate", "tls-certificate", "--type=client", "--key-file=-", "--cert-file=-")
    assert ran.out.startswith("-----BEGIN PRIVATE KEY-----") and "BEGIN CERTIFICATE" in ran.out


def test_a_public_key_is_read_from_both_halves() -> None:
    pem = new_key()
    assert read_public_key(pem).key_size == 2048


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["user-token", "--name", "a", "--valid-for", "soon"], "--valid-for: "),
        (["user-token", "--name", "a", "--valid-for", "0s"], "--valid-for: must be longer"),
        (["user-token", "--name", "a", *DAY, "--kid", "1"], "--signing-key-path and --kid go together"),
        (["zone-token", "--scope", "moon", *DAY], "unknown scope 'moon'; allowed: ingress, egress, cp"),
        (["dataplane-token", "--tag", "x", *DAY], "--tag 'x': must be name=value"),
        (["public-key", "--signing-key-path", "/nowhere"], "reading /nowhere: No such file"),
        (["public-key", "--signing-key-path", __file__], "neither PEM nor PEM in base64"),
        (["tls-certificate", "--type=server"], "at least one hostname must be given"),
        (["tls-certificate", "--type=client", "--key-file", "/nowhere/k"], "writing /nowhere/k"),
    ],
)
async def test_what_cannot_be_generated(arguments: list[str], message: str, cli: Cli) -> None:
    ran = await cli("generate", *arguments)
    assert (ran.status, ran.err.startswith("Error: ")) == (1, True)
    assert message in ran.err
