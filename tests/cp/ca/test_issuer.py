"""Certificates of connected proxies, from the authorities in a worker's view."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509

from cp.ca.issuer import Issued, Issuer, key_type
from cp.ca.x509 import Pair, new_authority
from cp.live import LiveView
from mesh.codec import decode, encode_value
from raftstore.memory import MemoryStore
from raftstore.types import Key, Put, Txn
from tests.xds.config.worlds import MTLS, policy, view_of
from xds import proto
from xds.config.identity import Identity
from xds.types import SECRET

IDENTITY = Identity("default", "web-1", "own", "ca", ("web", "api"), (("team", "a"), ("version", "1")))


class World:
    """A view over a log in memory, and an issuer whose clock the test sets."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.live = LiveView(self.store)
        self.now_s = 1_700_000_000.0
        self.following = asyncio.create_task(self.live.run())
        self.issuer = Issuer(self.live, lambda: self.now_s)

    async def put(self, *documents: dict[str, Any]) -> None:
        resources = [decode(document) for document in documents]
        writes = tuple(Put(Key(*each.key), encode_value(each)) for each in resources)
        outcome = await self.store.submit(Txn(writes))
        assert await self.live.wait_for(outcome.index, 60.0)

    async def authority(self, pair: Pair) -> None:
        await self.put(
            {"type": "Mesh", "name": "default", "mtls": MTLS},
            *(
                {"type": "Secret", "mesh": "default", "name": name, "data": base64.b64encode(data).decode()}
                for name, data in (
                    ("default.ca-builtin-cert-ca-1", pair.certificate),
                    ("default.ca-builtin-key-ca-1", pair.key),
                )
            ),
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    assert await world.live.wait_for(0, 60.0)
    yield world
    world.issuer.close()
    world.following.cancel()
    await asyncio.gather(world.following, return_exceptions=True)
    await world.store.close()


@pytest.fixture(scope="module")
def pair() -> Pair:
    return new_authority("default", 1_700_000_000.0, 1e8, key_type="ecdsa")


class Opened:
    """A proxy's handle, and how often it was told of a change."""

    def __init__(self, world: World, identity: Identity = IDENTITY) -> None:
        self.changed = asyncio.Event()
        self.handle = world.issuer.open(identity, self.changed.set)

    async def certificate(self) -> x509.Certificate:
        """The next certificate that it gets."""
        async with asyncio.timeout(60):
            await self.changed.wait()
        self.changed.clear()
        body = self.handle.secrets()["own"].body
        secret = proto.parse(proto.msg_of_url(SECRET), body)
        return x509.load_pem_x509_certificate(secret.tls_certificate.certificate_chain.inline_bytes)


async def test_a_certificate_names_services_and_tags_and_comes_with_its_authority(
    world: World, pair: Pair
) -> None:
    await world.authority(pair)
    opened = Opened(world)
    assert opened.handle.secrets() == {}
    found = await opened.certificate()
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://default/web",
        "spiffe://default/api",
        "kuma://team/a",
        "kuma://version/1",
    ]
    told = world.issuer.issued("default", "web-1")
    assert told == Issued("ca-1", world.now_s, found.not_valid_after_utc.timestamp())
    opened.handle.close()
    assert world.issuer.issued("default", "web-1") is None
    ca = proto.parse(proto.msg_of_url(SECRET), opened.handle.secrets()["ca"].body)
    assert ca.validation_context.trusted_ca.inline_bytes == pair.certificate
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(pair.certificate))


async def test_a_proxy_that_is_there_first_waits_for_the_authority(world: World, pair: Pair) -> None:
    await world.put({"type": "Mesh", "name": "default", "mtls": MTLS})
    opened = Opened(world)
    assert "default.ca-builtin-cert-ca-1" in world.issuer.problems["default"]
    await world.authority(pair)
    assert await opened.certificate()
    assert not world.issuer.problems


async def test_a_new_authority_issues_for_everybody(world: World, pair: Pair) -> None:
    await world.authority(pair)
    opened = [Opened(world), Opened(world, IDENTITY._replace(dataplane="web-2"))]
    for each in opened:
        await each.certificate()
    other = new_authority("default", world.now_s, 1e8, key_type="ecdsa")
    await world.authority(other)
    root = x509.load_pem_x509_certificate(other.certificate)
    for each in opened:
        (await each.certificate()).verify_directly_issued_by(root)


async def test_a_certificate_is_renewed_in_time(world: World, pair: Pair) -> None:
    await world.authority(pair)
    opened = Opened(world)
    first = await opened.certificate()
    world.now_s += 0.8 * 86_400
    # Any event makes the issuer look at its clock, which stands in for the timer here.
    await world.put({"type": "Secret", "mesh": "default", "name": "other", "data": "AAAA"})
    second = await opened.certificate()
    assert second.not_valid_after_utc > first.not_valid_after_utc


async def test_what_is_closed_hears_nothing(world: World, pair: Pair) -> None:
    opened = Opened(world)
    opened.handle.close()
    opened.handle.close()
    await world.authority(pair)
    assert await Opened(world).certificate()
    assert not opened.changed.is_set()


async def test_an_identity_of_a_meshidentity_is_another_providers(world: World, pair: Pair) -> None:
    await world.authority(pair)
    other = Opened(world, IDENTITY._replace(provider="identity"))
    assert await Opened(world).certificate()
    assert other.handle.secrets() == {}
    other.handle.close()


async def test_bytes_that_are_no_authority_are_told(world: World) -> None:
    await world.authority(Pair(b"nonsense", b"nonsense"))
    Opened(world)
    assert "PEM" in world.issuer.problems["default"]


def test_keys_are_rsa_where_only_rsa_ciphers_are_allowed() -> None:
    def found(*ciphers: str) -> str:
        conf = {"tlsCiphers": list(ciphers)} if ciphers else {"mode": "Strict"}
        return key_type(view_of([policy("MeshTLS", "t", rules=[{"default": conf}])]), "default")

    assert found() == "ecdsa"
    assert found("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256") == "ecdsa"
    assert found("ECDHE-RSA-AES128-GCM-SHA256") == "rsa"
