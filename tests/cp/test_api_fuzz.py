"""No input makes the API answer 500: random documents, paths, queries and headers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cp.config import load
from cp.worker import Worker
from mesh.registry import KINDS
from raftstore.memory import MemoryStore
from tests.cp.conftest import ENVIRON

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KIND_PATHS = sorted(kind.path for kind in KINDS.values() if kind.path)
TYPES = sorted(KINDS)
WORDS = [
    "Mesh",
    "MeshService",
    "default",
    "10s",
    "-1s",
    "kuma.io/service",
    "*",
    "",
    "a" * 300,
    "é",
    "\x00",
    "-5",
]
FIELDS = [
    "spec", "to", "from", "rules", "targetRef", "kind", "name", "default", "networking", "inbound", "port", "tags",
    "labels", "mtls", "backends", "conf", "match", "endpoints", "http", "selector", "ports", "type", "mesh", "status",
    "matches", "path", "value", "address", "template", "data", "constraints", "outbound", "backendRef", "gateway",
]  # fmt: skip

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=20),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=8)), inner, max_size=5),
    ),
    max_leaves=25,
)
documents = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(TYPES), scalars)},
    optional={
        name: st.one_of(values, st.dictionaries(st.sampled_from(FIELDS), values, max_size=4))
        for name in ("name", "mesh", "labels", "spec", "networking", "status", "mtls", "data")
    },
)
segments = st.one_of(
    st.sampled_from([*KIND_PATHS, "meshes", "default", "_kri", "history", "t1", "transactions"]),
    st.text(st.characters(blacklist_characters="/", blacklist_categories=("Cs",)), min_size=1, max_size=12),
)
paths = st.lists(segments, max_size=6).map(
    lambda parts: "/" + "/".join(quote(part, safe="") for part in parts)
)
queries = st.dictionaries(
    st.one_of(
        st.sampled_from(
            [
                "size",
                "offset",
                "name",
                "tag",
                "gateway",
                "index",
                "at",
                "consistency",
                "format",
                "since",
                "until",
            ]
        ),
        st.just("filter[labels.a]"),
        st.just("filter[labels.a][x]"),
        st.text(max_size=6),
    ),
    st.one_of(st.sampled_from(["", "-1", "1", "x", "k8s", "local", "9" * 25]), st.text(max_size=8)),
    max_size=3,
)


class Served:
    """A worker and a client on a loop that lives through all examples."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._start())

    async def _start(self) -> None:
        self.store = MemoryStore()
        issuer = {"RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER": "true"}
        self.worker = Worker(load(None, ENVIRON | issuer).config, self.store)
        await self.worker.start()
        self.session = aiohttp.ClientSession()
        self.base = f"http://127.0.0.1:{self.worker.ports['apiServer.http.port']}"

    async def _call(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        async with self.session.request(method, self.base + path, **options) as response:
            return response.status, await response.text()

    def call(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        return self.loop.run_until_complete(self._call(method, path, **options))

    def close(self) -> None:
        async def close() -> None:
            await self.session.close()
            await self.worker.stop()
            await self.store.close()

        self.loop.run_until_complete(close())
        self.loop.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    served.call("PUT", "/meshes/default", json={"type": "Mesh", "name": "default"})
    for path, document in SECRETS.items():
        assert served.call("PUT", path, json=document)[0] == 201
    yield served
    served.close()


# Whoever is behind a proxy is nobody, and must not see what only administrators may.
REMOTE = {"X-Forwarded-For": "10.0.0.1"}
HIDDEN = base64.b64encode(b"what-only-administrators-see").decode()
SECRETS = {
    "/meshes/default/secrets/s": {"type": "Secret", "mesh": "default", "name": "s", "data": HIDDEN},
    "/global-secrets/g": {"type": "GlobalSecret", "name": "g", "data": HIDDEN},
}
# In any spelling: as stored, decoded, and the beginning of each private key and token.
NEVER = (HIDDEN, "what-only-administrators-see", "PRIVATE KEY", "LS0tLS1CRUdJTi", "eyJhbGciOi")


def check(answer: tuple[int, str]) -> None:
    status, text = answer
    assert status < 500, text
    assert "Traceback" not in text and 'File "' not in text and ".py" not in text, text
    if status >= 400:
        assert '"title"' in text, text


@FUZZ
@given(document=documents, kind=st.sampled_from(KIND_PATHS), as_yaml=st.booleans())
def test_documents(served: Served, document: Any, kind: str, as_yaml: bool) -> None:
    try:
        text = yaml.safe_dump(document, allow_unicode=True)
        body = text.encode()
    except UnicodeEncodeError:
        return
    scope = next(k.scope for k in KINDS.values() if k.path == kind)
    path = f"/meshes/default/{kind}/x" if scope == "mesh" else f"/{kind}/x"
    declared = "application/yaml" if as_yaml else "application/json"
    check(served.call("PUT", path, data=body, headers={"Content-Type": declared}))
    check(served.call("POST", "/transactions", data=body, headers={"Content-Type": "application/yaml"}))
    check(served.call("GET", path))


@FUZZ
@given(path=paths, query=queries, method=st.sampled_from(["GET", "PUT", "DELETE", "POST", "PATCH"]))
def test_paths_and_queries(served: Served, path: str, query: dict[str, str], method: str) -> None:
    if method == "DELETE" and path.strip("/") == "meshes/default":
        return
    check(served.call(method, path, params=query))


@FUZZ
@given(
    value=st.text(
        st.characters(min_codepoint=32, max_codepoint=255, blacklist_characters="\x7f"), max_size=40
    ),
    name=st.sampled_from(
        [
            "If-Match",
            "If-None-Match",
            "X-Raftmesh-Min-Index",
            "X-Raftmesh-Request-Id",
            "X-Raftmesh-Reason",
            "Content-Type",
        ]
    ),
)
def test_headers(served: Served, name: str, value: str) -> None:
    body = b'{"type": "Mesh", "name": "other"}'
    check(served.call("PUT", "/meshes/other", data=body, headers={name: value}))
    check(served.call("GET", "/meshes/other", headers={name: value}))


# --- nothing leaks ------------------------------------------------------------------------

secret_paths = st.sampled_from(
    [
        *SECRETS,
        "/secrets",
        "/global-secrets",
        "/globalsecrets",
        "/meshes/default/secrets",
        "/meshes/default/globalsecrets",
        "/globalsecrets/admin-user-token",
        "/global-secrets/user-token-signing-key-1",
        "/history",
        "/config",
        "/_kri/kri_s_default___s_",
        "/meshes/default/secrets/s/_overview",
        "/meshes/default/secrets/s/_resources/dataplanes",
        "/global-insights",
        "/transactions",
        "/cluster/backup",
        "/openapi.json",
        "/metrics",
    ]
)
told = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["Secret", "GlobalSecret", "Mesh"]),
        "format": st.sampled_from(["k8s", "jsonl", "json", "x"]),
        "include": st.sampled_from(["changes", "diff"]),
        "dryRun": st.just("true"),
        "at": st.sampled_from(["1", "5", "7"]),
        "size": st.just("1000"),
        "consistency": st.just("linearizable"),
        "filter[labels.kuma.io/mesh]": st.just("default"),
    },
)


