"""Bounds on what one resource may be, each with its reason."""

from __future__ import annotations

# A name becomes part of DNS names, of Envoy resource names and of names with a zone's suffix.
NAME_CHARS_MAX = 253
# A mesh name is one DNS label: it stands in SPIFFE IDs and server names.
MESH_NAME_CHARS_MAX = 63
# MeshService, like a Kubernetes Service, is one DNS label.
SERVICE_NAME_CHARS_MAX = 63
LABEL_NAME_CHARS_MAX = 63
LABEL_VALUE_CHARS_MAX = 63
# RFC 1035: what a host name may be, hostnames of listeners and templates included.
HOSTNAME_CHARS_MAX = 253
# Faults reported for one document: enough to repair it, few enough to read and to send.
ERRORS_MAX = 1000
# A document is encoded once before it is looked at; nothing of a mesh comes near this.
DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
# Nesting of a document; the deepest kind nests 12 levels.
DOCUMENT_DEPTH_MAX = 64
