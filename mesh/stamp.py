"""What a zone writes into the resources that join it: its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from mesh.resource import ZONE_TAG, Resource


def stamp_zone(resource: Resource, zone: str) -> Resource:
    """The resource with the local zone in it: in the tags of a Dataplane, in a zone proxy's `zone`.

    A zone proxy that already names a zone keeps it. Other kinds are returned as they are.
    """
    if not zone:
        return resource
    if resource.kind == "Dataplane" and resource.spec.networking is not None:
        networking = _stamped_networking(resource.spec.networking, zone)
        return replace(resource, spec=msgspec.structs.replace(resource.spec, networking=networking))
    if resource.kind in ("ZoneIngress", "ZoneEgress") and not resource.spec.zone:
        return replace(resource, spec=msgspec.structs.replace(resource.spec, zone=zone))
    return resource


def _stamped_networking(networking: Any, zone: str) -> Any:
    inbound = tuple(_with_zone(inbound, zone) for inbound in networking.inbound)
    gateway = networking.gateway
    if gateway is not None:
        gateway = _with_zone(gateway, zone)
    return msgspec.structs.replace(networking, inbound=inbound, gateway=gateway)


def _with_zone(tagged: Any, zone: str) -> Any:
    return msgspec.structs.replace(tagged, tags={**(tagged.tags or {}), ZONE_TAG: zone})