@FUZZ
@given(
    path=st.one_of(secret_paths, paths),
    query=told,
    method=st.sampled_from(["GET", "GET", "HEAD", "PUT", "POST", "DELETE"]),
    body=st.sampled_from([None, *SECRETS.values(), [*SECRETS.values()], {"data": 5}]),
)
def test_no_answer_to_a_stranger_holds_a_secret(
    served: Served, path: str, query: dict[str, str], method: str, body: Any
) -> None:
    if method in ("PUT", "DELETE") and path == "/meshes/default":
        return
    answer = served.call(method, path, params=query, json=body, headers=REMOTE)
    if method != "HEAD":
        check(answer)
    assert not [text for text in NEVER if text in answer[1]], answer[1]


@FUZZ
@given(
    header=st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map("Bearer {}".format),
        st.lists(st.text("abcXYZ019_-=", max_size=30), min_size=1, max_size=4).map(
            lambda parts: "Bearer " + ".".join(parts)
        ),
        st.fixed_dictionaries({"alg": scalars, "kid": scalars, "typ": scalars}).map(
            lambda head: f"Bearer {encoded(head)}.{encoded({'Name': 'mesh-system:admin', 'exp': 2**40})}.AAAA"
        ),
    )
)
def test_no_token_is_guessed(served: Served, header: str) -> None:
    status, text = served.call("GET", "/who-am-i", headers=REMOTE | {"Authorization": header})
    check((status, text))
    assert status == 401 and "mesh-system:admin" not in text


@FUZZ
@given(at=st.integers(0, 10_000), to=st.integers(0, 255))
def test_a_token_that_was_changed_is_none(served: Served, at: int, to: int) -> None:
    body = {"name": "jane", "groups": ["ops"], "validFor": "1h"}
    token = served.call("POST", "/tokens/user", json=body)[1]
    place = at % len(token)
    changed = token[:place] + "abcdefghijklmnopqrstuvwxyz0123456789-_."[to % 39] + token[place + 1 :]
    status, text = served.call("GET", "/who-am-i", headers=REMOTE | {"Authorization": f"Bearer {changed}"})
    check((status, text))
    # The last character of a part holds bits that mean nothing.
    assert status == 401 or '"name":"jane","groups":["ops",' in text


def encoded(value: Any) -> str:
    try:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    except (TypeError, ValueError):
        return "e30"
