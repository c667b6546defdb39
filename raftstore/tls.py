"""TLS between replicas: version 1.3, both sides show a certificate of the cluster's CA.

Host names are not checked: a replica is identified by the node id in its certificate
(raftstore/certs.py), which the transport compares with whom it meant to reach. Addresses
change with every redeployment; node ids do not.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from raftstore.certs import CA_CERT, BadCertificate, Identity, check_node


@dataclass(frozen=True)
class Tls:
    """What one replica needs to talk to the others."""

    identity: Identity
    server: ssl.SSLContext
    client: ssl.SSLContext


def load_tls(directory: Path | str, node_id: str) -> Tls:
    """Contexts of `node_id` from ca.pem, <node_id>.pem and <node_id>.key. Raises BadCertificate."""
    directory = Path(directory)
    identity = check_node(directory, node_id)
    return Tls(
        identity,
        _context(ssl.PROTOCOL_TLS_SERVER, directory, node_id),
        _context(ssl.PROTOCOL_TLS_CLIENT, directory, node_id),
    )


def _context(side: ssl._SSLMethod, directory: Path, node_id: str) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # A connection lives for days, so resumption gains nothing, and the tickets that a server
    # sends after the handshake break clients that only write (they see EPIPE, not the reason).
    if side is ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    cert, key = directory / f"{node_id}.pem", directory / f"{node_id}.key"
    try:
        context.load_verify_locations(directory / CA_CERT)
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(f"cannot use {cert} with {key} and {CA_CERT}: {error}") from error
    return context
