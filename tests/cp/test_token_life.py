"""The life of a token, over a real server: issued, used, its key rotated, revoked; or issued elsewhere."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from cp.admission import TokenAdmission
from cp.tokens import (
    USER,
    ZONE,
    Keys,
    dataplane_claims,
    new_key,
    of_dataplanes,
    sign,
    user_claims,
    zone_claims,
)
from tests.cp.conftest import Api, ApiFactory
from tests.cp.test_api_crud import dataplane
from xds.source import NodeInfo, Refused

REMOTE = {"X-Forwarded-For": "10.0.0.1"}
ISSUER = {
    "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_ENABLE_ISSUER": "true",
    "RAFTMESH_DP_SERVER_AUTHN_ZONE_PROXY_ZONE_TOKEN_ENABLE_ISSUER": "true",
    "RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER": "true",
}
DATAPLANE = of_dataplanes("default")
OTHER = new_key()
PUBLIC = (
    serialization.load_pem_private_key(OTHER, password=None)
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


def secret(keys: Keys, name: str, data: bytes) -> tuple[str, dict[str, Any]]:
    """The path and the document of a secret beside the keys."""
    document = {"type": keys.kind, "name": name, "data": base64.b64encode(data).decode()}
    if keys.mesh:
        return f"/meshes/{keys.mesh}/secrets/{name}", document | {"mesh": keys.mesh}
    return f"/global-secrets/{name}", document


async def put(api: Api, keys: Keys, name: str, data: bytes) -> None:
    path, document = secret(keys, name, data)
    answer = await api.put(path, document)
    assert answer.status in (200, 201), answer.text


async def until_there(api: Api, keys: Keys, serial: int = 1) -> None:
    live = api.worker.live
    while live.view.get(keys.kind, keys.mesh, f"{keys.prefix}-{serial}") is None:
        assert await live.wait_for(live.index + 1, 60.0)


@pytest.fixture
async def api(make_api: ApiFactory) -> Api:
    api = await make_api(**ISSUER)
    await api.mesh()
    for keys in (USER, ZONE, DATAPLANE):
        await until_there(api, keys)
    return api


ASKED: dict[str, tuple[Keys, dict[str, Any]]] = {
    "user": (USER, {"name": "jane", "groups": ["ops"], "validFor": "1h"}),
    "dataplane": (DATAPLANE, {"name": "dp-1", "mesh": "default", "validFor": "1h"}),
    "zone": (ZONE, {"zone": "default", "scope": ["ingress"], "validFor": "1h"}),
}


async def issued(api: Api, kind: str) -> str:
    answer = await api.call("POST", f"/tokens/{kind}", ASKED[kind][1])
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8"), answer.text
    return answer.text


async def admits(api: Api, kind: str, token: str) -> str:
    """ "" when the token opens its door, else why not."""
    if kind == "user":
        answer = await api.get("/who-am-i", headers=REMOTE | {"Authorization": f"Bearer {token}"})
        assert answer.status in (200, 401)
        return "" if answer.status == 200 else str(answer.json["detail"])
    node = (
        NodeInfo("default.dp-1")
        if kind == "dataplane"
        else NodeInfo(".ingress", metadata={"dataplane.proxyType": "ingress"})
    )
    try:
        await TokenAdmission(api.worker.live, api.worker.config).admit(
            node, {"authorization": f"Bearer {token}"}
        )
    except Refused as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ASKED)
async def test_a_token_is_good_until_it_is_revoked(api: Api, kind: str) -> None:
    keys, _ = ASKED[kind]
    token, other = await issued(api, kind), await issued(api, kind)
    assert await admits(api, kind, token) == ""
    claims = base64.urlsafe_b64decode(token.split(".")[1] + "==")
    jti = claims.partition(b'"jti":"')[2].partition(b'"')[0]
    await put(api, keys, keys.revocations, b"somebody-elses," + jti)
    assert "the token is revoked" in await admits(api, kind, token)
    assert await admits(api, kind, other) == ""
    await put(api, keys, keys.revocations, b"somebody-elses")
    assert await admits(api, kind, token) == ""


@pytest.mark.parametrize("kind", ASKED)
async def test_keys_are_rotated_without_an_outage(api: Api, kind: str) -> None:
    """Add the next key; what the old one signed stays good; then remove it."""
    keys, _ = ASKED[kind]
    old = await issued(api, kind)
    await put(api, keys, f"{keys.prefix}-2", new_key())
    new = await issued(api, kind)
    assert (await admits(api, kind, old), await admits(api, kind, new)) == ("", "")
    path, _ = secret(keys, f"{keys.prefix}-1", b"")
    assert (await api.delete(path)).status == 200
    assert "no signing key with the key id '1'" in await admits(api, kind, old)
    assert await admits(api, kind, new) == ""


async def test_the_key_that_was_removed_does_not_come_back(api: Api) -> None:
    await put(api, USER, f"{USER.prefix}-2", new_key())
    path, _ = secret(USER, f"{USER.prefix}-1", b"")
    await api.delete(path)
    await api.mesh("another")  # a commit that the keeper of keys looks at
    await until_there(api, of_dataplanes("another"))
    assert (await api.get(path)).status == 404


# --- issued elsewhere ---------------------------------------------------------------------


def offline(kind: str, *, use_secrets: bool) -> dict[str, str]:
    prefix = {
        "user": "RAFTMESH_API_SERVER_AUTHN_TOKENS",
        "dataplane": "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN",
        "zone": "RAFTMESH_DP_SERVER_AUTHN_ZONE_PROXY_ZONE_TOKEN",
    }[kind]
    key = PUBLIC.replace("\n", "\\n")
    return {
        f"{prefix}_ENABLE_ISSUER": "false",
        f"{prefix}_VALIDATOR_USE_SECRETS": str(use_secrets).lower(),
        f"{prefix}_VALIDATOR_PUBLIC_KEYS": f'[{{"kid": "ci", "key": "{key}"}}]',
    }


CLAIMS = {
    "user": user_claims("jane", []),
    "dataplane": dataplane_claims("dp-1", "default", {}, "dataplane"),
    "zone": zone_claims("default", ["ingress"]),
}


@pytest.mark.parametrize("kind", ASKED)
async def test_tokens_issued_where_the_private_key_is(make_api: ApiFactory, kind: str) -> None:
    """The control plane holds no key that could sign one, and issues none."""
    api = await make_api(**offline(kind, use_secrets=False))
    await api.mesh()
    keys, asked = ASKED[kind]
    await put(api, keys, f"{keys.prefix}-1", new_key())
    now = int(time.time())
    assert await admits(api, kind, sign(OTHER, "ci", CLAIMS[kind], now, 60)) == ""
    assert "no signing key" in await admits(api, kind, sign(OTHER, "1", CLAIMS[kind], now, 60))
    assert "expired" in await admits(api, kind, sign(OTHER, "ci", CLAIMS[kind], now - 120, 60))
    refused = await api.call("POST", f"/tokens/{kind}", asked)
    assert refused.json["detail"] == "issuing tokens using the control plane is disabled."


async def test_both_keys_of_the_log_and_of_the_settings(make_api: ApiFactory) -> None:
    api = await make_api(**offline("user", use_secrets=True))
    mine = new_key()
    await put(api, USER, f"{USER.prefix}-1", mine)
    now = int(time.time())
    for pem, kid in ((OTHER, "ci"), (mine, "1")):
        assert await admits(api, "user", sign(pem, kid, CLAIMS["user"], now, 60)) == ""
    assert "the token is not valid" in await admits(api, "user", sign(mine, "ci", CLAIMS["user"], now, 60))


async def test_a_dataplane_token_of_one_mesh_is_nothing_in_another(api: Api) -> None:
    await api.mesh("another")
    await until_there(api, of_dataplanes("another"))
    token = await issued(api, "dataplane")
    await api.put("/meshes/another/dataplanes/dp-1", dataplane("dp-1") | {"mesh": "another"})
    with pytest.raises(Refused, match="the token is not valid"):
        await TokenAdmission(api.worker.live, api.worker.config).admit(
            NodeInfo("another.dp-1"), {"authorization": token}
        )
