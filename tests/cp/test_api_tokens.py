"""Tokens and access: issuing, what is asked of a request for one, and who may see secrets."""

from __future__ import annotations

import base64
import time
from typing import Any

import jwt
import pytest

from cp.tokens import USER as USER_KEYS
from cp.tokens import (
    InvalidToken,
    NoSigningKey,
    issue,
    key_document,
    new_key,
    of_dataplanes,
    user_claims,
    verify,
)
from mesh.codec import decode
from mesh.view import View
from tests.cp.conftest import Api, ApiFactory

ISSUER = {
    "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_ENABLE_ISSUER": "true",
    "RAFTMESH_DP_SERVER_AUTHN_ZONE_PROXY_ZONE_TOKEN_ENABLE_ISSUER": "true",
    "RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER": "true",
}
SECRET = {"type": "Secret", "mesh": "default", "name": "s", "data": "dGVzdAo="}
REMOTE = {"X-Forwarded-For": "10.0.0.1"}  # somebody is behind the proxy on this machine
NOW = 1_700_000_000
PEM = new_key()


def secret(kind: str, name: str, data: bytes, mesh: str = "") -> dict[str, Any]:
    document = {"type": kind, "name": name, "data": base64.b64encode(data).decode()}
    return document | {"mesh": mesh} if mesh else document


def view(*documents: dict[str, Any]) -> View:
    return View.of([decode(document) for document in documents], 1)


def test_a_token_proves_its_claims_for_its_time() -> None:
    reader = view(key_document(USER_KEYS, PEM))
    token = issue(reader, USER_KEYS, user_claims("jane", ["ops"]), NOW, 60)
    claims = verify(reader, USER_KEYS, token, NOW)
    assert (claims["Name"], claims["Groups"], claims["nbf"], claims["exp"]) == (
        "jane",
        ["ops"],
        NOW - 5,
        NOW + 60,
    )
    assert verify(reader, USER_KEYS, token, NOW + 64)
    with pytest.raises(InvalidToken, match="expired"):
        verify(reader, USER_KEYS, token, NOW + 66)
    with pytest.raises(InvalidToken, match="not valid yet"):
        verify(reader, USER_KEYS, token, NOW - 11)


def test_the_highest_serial_signs_and_each_one_verifies() -> None:
    old = view(key_document(USER_KEYS, PEM, 2))
    token = issue(old, USER_KEYS, user_claims("a", []), NOW, 60)
    both = view(key_document(USER_KEYS, PEM, 2), key_document(USER_KEYS, new_key(), 10))
    assert jwt.get_unverified_header(issue(both, USER_KEYS, user_claims("a", []), NOW, 60))["kid"] == "10"
    assert verify(both, USER_KEYS, token, NOW)["Name"] == "a"
    with pytest.raises(InvalidToken, match="no signing key with the key id '2'"):
        verify(view(key_document(USER_KEYS, PEM, 3)), USER_KEYS, token, NOW)


def test_what_proves_nothing() -> None:
    reader = view(key_document(USER_KEYS, PEM))
    token = issue(reader, USER_KEYS, user_claims("a", []), NOW, 60)
    jti = verify(reader, USER_KEYS, token, NOW)["jti"]
    revoked = view(
        key_document(USER_KEYS, PEM),
        secret("GlobalSecret", "user-token-revocations", f"x,{jti}".encode()),
    )
    forged = jwt.encode({"Name": "root", "exp": NOW + 60}, "k" * 64, algorithm="HS256", headers={"kid": "1"})
    unsigned = jwt.encode({"Name": "root", "exp": NOW + 60}, None, algorithm="none", headers={"kid": "1"})
    other = issue(view(key_document(USER_KEYS, new_key())), USER_KEYS, user_claims("a", []), NOW, 60)
    for bad in (forged, unsigned, other, token[:-4] + "AAAA", "", "a.b.c", "x" * 20_000):
        with pytest.raises(InvalidToken):
            verify(reader, USER_KEYS, bad, NOW)
    with pytest.raises(InvalidToken, match="revoked"):
        verify(revoked, USER_KEYS, token, NOW)
    with pytest.raises(NoSigningKey, match="in mesh 'm'"):
        issue(reader, of_dataplanes("m"), {}, NOW, 60)


