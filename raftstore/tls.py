"""TLS between replicas: version 1.3, both sides show a certificate of the cluster's CA.

Host names are not checked: a replica is identified by the node id in its certificate
(raftstore/certs.py), which the transport compares with whom it meant to reach. Addresses
change with every redeployment; node ids do not.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from raftstore.certs import CA_CERT, BadCertificate, Identity, check_node


class Tls:
    """What one replica needs to talk to the others. Made by `load_tls`."""

    def __init__(self, directory: Path, identity: Identity) -> None:
        self.identity = identity
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # A connection lives for days, so resumption gains nothing, and the tickets that a server
        # sends after the handshake break clients that only write (they see EPIPE, not the reason).
        self.server.num_tickets = 0
        self._files = [
            directory / name for name in (CA_CERT, f"{identity.node_id}.pem", f"{identity.node_id}.key")
        ]
        for context in (self.server, self.client):
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED
        self._load()

    def renewed(self) -> bool:
        """Whether the files have changed; then new connections use them. Raises BadCertificate."""
        if self._stamp() == self._loaded:
            return False
        ca, _, _ = self._files
        found = check_node(ca.parent, self.identity.node_id)
        if found != self.identity:
            raise BadCertificate(f"{ca} names another cluster now; restart with another data directory")
        self._load()
        return True

    def _load(self) -> None:
        ca, cert, key = self._files
        try:
            self._loaded = self._stamp()
            for context in (self.server, self.client):
                context.load_verify_locations(ca)
                context.load_cert_chain(cert, key)
        except OSError as error:  # ssl.SSLError is one
            raise BadCertificate(f"cannot use {cert} with {key} and {CA_CERT}: {error}") from error

    def _stamp(self) -> list[tuple[int, int]]:
        try:
            return [(status.st_mtime_ns, status.st_ino) for status in (path.stat() for path in self._files)]
        except OSError as error:
            raise BadCertificate(f"cannot read {error.filename}: {error.strerror}") from error


def load_tls(directory: Path | str, node_id: str) -> Tls:
    """Contexts of `node_id` from ca.pem, <node_id>.pem and <node_id>.key. Raises BadCertificate."""
    directory = Path(directory)
    return Tls(directory, check_node(directory, node_id))
