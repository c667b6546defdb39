"""Who is due for a certificate, in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cp.ca.backends import Backend
from cp.ca.rota import Entry, Rota, Signer
from cp.ca.x509 import Authority, Leaf, Pair, new_authority
from xds.config.identity import Identity


@pytest.fixture(scope="module")
def signer() -> Signer:
    pair = new_authority("m", 0, 1000, key_type="ecdsa")
    return Signer(Backend("ca-1", pair, 100.0), "ecdsa", Authority(pair))


def identity(name: str, mesh: str = "m") -> Identity:
    return Identity(mesh, name, "own", "ca", (name,), ())


def leaf(begin_s: float) -> Leaf:
    return Leaf(Pair(b"", b""), begin_s, begin_s + 100)


def due(rota: Rota, now_s: float) -> list[Entry]:
    return [entry for entry, _ in rota.due(now_s)]


def test_a_proxy_is_due_once_its_mesh_has_an_authority(signer: Signer) -> None:
    rota = Rota()
    entry = rota.open(identity("a"))
    assert due(rota, 0) == []
    rota.set_signer("m", signer)
    assert due(rota, 0) == [entry]
    assert due(rota, 0) == []  # it is being issued


def test_it_is_due_again_after_four_fifths_of_the_certificates_life(signer: Signer) -> None:
    rota = Rota()
    rota.set_signer("m", signer)
    entry = rota.open(identity("a"))
    assert due(rota, 0) == [entry]
    rota.issued(entry, signer, leaf(0))
    assert (due(rota, 79), rota.next_s()) == ([], 80)
    assert due(rota, 80) == [entry]
    rota.issued(entry, signer, leaf(80))
    assert rota.next_s() == 160


def test_another_authority_makes_everybody_of_the_mesh_due(signer: Signer) -> None:
    rota = Rota()
    rota.set_signer("m", signer)
    one, two = rota.open(identity("a")), rota.open(identity("b"))
    for entry in due(rota, 0):
        rota.issued(entry, signer, leaf(0))
    other = replace(signer, backend=replace(signer.backend, name="ca-2"))
    rota.set_signer("m", signer)
    assert due(rota, 1) == []
    rota.set_signer("m", other)
    assert due(rota, 1) == [one, two]


def test_an_authority_that_changes_while_a_certificate_is_made_asks_for_another(signer: Signer) -> None:
    rota = Rota()
    rota.set_signer("m", signer)
    entry = rota.open(identity("a"))
    assert due(rota, 0) == [entry]
    rota.set_signer("m", replace(signer, key="rsa"))
    assert due(rota, 0) == []  # one at a time
    rota.issued(entry, signer, leaf(0))
    assert due(rota, 0) == [entry]


def test_without_an_authority_nobody_is_due_and_nothing_is_forgotten(signer: Signer) -> None:
    rota = Rota()
    rota.set_signer("m", signer)
    entry = rota.open(identity("a"))
    rota.issued(due(rota, 0)[0], signer, leaf(0))
    rota.set_signer("m", None)
    assert due(rota, 90) == [] and entry.leaf is not None
    rota.set_signer("m", signer)
    assert due(rota, 90) == [entry]


def test_what_failed_waits_for_another_authority(signer: Signer) -> None:
    rota = Rota()
    rota.set_signer("m", signer)
    entry = rota.open(identity("a"))
    rota.failed(due(rota, 0)[0])
    assert due(rota, 1) == []
    rota.set_signer("m", replace(signer, key="rsa"))
    assert due(rota, 1) == [entry]


def test_who_left_is_not_due(signer: Signer) -> None:
    rota = Rota()
    rota.set_signer("m", signer)
    entry = rota.open(identity("a"))
    rota.issued(due(rota, 0)[0], signer, leaf(0))
    rota.close(entry)
    rota.close(entry)
    assert due(rota, 200) == [] and rota.meshes == frozenset()
