"""Delta (incremental) ADS: a client subscribes by name and is sent what differs.

On reconnecting, a client presents `initial_resource_versions`. Our versions are content hashes,
so whichever replica it reaches recognises them: what is equal is not sent, what vanished is
removed. See "Incremental xDS" in Envoy's xDS protocol page.
"""

from __future__ import annotations

from typing import Any

from xds.encode import delta_response
from xds.limits import NAMES_PER_TYPE_MAX
from xds.proto import msg, parse
from xds.session import WILDCARD, WILDCARD_TYPES, ProtocolError, Session
from xds.subscription import Plan, Subscription


class DeltaSession(Session):
    """One stream of DeltaAggregatedResources."""

    def _parse(self, data: bytes) -> Any:
        try:
            return parse(msg("envoy.service.discovery.v3.DeltaDiscoveryRequest"), data)
        except ValueError as error:
            raise ProtocolError("INVALID_ARGUMENT", str(error)) from None

    def _has_some(self, request: Any) -> bool:
        return bool(request.initial_resource_versions)

    def _subscribe(self, subscription: Subscription, request: Any) -> None:
        if subscription.started and not (
            request.resource_names_subscribe or request.resource_names_unsubscribe
        ):
            return  # a mere ACK or NACK
        names = set(request.resource_names_subscribe)
        dropped = set(request.resource_names_unsubscribe)
        if len(subscription.names) + len(names) > NAMES_PER_TYPE_MAX:
            raise ProtocolError(
                "RESOURCE_EXHAUSTED",
                f"resource_names_subscribe: more than {NAMES_PER_TYPE_MAX} names of one type",
            )
        first = not subscription.started
        if first:
            subscription.start(request.initial_resource_versions)
            self.status.of(subscription.type_url).presented = len(subscription.has)
        if WILDCARD in names or (first and not names and subscription.type_url in WILDCARD_TYPES):
            subscription.subscribe_wildcard(self._resources(subscription.type_url))
        if first:
            subscription.resume(names - {WILDCARD})
        else:
            subscription.subscribe(names - {WILDCARD})
        if WILDCARD in dropped:
            subscription.unsubscribe_wildcard()
        subscription.unsubscribe(dropped - {WILDCARD})

    def _frame(self, subscription: Subscription, plan: Plan, nonce: str) -> bytes:
        return delta_response(subscription.type_url, nonce, plan.upserts, plan.removed, self._control_plane)
