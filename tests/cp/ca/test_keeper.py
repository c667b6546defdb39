"""Authorities that the control plane makes itself."""

from __future__ import annotations

import asyncio

from cryptography import x509

from cp.ca.backends import backend_of
from cp.ca.keeper import admin_bundle, admin_client, keep_authorities
from cp.ca.x509 import Authority, NoAuthority
from cp.up.story import until
from tests.cp.conftest import Api, ApiFactory
from tests.xds.config.worlds import MTLS
from xds.config.admintls import ADMIN_CA, admin_tls, sort_pem
from xds.engine import Engine

MESH = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"], "mtls": MTLS}
SECRETS = ("default.ca-builtin-cert-ca-1", "default.ca-builtin-key-ca-1")


async def both_secrets(api: Api) -> None:
    async def there() -> bool:
        return all(api.worker.live.view.get("Secret", "default", name) is not None for name in SECRETS)

    await until("the authority of the mesh", there)


async def test_mtls_brings_an_authority(api: Api) -> None:
    assert (await api.put("/meshes/default", MESH)).status == 201
    await both_secrets(api)
    view = api.worker.live.view
    assert len({view.get("Secret", "default", name).version for name in SECRETS}) == 1  # type: ignore[union-attr]
    found = backend_of(view, "default")
    assert found is not None
    assert Authority(found.pair).certificate.public_key().key_size == 2048  # type: ignore[union-attr]


async def test_it_stays_when_mtls_is_switched_off_and_on(api: Api) -> None:
    await api.put("/meshes/default", MESH)
    await both_secrets(api)
    before = backend_of(api.worker.live.view, "default")
    assert (await api.put("/meshes/default", {**MESH, "mtls": {**MTLS, "enabledBackend": ""}})).status == 200
    assert (await api.put("/meshes/default", MESH)).status == 200
    assert backend_of(api.worker.live.view, "default") == before


async def test_it_cannot_be_deleted_while_it_is_used(api: Api) -> None:
    await api.put("/meshes/default", MESH)
    await both_secrets(api)
    assert (await api.delete(f"/meshes/default/secrets/{SECRETS[0]}")).status == 400


async def test_half_an_authority_is_not_overwritten(api: Api) -> None:
    await api.mesh()
    half = {"type": "Secret", "mesh": "default", "name": SECRETS[0], "data": "AAAA"}
    assert (await api.put(f"/meshes/default/secrets/{SECRETS[0]}", half)).status == 201
    await api.put("/meshes/default", MESH)
    # A second mesh, which gets its authority after the first one was looked at.
    await api.put("/meshes/other", {**MESH, "name": "other"})

    async def there() -> bool:
        try:
            return backend_of(api.worker.live.view, "other") is not None
        except NoAuthority:
            return False

    await until("the authority of the other mesh", there)
    view = api.worker.live.view
    kept = view.get("Secret", "default", SECRETS[0])
    assert kept is not None and kept.spec.data == "AAAA"
    assert view.get("Secret", "default", SECRETS[1]) is None


async def test_a_federated_zone_makes_none(make_api: ApiFactory) -> None:
    """It has them from Global: the keeper has nothing to do there, and ends."""
    api = await make_api(RAFTMESH_MULTIZONE_ZONE_GLOBAL_ADDRESS="grpcs://127.0.0.1:1")
    worker = api.worker
    await asyncio.wait_for(keep_authorities(worker.config, worker.resources, worker.live), 60.0)


async def test_the_first_proxy_brings_the_admin_authority(api: Api) -> None:
    await api.mesh()
    networking = {"address": "10.0.0.1", "inbound": [{"port": 80, "tags": {"kuma.io/service": "a"}}]}
    body = {"type": "Dataplane", "mesh": "default", "name": "a", "networking": networking}
    assert api.worker.live.view.get("GlobalSecret", "", ADMIN_CA) is None
    await api.put("/meshes/default/dataplanes/a", body)

    async def there() -> bool:
        return api.worker.live.view.get("GlobalSecret", "", ADMIN_CA) is not None

    await until("the authority of admin interfaces", there)
    tls = Engine(api.worker.live.view).get(admin_tls)
    assert tls is not None
    shown, ca = x509.load_pem_x509_certificate(tls.certificate), x509.load_pem_x509_certificate(tls.ca)
    shown.verify_directly_issued_by(ca)


def test_the_control_plane_has_a_certificate_for_admin_interfaces() -> None:
    bundle = admin_bundle(1_700_000_000.0)
    client = x509.load_pem_x509_certificate(admin_client(bundle, 1_700_000_000.0).certificate)
    client.verify_directly_issued_by(x509.load_pem_x509_certificate(sort_pem(bundle).certificates[0]))
    names = client.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kuma-cp"]
