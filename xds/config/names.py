"""Names of clusters that stand for tags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from mesh.resource import SERVICE_TAG

_DIGITS = 16


def tagged_cluster_name(tags: Mapping[str, str], client: Mapping[str, str] | None = None) -> str:
    """The cluster of the inbounds with these tags: `<service>`, or `<service>-<16 hexadecimal digits>`.

    The digits hash all tags, and those of the client where each client has clusters of its own
    (gateways), keys and values one after the other, in order of the keys.
    """
    service = tags.get(SERVICE_TAG, "")
    if len(tags) == 1 and not client:
        return service
    text = "".join(key + tags[key] for key in sorted(tags))
    text += "".join(key + client[key] for key in sorted(client)) if client else ""
    return f"{service}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"
