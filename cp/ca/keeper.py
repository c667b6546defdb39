"""Authorities that the control plane makes itself: written once, whichever replica is first.

Two replicas may make a key pair at the same time; the log takes one, since both transactions demand that
nothing is there yet, and the loser forgets its own. Nothing issues before it has seen the pair in its view.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time

from cp.ca.backends import BUILTIN, ca_settings, cert_secret, enabled, key_secret
from cp.ca.x509 import Authority, Pair, new_authority
from cp.config_schema import Config
from cp.limits import DEFAULTS_RETRY_S
from cp.live import LiveView
from cp.plan import Expect, PutOp
from cp.problems import Problem
from cp.resources import Origin, Resources
from mesh.kinds.mesh import CertificateAuthorityBackend
from raftstore.errors import StoreError
from xds.config.admintls import ADMIN_CA, CONTROL_PLANE_NAME

log = logging.getLogger(__name__)

ACTOR = "mesh-system:control-plane"
TEN_YEARS_S = 10 * 365 * 86_400
PROXIES = ("Dataplane", "ZoneIngress", "ZoneEgress")


async def keep_authorities(config: Config, resources: Resources, live: LiveView) -> None:
    """Give each mesh with a builtin backend its authority, until cancelled.

    A federated zone gets meshes with their authorities from Global.
    """
    if config.federated:
        return
    async for _ in live.commits(live.index):
        for mesh in live.view.list("Mesh"):
            backend = enabled(live.view, mesh.name)
            if backend is not None and backend.type == BUILTIN:
                await _ensure(mesh.name, backend, resources, live)


async def _ensure(
    mesh: str, backend: CertificateAuthorityBackend, resources: Resources, live: LiveView
) -> None:
    names = cert_secret(mesh, backend.name), key_secret(mesh, backend.name)
    if all(live.view.get("Secret", mesh, name) is not None for name in names):
        return
    if any(live.view.get("Secret", mesh, name) is not None for name in names):
        log.error("mesh %s has only one of %s and %s: restore the other, or delete both", mesh, *names)
        return
    bits, lifetime_s = ca_settings(backend)
    pair = await asyncio.to_thread(
        new_authority, mesh, time.time(), lifetime_s, uri=f"spiffe://{mesh}", bits=bits
    )
    written = [
        PutOp(_document("Secret", name, data, mesh), expect=Expect(absent=True))
        for name, data in zip(names, (pair.certificate, pair.key), strict=True)
    ]
    await _write(written, resources, f"mTLS of mesh {mesh} needs an authority")


async def create_admin_authority(config: Config, resources: Resources, live: LiveView) -> None:
    """The authority behind the admin interfaces of proxies, and the certificate that they show.

    It is made with the first proxy: a control plane without any needs none.
    """
    if config.mode == "global":
        return
    async for _ in live.commits(live.index):
        if any(live.view.list(kind) for kind in PROXIES):
            break
    if live.view.get("GlobalSecret", "", ADMIN_CA) is not None:
        return
    data = await asyncio.to_thread(admin_bundle, time.time())
    written = PutOp(_document("GlobalSecret", ADMIN_CA, data), expect=Expect(absent=True))
    await _write([written], resources, "the admin interfaces of proxies need an authority")


def admin_bundle(now_s: float) -> bytes:
    """The contents of `envoy-admin-ca`: PEM of the authority, then of what proxies show.

    One certificate for all proxies, kept: were it made anew at each start, each start would replace
    the admin listener of every proxy.
    """
    ca = new_authority("envoy-admin-ca", now_s, TEN_YEARS_S, key_type="ecdsa")
    shown = Authority(ca).issue(now_s, TEN_YEARS_S, dns="envoy-admin").pair
    return ca.certificate + ca.key + shown.certificate + shown.key


def admin_client(bundle: bytes, now_s: float) -> Pair:
    """A certificate with which the control plane opens admin interfaces. Raises NoAuthority."""
    certificate, _, rest = bundle.partition(_END_OF_CERTIFICATE)
    key, _, _ = rest.partition(_BEGIN_OF_CERTIFICATE)
    ca = Authority(Pair(certificate + _END_OF_CERTIFICATE, key))
    return ca.issue(now_s, TEN_YEARS_S, dns=CONTROL_PLANE_NAME).pair


_BEGIN_OF_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_END_OF_CERTIFICATE = b"-----END CERTIFICATE-----\n"


def _document(kind: str, name: str, data: bytes, mesh: str = "") -> dict[str, str]:
    document = {"type": kind, "name": name, "data": base64.b64encode(data).decode()}
    return document | ({"mesh": mesh} if mesh else {})


async def _write(operations: list[PutOp], resources: Resources, cause: str) -> None:
    """Write until it is written, by us or by another replica."""
    while True:
        try:
            await resources.write(operations, Origin(actor=ACTOR, cause=cause))
            log.info("created what was missing: %s", cause)
            return
        except StoreError as error:
            log.debug("%s: not yet, %s", cause, error)
            await asyncio.sleep(DEFAULTS_RETRY_S)
        except Problem as error:
            if error.status not in (400, 409, 412):  # somebody was faster, or the mesh is gone
                log.error("%s: %s", cause, error)
            return
