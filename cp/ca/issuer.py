"""The provider of identities of a worker: certificates for the proxies connected to it, from Mesh.mtls.

    Rota (who is due, pure)  ──>  one thread that signs  ──>  the proxy's secrets, told to its source

Every worker issues for its own proxies, since the authority's key is in the view of each: no leader, no
round trip, and a lost quorum stops nobody's renewal. Keys of proxies never enter the log. Proxies whose
identity comes from a MeshIdentity are another provider's (docs/adr/0017).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from cp.ca.backends import backend_of
from cp.ca.rota import Entry, Rota, Signer
from cp.ca.x509 import Authority, KeyType, Leaf, NoAuthority
from cp.live import LiveView
from mesh.reader import Reader
from mesh.view import Changes, View
from raftstore.types import Commit
from xds.config.identity import Identity, authority_secret, certificate_secret
from xds.types import Encoded

log = logging.getLogger(__name__)

# Kinds that decide who issues in a mesh, and how.
_DECISIVE = frozenset({"Mesh", "Secret", "MeshTLS"})


class Issued(NamedTuple):
    """What a proxy was issued last: by which backend, when, and until when it is valid (Unix seconds)."""

    backend: str
    at_s: float
    expires_s: float


class Handle:
    """The certificates of one connected proxy."""

    def __init__(self, issuer: Issuer, entry: Entry, on_change: Callable[[], None]) -> None:
        self._issuer = issuer
        self.entry = entry
        self.on_change = on_change
        self._secrets: Mapping[str, Encoded] = {}

    def secrets(self) -> Mapping[str, Encoded]:
        return self._secrets

    def close(self) -> None:
        self._issuer.forget(self)

    def take(self, leaf: Leaf, roots: bytes) -> None:
        """Show what was issued."""
        identity, pair = self.entry.identity, leaf.pair
        found = [certificate_secret(identity.identity_secret, pair.certificate, pair.key)]
        if identity.ca_secret:
            found.append(authority_secret(identity.ca_secret, roots))
        self._secrets = {secret.name: secret for secret in found}


class Issuer:
    """Implements xds.config.identity.IdentityProvider. Used on the loop; `close` when the worker stops.

    now_s: Unix seconds, for what is written into certificates.
    """

    def __init__(self, live: LiveView, now_s: Callable[[], float] = time.time) -> None:
        self._live = live
        self._now_s = now_s
        self._rota = Rota()
        self._handles: dict[Entry, Handle] = {}
        self._problems: dict[str, str] = {}
        self._issued: dict[tuple[str, str], Issued] = {}
        self._thread = ThreadPoolExecutor(1, "certificates")
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe = live.subscribe(self._moved)

    @property
    def problems(self) -> Mapping[str, str]:
        """Meshes whose authority cannot issue, and why."""
        return self._problems

    def issued(self, mesh: str, dataplane: str) -> Issued | None:
        """What was issued last to a proxy that is connected here."""
        return self._issued.get((mesh, dataplane))

    def open(self, identity: Identity, on_change: Callable[[], None]) -> Handle:
        """Start to provide; the certificate follows, `on_change` tells when."""
        if identity.provider:
            return Handle(self, Entry(identity, open=False), on_change)
        if self._rota.signer(identity.mesh) is None:
            self._look(self._live.view, identity.mesh)
        entry = self._rota.open(identity)
        handle = self._handles[entry] = Handle(self, entry, on_change)
        self._arm()
        return handle

    def forget(self, handle: Handle) -> None:
        """A handle was closed."""
        self._rota.close(handle.entry)
        self._handles.pop(handle.entry, None)
        self._issued.pop(_proxy_of(handle.entry), None)

    def close(self) -> None:
        """Issue nothing more."""
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- who issues ---

    def _moved(self, view: View, changes: Changes, commit: Commit | None) -> None:
        touched = {key.mesh or key.name for key in changes.keys if key.kind in _DECISIVE}
        for mesh in touched & self._rota.meshes:
            self._look(view, mesh)
        if touched:
            self._arm()

    def _look(self, view: View, mesh: str) -> None:
        try:
            self._rota.set_signer(mesh, signer_of(view, mesh, self._rota.signer(mesh)))
            self._problems.pop(mesh, None)
        except NoAuthority as error:
            self._rota.set_signer(mesh, None)
            if self._problems.get(mesh) != str(error):
                log.warning("no certificates for mesh %s: %s", mesh, error)
            self._problems[mesh] = str(error)

    # --- issuing ---

    def _arm(self) -> None:
        """Wake up when the next certificate is due; at once when one is."""
        now_s = self._now_s()
        for entry, signer in self._rota.due(now_s):
            task = asyncio.create_task(self._issue(entry, signer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_s = self._rota.next_s()
        if next_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(next_s - now_s, 0.0), self._arm)

    async def _issue(self, entry: Entry, signer: Signer) -> None:
        uris = uris_of(entry.identity)
        loop, lifetime_s = asyncio.get_running_loop(), signer.backend.leaf_lifetime_s
        try:
            leaf = await loop.run_in_executor(
                self._thread,
                lambda: signer.authority.issue(self._now_s(), lifetime_s, uris=uris, key=signer.key),
            )
        except ValueError as error:  # e.g. a tag value that is no part of a URI, or an expired authority
            log.error("no certificate for %s.%s: %s", entry.identity.mesh, entry.identity.dataplane, error)
            self._rota.failed(entry)
            return
        self._rota.issued(entry, signer, leaf)
        handle = self._handles.get(entry)
        if handle is not None:
            self._issued[_proxy_of(entry)] = Issued(signer.backend.name, self._now_s(), leaf.not_after_s)
            handle.take(leaf, signer.authority.roots)
            handle.on_change()
        self._arm()


def _proxy_of(entry: Entry) -> tuple[str, str]:
    return entry.identity.mesh, entry.identity.dataplane


def signer_of(reader: Reader, mesh: str, known: Signer | None = None) -> Signer | None:
    """Who issues in a mesh; None without mTLS. Raises NoAuthority. known: to be kept if nothing changed."""
    backend = backend_of(reader, mesh)
    if backend is None:
        return None
    key = key_type(reader, mesh)
    if known is not None and known.backend == backend:
        return known if known.key == key else Signer(backend, key, known.authority)
    return Signer(backend, key, Authority(backend.pair))


def key_type(reader: Reader, mesh: str) -> KeyType:
    """ECDSA, unless a MeshTLS of the mesh names ciphers of which none can do without RSA."""
    for policy in reader.list("MeshTLS", mesh):
        spec = policy.spec
        for rule in (*(spec.rules or ()), *(spec.from_ or ())):
            ciphers = (rule.default and rule.default.tls_ciphers) or ()
            if ciphers and not any("ECDSA" in cipher for cipher in ciphers):
                return "rsa"
    return "ecdsa"


def uris_of(identity: Identity) -> list[str]:
    """What a certificate says of its proxy: each service it is part of, and each of its tags."""
    services = [f"spiffe://{identity.mesh}/{service}" for service in identity.services]
    return services + [f"kuma://{tag}/{value}" for tag, value in identity.tags]
