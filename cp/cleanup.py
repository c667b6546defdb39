"""Proxies that left without a word are forgotten after a while.

A proxy that ends in good order is deregistered when its stream ends (docs/adr/0004). One
whose control plane died with it stays, offline; after `runtime.universal.dataplaneCleanupAge`
(72 h; zone proxies: `zoneResourceCleanupAge`) it is deleted. Each replica looks, the log
lets one delete: the transaction is guarded by the insight that was looked at, so a proxy
that comes back at that moment stays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import datetime

from cp.config_schema import Config
from cp.live import LiveView
from mesh.reader import Reader
from mesh.resource import Resource
from raftstore.errors import StoreError
from raftstore.port import Store
from raftstore.types import Delete, Exists, Key, Txn, VersionIs

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
# kind of the insight -> kind of the proxy
PROXIES = {
    "DataplaneInsight": "Dataplane",
    "ZoneIngressInsight": "ZoneIngress",
    "ZoneEgressInsight": "ZoneEgress",
}


def stale(
    reader: Reader, now_s: float, dataplane_age_s: float, zone_proxy_age_s: float
) -> Iterator[Resource]:
    """Insights of proxies that have been offline for longer than their age."""
    for kind, proxy in PROXIES.items():
        age_s = dataplane_age_s if proxy == "Dataplane" else zone_proxy_age_s
        for insight in reader.list(kind):
            since = offline_since(insight)
            if since is not None and now_s - since >= age_s:
                yield insight


def offline_since(insight: Resource) -> float | None:
    """Unix seconds of the last disconnect; None while connected, or when it cannot be told."""
    if insight.spec.is_online:
        return None
    ends = [_seconds(each.disconnect_time) for each in insight.spec.subscriptions]
    return max((end for end in ends if end is not None), default=None)


def _seconds(time_text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(time_text or "").timestamp()
    except ValueError:
        return None


def removal(insight: Resource) -> Txn:
    """Takes the proxy and its insight away, unless the insight has changed since."""
    key = Key(*insight.key)
    proxy = Key(PROXIES[insight.kind], insight.mesh, insight.name)
    return Txn(
        writes=(Delete(proxy), Delete(key)),
        guards=(VersionIs(key, insight.version), Exists(proxy)),
        actor="mesh-system:control-plane",
        cause="the proxy was offline for too long",
        request_id=f"cleanup {insight.version} {insight.mesh}.{insight.name}"[:120],
    )


async def keep_clean(config: Config, store: Store, live: LiveView) -> None:
    """Look once a minute, until cancelled."""
    ages = config.runtime.universal
    while True:
        await asyncio.sleep(INTERVAL_S)
        for insight in list(
            stale(live.view, time.time(), ages.dataplane_cleanup_age, ages.zone_resource_cleanup_age)
        ):
            try:
                outcome = await store.submit(removal(insight))
            except StoreError as error:
                log.debug("%s is not cleaned up: %s", insight.name, error)
                break
            if outcome.applied:
                log.info("%s %s in mesh %s is forgotten", PROXIES[insight.kind], insight.name, insight.mesh)
