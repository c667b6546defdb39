"""Where the authority of a mesh is found."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from cp.ca.backends import Backend, backend_of, ca_settings, enabled
from cp.ca.x509 import NoAuthority, Pair
from mesh.view import View
from tests.xds.config.worlds import view_of


def with_backend(kind: str, conf: Any = None, *, more: Any = (), **fields: Any) -> View:
    backend = {"name": "ca-1", "type": kind, "conf": conf or {}, **fields}
    mesh = {"type": "Mesh", "name": "m", "mtls": {"enabledBackend": "ca-1", "backends": [backend]}}
    return view_of([mesh, *more])


def secret(name: str, value: bytes) -> dict[str, str]:
    return {"type": "Secret", "mesh": "m", "name": name, "data": base64.b64encode(value).decode()}


def test_without_mtls_there_is_none() -> None:
    assert backend_of(view_of([{"type": "Mesh", "name": "m"}]), "m") is None
    assert backend_of(view_of([]), "m") is None


def test_a_builtin_authority_is_in_secrets_with_kumas_names() -> None:
    kept = [secret("m.ca-builtin-cert-ca-1", b"cert"), secret("m.ca-builtin-key-ca-1", b"key")]
    rotation = {"rotation": {"expiration": "1h"}}
    found = backend_of(with_backend("builtin", more=kept, dpCert=rotation), "m")
    assert found == Backend("ca-1", Pair(b"cert", b"key"), 3600.0)
    with pytest.raises(NoAuthority, match=r"m\.ca-builtin-key-ca-1"):
        backend_of(with_backend("builtin", more=kept[:1]), "m")


def test_certificates_live_a_day_unless_told_otherwise_and_never_no_time() -> None:
    kept = [secret("m.ca-builtin-cert-ca-1", b"cert"), secret("m.ca-builtin-key-ca-1", b"key")]
    default = backend_of(with_backend("builtin", more=kept), "m")
    assert default is not None and default.leaf_lifetime_s == 86_400
    short = backend_of(with_backend("builtin", more=kept, dpCert={"rotation": {"expiration": "1ms"}}), "m")
    assert short is not None and short.leaf_lifetime_s == 10


def test_a_provided_authority_is_where_the_user_says(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(b"from a file")
    inline = base64.b64encode(b"inline").decode()
    for source, value in (
        ({"secret": "s"}, b"from a secret"),
        ({"file": str(file)}, b"from a file"),
        ({"inline": inline}, b"inline"),
        ({"inlineString": "text"}, b"text"),
    ):
        conf = {"cert": source, "key": {"inlineString": "key"}}
        view = with_backend("provided", conf, more=[secret("s", b"from a secret")])
        found = backend_of(view, "m")
        assert found is not None and found.pair == Pair(value, b"key")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({}, "conf.cert names no"),
        (None, "conf.cert names no"),
        ({"secret": "gone"}, "no Secret 'gone'"),
        ({"file": "/nowhere/ca.pem"}, "No such file"),
        ({"inline": "%%%"}, "no base64"),
    ],
)
def test_what_is_not_to_be_had_says_why(source: Any, reason: str) -> None:
    with pytest.raises(NoAuthority, match=reason):
        backend_of(with_backend("provided", {"cert": source, "key": {"inlineString": "key"}}), "m")


def test_settings_of_an_authority_to_be_made() -> None:
    def settings(conf: Any) -> tuple[int, float]:
        backend = enabled(with_backend("builtin", {"caCert": conf}), "m")
        assert backend is not None
        return ca_settings(backend)

    year_s = 31_536_000.0
    assert settings({}) == (2048, 10 * year_s)
    assert settings({"RSAbits": 4096, "expiration": "1y"}) == (4096, year_s)
    assert settings({"RSAbits": 512}) == (2048, 10 * year_s)
    assert settings({"expiration": "soon"}) == (2048, 10 * year_s)
