"""What passes between derivation, delta stream and server: encoded resources and deltas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_PREFIX = "type.googleapis.com/"
CLUSTER = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTE = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
SECRET = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
RUNTIME = _PREFIX + "envoy.service.runtime.v3.Runtime"

# The order in which a change is sent so that nothing refers to what the client lacks;
# removals go in reverse (make before break).
SEND_ORDER = (SECRET, CLUSTER, ENDPOINT, LISTENER, ROUTE)


class Encoded(NamedTuple):
    """One Envoy resource, encoded once and shared by every stream that subscribes to it.

    version: hash of the content, so equal on all replicas for equal content.
    body: the resource message itself (e.g. a Cluster), deterministically serialised.
    frame: the bytes of one `resources` entry of a DeltaDiscoveryResponse (tag, length and
    a `Resource{name, version, Any}`), ready to be concatenated into a response.
    """

    name: str
    version: str
    body: bytes
    frame: bytes


class Delta(NamedTuple):
    """A change of what one proxy should have, of one type."""

    type_url: str
    upserts: tuple[Encoded, ...]
    removed: tuple[str, ...]


# type URL -> resource name -> resource: everything one proxy should have.
Snapshot = Mapping[str, Mapping[str, Encoded]]
