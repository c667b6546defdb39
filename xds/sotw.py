"""State-of-the-world ADS, for clients that do not speak delta.

A request repeats all names it wants; a response of clusters or listeners repeats all resources,
and what it leaves out is gone. Responses of the other types hold what changed, and cannot remove.
Inside, the same want/has machine as delta runs; here a full state is composed from it. So new
clusters are made before, and old ones broken after, the routes that use them, although each
response is complete.

`version_info` is a hash of the names and versions in the response: a client that reconnects to
any replica with the state it should have is sent nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xds.encode import sotw_response, version_of
from xds.limits import NAMES_PER_TYPE_MAX
from xds.proto import msg, parse
from xds.session import WILDCARD, WILDCARD_TYPES, ProtocolError, Session
from xds.subscription import Plan, Subscription
from xds.types import CLUSTER, LISTENER, Encoded

# Types whose responses are complete: what is missing is removed.
COMPLETE_TYPES = frozenset((CLUSTER, LISTENER))


class SotwSession(Session):
    """One stream of StreamAggregatedResources."""

    def __init__(self, control_plane: str = "") -> None:
        super().__init__(control_plane)
        # The resources that the client acknowledged, and those of the response in flight: a
        # complete response repeats them, also when they have left the snapshot.
        self._accepted: dict[str, dict[str, Encoded]] = {}
        self._sent: dict[str, dict[str, Encoded]] = {}

    def _parse(self, data: bytes) -> Any:
        try:
            return parse(msg("envoy.service.discovery.v3.DiscoveryRequest"), data)
        except ValueError as error:
            raise ProtocolError("INVALID_ARGUMENT", str(error)) from None

    def _has_some(self, request: Any) -> bool:
        return bool(request.version_info)

    def _subscribe(self, subscription: Subscription, request: Any) -> None:
        names = set(request.resource_names)
        if len(names) > NAMES_PER_TYPE_MAX:
            raise ProtocolError(
                "RESOURCE_EXHAUSTED", f"resource_names: more than {NAMES_PER_TYPE_MAX} names of one type"
            )
        type_url = subscription.type_url
        implied = type_url in WILDCARD_TYPES and (not subscription.started or subscription.wildcard)
        wildcard = WILDCARD in names or (not names and implied)
        names.discard(WILDCARD)
        if not subscription.started:
            subscription.start(self._recognise(type_url, names, wildcard, request.version_info))
        if wildcard and not subscription.wildcard:
            subscription.subscribe_wildcard(self._resources(type_url))
        elif subscription.wildcard and not wildcard:
            subscription.unsubscribe_wildcard()
        subscription.resume(names - subscription.names)
        gone = subscription.names - names
        if wildcard:
            subscription.names -= gone
        else:
            subscription.unsubscribe(gone)

    def _recognise(
        self, type_url: str, names: Iterable[str], wildcard: bool, version_info: str
    ) -> Mapping[str, str]:
        """What the client has, if its version_info is that of what it should have."""
        resources = self._resources(type_url)
        wanted = dict(resources) if wildcard else {n: resources[n] for n in names if n in resources}
        if not version_info or version_info != state_version(wanted):
            return {}
        self._accepted[type_url] = wanted
        return {name: resource.version for name, resource in wanted.items()}

    def _frame(self, subscription: Subscription, plan: Plan, nonce: str) -> bytes | None:
        type_url = subscription.type_url
        candidates = {**self._accepted.get(type_url, {}), **{r.name: r for r in plan.upserts}}
        state = {name: candidates[name] for name in sorted(subscription.has) if name in candidates}
        self._sent[type_url] = state
        if type_url not in COMPLETE_TYPES and not plan.upserts:
            self._accepted[type_url] = state
            return None
        resources = state.values() if type_url in COMPLETE_TYPES else plan.upserts
        return sotw_response(type_url, state_version(state), nonce, resources, self._control_plane)

    def _settled(self, subscription: Subscription, accepted: bool) -> None:
        if accepted:
            self._accepted[subscription.type_url] = self._sent[subscription.type_url]


def state_version(resources: Mapping[str, Encoded]) -> str:
    """The version of a whole state: equal names and versions, equal hash."""
    lines = "\n".join(f"{name} {resource.version}" for name, resource in sorted(resources.items()))
    return version_of(lines.encode())
