"""The cluster's CA and the replicas' certificates."""

from __future__ import annotations

import datetime
import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from raftstore.certs import (
    BadCertificate,
    Identity,
    check_node,
    check_node_id,
    cluster_id,
    create_ca,
    issue,
    peer_identity,
)
from raftstore.tls import load_tls


def decoded(path: Path) -> dict:
    return ssl._ssl._test_decode_cert(str(path))  # what getpeercert() gives for it


def test_a_node_is_named_by_uri_and_common_name(tmp_path: Path) -> None:
    cluster = create_ca(tmp_path)
    path = issue(tmp_path, "n1", ["n1.example", "10.0.0.1"])
    assert peer_identity(decoded(path)) == Identity(cluster, "n1")
    names = decoded(path)["subjectAltName"]
    assert ("DNS", "n1.example") in names and ("IP Address", "10.0.0.1") in names
    assert ("URI", f"raftmesh://{cluster}/n1") in names


def test_keys_are_elliptic_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    create_ca(tmp_path)
    path = issue(tmp_path, "n1")
    for name in ("ca.key", "n1.key"):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ca.key", "ca.pem", "n1.key", "n1.pem"]


def test_the_cluster_id_comes_from_the_ca_alone(tmp_path: Path) -> None:
    first, second = create_ca(tmp_path / "a"), create_ca(tmp_path / "b")
    assert first != second and len(first) == 32
    assert cluster_id(tmp_path / "a" / "ca.pem") == first


def test_an_authority_is_never_overwritten(tmp_path: Path) -> None:
    create_ca(tmp_path)
    before = (tmp_path / "ca.key").read_bytes()
    with pytest.raises(BadCertificate, match="exists already"):
        create_ca(tmp_path)
    assert (tmp_path / "ca.key").read_bytes() == before


@pytest.mark.parametrize("node_id", ["", "-a", "a-", "a/b", "a b", "x" * 64, "ü", "a\n"])
def test_a_node_id_must_be_a_plain_name(node_id: str, tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match="node id"):
        check_node_id(node_id)


def test_a_certificate_of_another_cluster_or_node_is_named(tmp_path: Path) -> None:
    create_ca(tmp_path / "a")
    create_ca(tmp_path / "b")
    issue(tmp_path / "a", "n1")
    (tmp_path / "b" / "n1.pem").write_bytes((tmp_path / "a" / "n1.pem").read_bytes())
    with pytest.raises(BadCertificate, match=r"identifies raftmesh://.*/n1, and this replica is"):
        check_node(tmp_path / "b", "n1")
    (tmp_path / "a" / "n2.pem").write_bytes((tmp_path / "a" / "n1.pem").read_bytes())
    with pytest.raises(BadCertificate, match=r"/n1, and this replica is .*/n2"):
        check_node(tmp_path / "a", "n2")


def test_an_expired_certificate_says_until_when_and_how_to_renew(tmp_path: Path) -> None:
    create_ca(tmp_path)
    issue(tmp_path, "n1", days=1)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    check_node(tmp_path, "n1")
    with pytest.raises(BadCertificate, match=r"valid from .* renew it with `raftmesh cert node n1`"):
        check_node(tmp_path, "n1", later)


def test_missing_or_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match=r"ca\.key.*No such file"):
        issue(tmp_path, "n1")
    create_ca(tmp_path)
    with pytest.raises(BadCertificate, match=r"n1\.pem"):
        load_tls(tmp_path, "n1")
    issue(tmp_path, "n1")
    (tmp_path / "n1.key").write_text("nonsense")
    with pytest.raises(BadCertificate, match=r"n1\.key"):
        load_tls(tmp_path, "n1")
    (tmp_path / "n1.pem").write_text("nonsense")
    with pytest.raises(BadCertificate, match=r"n1\.pem holds no certificate"):
        load_tls(tmp_path, "n1")


def test_a_key_of_another_node_does_not_fit(tmp_path: Path) -> None:
    create_ca(tmp_path)
    issue(tmp_path, "n1")
    issue(tmp_path, "n2")
    (tmp_path / "n1.key").write_bytes((tmp_path / "n2.key").read_bytes())
    with pytest.raises(BadCertificate, match="KEY_VALUES_MISMATCH"):
        load_tls(tmp_path, "n1")


def test_the_authority_can_be_replaced_and_the_cluster_keeps_its_id(tmp_path: Path) -> None:
    """ca.pem lists the old certificate first; ca.key is the new one's."""
    old = create_ca(tmp_path / "old")
    create_ca(tmp_path / "new")
    bundle = (tmp_path / "old" / "ca.pem").read_bytes() + (tmp_path / "new" / "ca.pem").read_bytes()
    (tmp_path / "new" / "ca.pem").write_bytes(bundle)
    path = issue(tmp_path / "new", "n1")
    assert peer_identity(decoded(path)) == Identity(old, "n1")
    assert load_tls(tmp_path / "new", "n1").identity.cluster_id == old


def test_a_renewed_certificate_is_taken_over_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    create_ca(tmp_path)
    issue(tmp_path, "n1")
    issue(tmp_path, "n2")
    tls = load_tls(tmp_path, "n1")
    assert not tls.renewed()
    issue(tmp_path, "n1")
    assert tls.renewed() and not tls.renewed()
    (tmp_path / "n1.pem").write_bytes((tmp_path / "n2.pem").read_bytes())
    with pytest.raises(BadCertificate, match="/n2, and this replica is"):
        tls.renewed()
    issue(tmp_path, "n1")
    assert tls.renewed()


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        ({}, "0 URIs"),
        ({"subjectAltName": (("URI", "raftmesh://c/a"), ("URI", "raftmesh://c/b"))}, "2 URIs"),
        ({"subjectAltName": (("URI", "spiffe://c/a"),)}, "is not raftmesh"),
        ({"subjectAltName": (("URI", "raftmesh://c"),)}, "is not raftmesh"),
        (
            {"subjectAltName": (("URI", "raftmesh://c/a"),), "subject": ((("commonName", "b"),),)},
            "disagrees",
        ),
    ],
)
def test_other_certificates_identify_nobody(certificate: dict, why: str) -> None:
    with pytest.raises(BadCertificate, match=why):
        peer_identity(certificate)