async def test_issued_over_http(make_api: ApiFactory) -> None:
    api = await make_api(**ISSUER)
    created = await api.mesh()
    while not any(True for _ in of_dataplanes("default").serials(api.worker.live.view)):
        assert await api.worker.live.wait_for(api.worker.live.index + 1, 60.0)
    assert created.index <= api.worker.live.index
    body = {"name": "web-1", "mesh": "default", "tags": {"kuma.io/service": ["web"]}, "validFor": "24h"}
    answer = await api.call("POST", "/tokens/dataplane", body)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    claims = verify(api.worker.live.view, of_dataplanes("default"), answer.text, time.time())
    assert (claims["Name"], claims["Mesh"], claims["Tags"]) == (
        "web-1",
        "default",
        {"kuma.io/service": ["web"]},
    )
    assert claims["exp"] - claims["iat"] == 24 * 3600
    zone = await api.call("POST", "/tokens/zone", {"zone": "east", "scope": ["egress"]})
    assert zone.status == 200
    user = await api.call("POST", "/tokens/user", {"name": "jane", "groups": ["ops"], "validFor": "1h"})
    who = await api.get("/who-am-i", headers=REMOTE | {"Authorization": f"Bearer {user.text}"})
    assert who.json == {"name": "jane", "groups": ["ops", "mesh-system:authenticated"]}
    missing = await api.call("POST", "/tokens/dataplane", {"mesh": "other"})
    assert (missing.status, missing.json["title"]) == (404, "Signing Key not found")
    admin = api.worker.live.view.get("GlobalSecret", "", "admin-user-token")
    assert admin is not None
    bearer = {"Authorization": f"Bearer {admin.spec.value().decode()}"}
    assert (await api.get("/global-secrets", headers=REMOTE | bearer)).status == 200


@pytest.mark.parametrize(
    ("path", "body", "faults"),
    [
        ("dataplane", {"name": "x"}, ["mesh"]),
        ("dataplane", {"mesh": "m", "tags": {"a": "b"}, "type": "router"}, ["tags", "type"]),
        ("dataplane", {"mesh": "m", "validFor": "soon"}, ["validFor"]),
        ("dataplane", {"mesh": "m", "validFor": "-1h"}, ["validFor"]),
        ("zone", {"zone": "east"}, ["scope"]),
        ("user", {"name": "jane", "validFor": "-1h"}, ["validFor"]),
        ("user", {"name": "jane", "validFor": "soon"}, ["validFor"]),
        ("user", {"name": "jane", "validFor": "0s"}, ["validFor"]),
        ("zone", {"scope": ["moon"]}, ["scope"]),
        ("user", {}, ["name", "validFor"]),
        ("user", {"name": 5, "groups": {}, "validFor": "0s"}, ["name", "groups", "name", "validFor"]),
    ],
)
async def test_requests_that_are_none(make_api: ApiFactory, path: str, body: Any, faults: list[str]) -> None:
    api = await make_api(**ISSUER)
    answer = await api.call("POST", f"/tokens/{path}", body)
    assert (answer.status, answer.json["title"]) == (400, "Invalid request")
    assert [each["field"] for each in answer.json["invalid_parameters"]] == faults


async def test_issuing_can_be_switched_off(api: Api) -> None:
    answer = await api.call("POST", "/tokens/user", {"name": "a", "validFor": "1h"})
    assert (answer.status, answer.json["detail"]) == (
        400,
        "issuing tokens using the control plane is disabled.",
    )


async def test_secrets_are_for_administrators(api: Api) -> None:
    await api.mesh()
    path = "/meshes/default/secrets/s"
    assert (await api.put(path, SECRET)).status == 201
    for refused in (
        await api.get(path, headers=REMOTE),
        await api.put(path, SECRET, headers=REMOTE),
        await api.get("/meshes/default/secrets", headers=REMOTE),
        await api.get("/secrets?watch=true", headers=REMOTE),
        await api.call("POST", "/transactions", [SECRET], headers=REMOTE),
        await api.delete(path, headers=REMOTE),
    ):
        assert (refused.status, refused.json["title"]) == (403, "Access Denied"), refused.text
        assert refused.json["detail"] == (
            'user "mesh-system:anonymous/mesh-system:unauthenticated" '
            'cannot access the resource of type "Secret"'
        )
    assert (await api.get("/meshes/default/meshtimeouts", headers=REMOTE)).status == 200
    history = (await api.get("/history?type=Secret", headers=REMOTE)).json["items"]
    assert "resource" not in history[0]
    kept = await api.get("/history?type=Secret")  # an audit log tells that it was written, to nobody what
    assert kept.json["items"][0]["resource"]["name"] == "s" and "dGVzdAo" not in kept.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Real-IP": "10.0.0.1"},
        {"Forwarded": "for=10.0.0.1"},
        {"Host": "mesh.example.com"},
        {"Origin": "http://evil.example.com"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_page_of_another_site_is_not_the_administrator(api: Api, headers: dict[str, str]) -> None:
    assert (await api.get("/who-am-i")).json["name"] == "mesh-system:admin"
    assert (await api.get("/who-am-i", headers=headers)).json["name"] == "mesh-system:anonymous"


async def test_localhost_need_not_be_the_administrator(make_api: ApiFactory) -> None:
    api = await make_api(KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN="false")
    assert (await api.get("/who-am-i")).json["name"] == "mesh-system:anonymous"
    refused = await api.get("/meshes", headers={"Authorization": "Bearer nonsense"})
    assert (refused.status, refused.json["title"]) == (401, "Invalid authentication data")


@pytest.mark.parametrize("body", ["", "{", "[]", "null"])
async def test_a_request_that_cannot_be_read(make_api: ApiFactory, body: str) -> None:
    api = await make_api(**ISSUER)
    answer = await api.call("POST", "/tokens/user", body)
    assert (answer.status, answer.json["title"]) == (400, "Invalid request")
