"""Authorities and the certificates that they issue."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cp.ca.x509 import SKEW_S, Authority, NoAuthority, Pair, new_authority

NOW_S = 1_700_000_000.0
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def pair() -> Pair:
    return new_authority("default", NOW_S, 10 * DAY_S, uri="spiffe://default")


@pytest.fixture(scope="module")
def authority(pair: Pair) -> Authority:
    return Authority(pair)


def test_an_authority_signs_certificates_and_nothing_else(pair: Pair) -> None:
    found = x509.load_pem_x509_certificate(pair.certificate)
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://default"]
    found.verify_directly_issued_by(found)


def test_a_leaf_has_its_names_its_time_and_its_issuer(authority: Authority) -> None:
    uris = ["spiffe://default/web", "kuma://team/a"]
    leaf = authority.issue(NOW_S, DAY_S, uris=uris)
    found = x509.load_pem_x509_certificate(leaf.pair.certificate)
    found.verify_directly_issued_by(authority.certificate)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == uris
    assert names.critical and len(list(found.subject)) == 0
    assert found.not_valid_before_utc.timestamp() == leaf.not_before_s == NOW_S - SKEW_S
    assert found.not_valid_after_utc.timestamp() == leaf.not_after_s == NOW_S + DAY_S
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_leaf_does_not_outlive_its_authority(authority: Authority) -> None:
    assert authority.issue(NOW_S, 365 * DAY_S, uris=["spiffe://a/b"]).not_after_s == authority.not_after_s


def test_an_expired_authority_issues_nothing(authority: Authority) -> None:
    with pytest.raises(ValueError, match="not valid"):
        authority.issue(NOW_S + 11 * DAY_S, DAY_S, uris=["spiffe://a/b"])


def test_keys_are_of_the_type_that_is_wanted(authority: Authority) -> None:
    keys = [
        load_pem_private_key(authority.issue(NOW_S, DAY_S, dns="x", key=kind).pair.key, None)
        for kind in ("ecdsa", "rsa")
    ]
    assert isinstance(keys[0], ec.EllipticCurvePrivateKey)
    assert isinstance(keys[1], rsa.RSAPrivateKey) and keys[1].key_size == 2048


def test_keys_are_not_shown(authority: Authority) -> None:
    leaf = authority.issue(NOW_S, DAY_S, dns="x")
    assert "PRIVATE" not in repr(leaf) and "key" not in repr(leaf.pair)


def test_openssl_takes_the_chain(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "leaf.pem"
    leaf = authority.issue(NOW_S, DAY_S, dns="x").pair
    file.write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.load_verify_locations(cadata=authority.roots.decode())


def test_what_is_no_authority(pair: Pair, authority: Authority) -> None:
    leaf = authority.issue(NOW_S, DAY_S, dns="x").pair
    for wrong, reason in (
        (Pair(b"", pair.key), "PEM"),
        (Pair(pair.certificate, b"nonsense"), "PEM"),
        (Pair(pair.certificate, leaf.key), "not the certificate's"),
        (leaf, "basic constraints"),
    ):
        with pytest.raises(NoAuthority, match=reason):
            Authority(wrong)
