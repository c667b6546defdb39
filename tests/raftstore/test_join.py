"""Join tokens: what each side believes, and what neither lets through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from raftstore import join
from raftstore.certs import BadCertificate, cluster_id, create_ca, save_node, sign_request
from raftstore.errors import Unavailable
from raftstore.join import BadAnswer, Grant, Token
from raftstore.members import Refused

NOW_MS = 1_000_000
VOTERS = {"n1": "10.0.0.1:5683"}


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    create_ca(tmp_path / "tls")
    return tmp_path / "tls"


@pytest.fixture
def token(tls: Path) -> Token:
    return join.new_token(cluster_id(tls / "ca.pem"))


def grant_of(token: Token, **changed: Any) -> Grant:
    return replace(Grant(token.key, NOW_MS + 1, voter=False), **changed)


def test_a_token_survives_its_text(token: Token) -> None:
    assert join.parse_token(f" {token.text()}\n") == token
    assert token.secret not in grant_of(token).encode().decode()


@pytest.mark.parametrize(
    "text", ["", "rmj1", "rmj1.a.b.c", "rmj2." + "0" * 16 + "." + "0" * 64 + "." + "0" * 32]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="no join token"):
        join.parse_token(text)


def test_the_whole_way(tls: Path, token: Token, tmp_path: Path) -> None:
    key, grant = join.new_key(), grant_of(token)
    request = join.make_request(token, "n4", "10.0.0.4:5683", key)
    assert join.check_request(request, grant, NOW_MS)[:2] == ("n4", "10.0.0.4:5683")
    answer = join.make_answer(grant, *join.sign(str(tls), request, "n4"), VOTERS)
    ca, certificate, voters = join.check_answer(token, "n4", key, answer)
    assert ca == (tls / "ca.pem").read_bytes() and voters == VOTERS
    assert x509.load_pem_x509_certificate(certificate).public_key() == key.public_key()


def test_the_secret_is_in_nothing_that_travels(tls: Path, token: Token) -> None:
    assert token.secret not in str(join.make_request(token, "n4", "a:1", join.new_key()))


def test_requests_that_are_refused(token: Token) -> None:
    request = join.make_request(token, "n4", "a:1", join.new_key())
    other = join.new_token(token.cluster_id)
    for bad, grant, why in [
        (request, None, "unknown here"),
        (request, grant_of(other), "not made with it"),
        (request | {"node": "n5"}, grant_of(token), "not made with it"),
        (request | {"mac": "ä"}, grant_of(token), "not made with it"),
        ({}, grant_of(token), "not made with it"),
        (request, grant_of(token, expires_ms=NOW_MS - 1), "has expired"),
        (request, grant_of(token, node_id="n9"), "is for n9, not for n4"),
        (request, grant_of(token, used_by="another"), "has been used"),
    ]:
        with pytest.raises(Refused, match=why):
            join.check_request(bad, grant, NOW_MS)


def test_half_a_character_in_a_request(tls: Path, token: Token) -> None:
    request = join.make_request(token, "n4", "10.0.0.4:5683", join.new_key())
    with pytest.raises(Refused, match="not made with it"):
        join.check_request(request | {"mac": "\ud800"}, grant_of(token), NOW_MS)
    with pytest.raises(Refused, match="certificate request"):
        join.sign(str(tls), request | {"csr": "\ud800"}, "n4")


def test_the_same_request_again_is_answered_again(token: Token) -> None:
    request, grant = join.make_request(token, "n4", "a:1", join.new_key()), grant_of(token)
    mark = join.check_request(request, grant, NOW_MS)[2]
    assert join.check_request(request, join.used(grant, mark), NOW_MS + 10_000)[2] == mark


def test_answers_that_are_not_the_clusters(tls: Path, token: Token, tmp_path: Path) -> None:
    key, grant = join.new_key(), grant_of(token)
    request = join.make_request(token, "n4", "a:1", key)
    ca, certificate = join.sign(str(tls), request, "n4")
    create_ca(tmp_path / "evil")
    evil_ca, evil = join.sign(str(tmp_path / "evil"), request, "n4")
    foreign = join.sign(str(tls), join.make_request(token, "n4", "a:1", join.new_key()), "n4")[1]
    for answer, why in [
        (join.make_answer(grant, ca, certificate, VOTERS) | {"voters": {}}, "not of the cluster"),
        (join.make_answer(grant, evil_ca, evil, VOTERS), "not that of the token"),
        (join.make_answer(grant, ca, evil, VOTERS), "not one of that CA"),
        (join.make_answer(grant, ca, foreign, VOTERS), "not one of that CA"),
        (join.make_answer(grant, ca, "no pem", VOTERS), "not understood"),
        ({}, "not of the cluster"),
    ]:
        with pytest.raises(BadAnswer, match=why):
            join.check_answer(token, "n4", key, answer)


def test_without_the_cas_key_another_replica_must_be_asked(tls: Path, token: Token) -> None:
    request = join.make_request(token, "n4", "a:1", join.new_key())
    (tls / "ca.key").unlink()
    for directory in (str(tls), ""):
        with pytest.raises(Unavailable, match=r"no ca\.key"):
            join.sign(directory, request, "n4")


@pytest.mark.parametrize(
    "csr", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"]
)
def test_a_certificate_request_that_is_none(tls: Path, csr: bytes) -> None:
    with pytest.raises(BadCertificate, match="certificate request"):
        sign_request(tls, "n4", csr)


def test_another_clusters_ca_is_not_replaced(tls: Path, tmp_path: Path) -> None:
    save_node(tmp_path / "new", "n4", b"ca", b"cert", b"key")
    assert (tmp_path / "new" / "n4.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadCertificate, match="another cluster"):
        save_node(tls, "n4", b"ca", b"cert", b"key")
