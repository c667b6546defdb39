"""The proxies behind a service or a workload, counted: all, the connected, and those that take traffic."""

from __future__ import annotations

from typing import NamedTuple

from mesh.resource import Resource
from xds.config.endpoints import Selector, candidates
from xds.engine import Context, derivation


class Count(NamedTuple):
    """healthy: connected, with at least one selected inbound that is ready."""

    connected: int = 0
    healthy: int = 0
    total: int = 0


@derivation
def proxies_behind(ctx: Context, mesh: str, selector: Selector) -> Count:
    """How many proxies a selector finds."""
    names = candidates(ctx, mesh, selector)
    found = [each for each in (one_behind(ctx, mesh, name, selector) for name in names) if each is not None]
    return Count(sum(each.connected for each in found), sum(each.healthy for each in found), len(found))


@derivation
def one_behind(ctx: Context, mesh: str, name: str, selector: Selector) -> Count | None:
    """One proxy's part in the count; None when it is not selected."""
    dataplane = ctx.get("Dataplane", mesh, name)
    if dataplane is None:
        return None
    ready = _selected(dataplane, selector)
    if not ready:
        return None
    online = is_online(ctx, mesh, name)
    return Count(int(online), int(online and any(ready)), 1)


@derivation
def is_online(ctx: Context, mesh: str, name: str) -> bool:
    """Whether a proxy is connected to any replica."""
    insight = ctx.get("DataplaneInsight", mesh, name)
    return insight is not None and insight.spec.is_online


def _selected(dataplane: Resource, selector: Selector) -> list[bool]:
    """For each inbound that is selected, whether it is ready; a gateway counts as one that is."""
    if any(dataplane.labels.get(key) != value for key, value in selector.labels):
        return []
    networking = dataplane.spec.networking
    if networking is None:
        return []
    tagged = [
        (inbound.tags or {}, inbound.is_ready) for inbound in networking.inbound if inbound.state != "Ignored"
    ]
    if networking.gateway is not None:
        tagged = [(networking.gateway.tags or {}, True)]
    return [ready for tags, ready in tagged if all(tags.get(key) == value for key, value in selector.tags)]
