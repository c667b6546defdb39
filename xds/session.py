"""One xDS stream as a pure machine: requests and changes in, effects out.

    receive(data, now)               a request's bytes arrived
    update(snapshot, deltas, now)    what the proxy should have changed; or, to send it later,
    note(snapshot, deltas)
    tick(now)                        the time that `deadline()` named has come, or what was noted is to be sent

No I/O, no clock, no tasks: the caller (xds/server.py) writes what `Send` carries and arms one
timer. The two variants of the protocol, incremental (xds/delta.py) and state of the world
(xds/sotw.py), share everything but how a request is read and how a response is written.

Rules that hold for both, each with a playbook in tests/xds:

- one response in flight per type; a slow client gets the latest state, not the history.
- a change is sent in the order of xds/ordering.py (make before break).
- when a cluster changed, its endpoints follow in the next message, without waiting for the
  cluster's ACK: Envoy waits for them, and otherwise withholds every cluster ACK for 15 s.
- until a snapshot is known, nothing is answered: an empty answer would remove what is good.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf.json_format import MessageToDict

from xds.effects import Acked, Effect, Nacked, Opened, Refuse, Send
from xds.limits import ERROR_CHARS_MAX, REQUEST_BYTES_MAX, TYPES_PER_STREAM_MAX
from xds.ordering import in_send_order, removal_wait, send_wait
from xds.proto import msg
from xds.source import NodeInfo
from xds.status import StreamStatus
from xds.subscription import Plan, Subscription
from xds.types import CLUSTER, ENDPOINT, LISTENER, Delta, Encoded, Snapshot

# A first request without names means "everything" for these types only (xDS protocol).
WILDCARD_TYPES = frozenset((CLUSTER, LISTENER))
WILDCARD = "*"
_NOTHING: Mapping[str, Encoded] = {}


class ProtocolError(Exception):
    """The client's message breaks the protocol; `code` is the gRPC status that says so."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class _Hold:
    """Something of a type waits, since then and for at most so many seconds."""

    since: float
    wait: float


class Session(ABC):
    """The state of one stream. `control_plane` names this replica in each response."""

    def __init__(self, control_plane: str = "") -> None:
        self.status = StreamStatus()
        self._control_plane = control_plane
        self._subscriptions: dict[str, Subscription] = {}
        self._ordered: list[Subscription] = []
        self._snapshot: Snapshot | None = None
        self._nonces = 0
        self._held: dict[tuple[str, str], _Hold] = {}
        self._closed = False

    # --- events --------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Effect]:
        """Take a request."""
        if self._closed:
            return []
        try:
            if len(data) > REQUEST_BYTES_MAX:
                raise ProtocolError(
                    "RESOURCE_EXHAUSTED", f"request of {len(data)} bytes; the limit is {REQUEST_BYTES_MAX}"
                )
            request = self._parse(data)
            effects = self._open(request)
            effects += self._answer(request, now)
            self._subscribe(self._subscription(request.type_url), request)
        except ProtocolError as error:
            self._closed = True
            return [Refuse(error.code, error.detail)]
        return effects + self._flush(now)

    def update(self, snapshot: Snapshot, deltas: Sequence[Delta], now: float) -> list[Effect]:
        """Take what the proxy should have now, and send what may be sent of it: `note`, then `tick`."""
        self.note(snapshot, deltas)
        return self._flush(now)

    def note(self, snapshot: Snapshot, deltas: Sequence[Delta]) -> None:
        """Take what the proxy should have now; `deltas` name what changed since the last call. What is to be sent
        of it is sent with the next event. Must be called as soon as a live snapshot changed, lest something of
        it is sent before what it refers to."""
        first = self._snapshot is None
        self._snapshot = snapshot
        if first:
            for subscription in self._subscriptions.values():
                subscription.changed(self._concerned(subscription))
        else:
            for delta in deltas:
                if delta.type_url in self._subscriptions:
                    subscription = self._subscriptions[delta.type_url]
                    subscription.changed(resource.name for resource in delta.upserts)
                    subscription.changed(delta.removed)

    def deadline(self) -> float | None:
        """When to call `tick`; None: not needed."""
        waiting = [
            hold.since + hold.wait
            for (type_url, _), hold in self._held.items()
            if self._subscriptions[type_url].in_flight is None  # otherwise its ACK comes first
        ]
        return min(waiting, default=None)

    def tick(self, now: float) -> list[Effect]:
        """Send what was noted, and stop to wait for what a client does not acknowledge."""
        return self._flush(now)

    def versions(self, type_url: str) -> dict[str, str]:
        """What the client acknowledged to have: resource name -> version."""
        subscription = self._subscriptions.get(type_url)
        return {} if subscription is None else subscription.acknowledged()

    # --- requests ------------------------------------------------------------------------------

    @abstractmethod
    def _parse(self, data: bytes) -> Any:
        """The request message. Raises ProtocolError."""

    @abstractmethod
    def _has_some(self, request: Any) -> bool:
        """Whether a first request says that the client has resources from before."""

    @abstractmethod
    def _subscribe(self, subscription: Subscription, request: Any) -> None:
        """Note what the request says of wanted and present resources. Raises ProtocolError."""

    @abstractmethod
    def _frame(self, subscription: Subscription, plan: Plan, nonce: str) -> bytes | None:
        """The bytes of a response; None when this variant of the protocol has nothing to say."""

    def _settled(self, subscription: Subscription, accepted: bool) -> None:
        """The response in flight is about to be noted as accepted or rejected."""
        return

    def _open(self, request: Any) -> list[Effect]:
        if self.status.node is not None:
            return []
        if not request.HasField("node") or not request.node.id:
            raise ProtocolError(
                "INVALID_ARGUMENT", "node.id: the first request of a stream must name its node"
            )
        self.status.node = node_info(request.node)
        return [Opened(self.status.node, resumed=self._has_some(request))]

    def _answer(self, request: Any, now: float) -> list[Effect]:
        """Take the ACK or NACK in a request. Stale nonces answer nothing of ours."""
        subscription = self._subscriptions.get(request.type_url)
        if not request.response_nonce or subscription is None or subscription.in_flight is None:
            return []
        if request.response_nonce != subscription.in_flight.nonce:
            return []
        accepted = not request.HasField("error_detail")
        self._settled(subscription, accepted)
        if not accepted:
            return [self._nacked(subscription, request.error_detail.message[:ERROR_CHARS_MAX])]
        return [self._acked(subscription, now)]

    def _acked(self, subscription: Subscription, now: float) -> Effect:
        response = subscription.acked()
        status = self.status.of(subscription.type_url)
        status.acked += 1
        status.ack_seconds = now - response.sent_at
        status.rejections = subscription.rejected
        return Acked(subscription.type_url, tuple(response.upserts), response.removed, status.ack_seconds)

    def _nacked(self, subscription: Subscription, message: str) -> Effect:
        guilty = subscription.nacked(message)
        status = self.status.of(subscription.type_url)
        status.rejected += 1
        status.last_error = message
        status.rejections = subscription.rejected
        return Nacked(subscription.type_url, guilty, message)

    def _subscription(self, type_url: str) -> Subscription:
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            if not type_url:
                raise ProtocolError("INVALID_ARGUMENT", "type_url: must be set on an aggregated stream")
            if len(self._subscriptions) >= TYPES_PER_STREAM_MAX:
                raise ProtocolError(
                    "RESOURCE_EXHAUSTED", f"type_url: more than {TYPES_PER_STREAM_MAX} types on one stream"
                )
            subscription = self._add(type_url)
        return subscription

    def _add(self, type_url: str) -> Subscription:
        subscription = self._subscriptions[type_url] = Subscription(type_url)
        self._ordered = in_send_order(self._subscriptions)
        return subscription

    # --- responses -----------------------------------------------------------------------------

    def _resources(self, type_url: str) -> Mapping[str, Encoded]:
        return _NOTHING if self._snapshot is None else self._snapshot.get(type_url, _NOTHING)

    def _concerned(self, subscription: Subscription) -> Iterable[str]:
        """The names to look at when everything may have changed."""
        known = self._resources(subscription.type_url) if subscription.wildcard else ()
        return {*known, *subscription.names, *subscription.has}

    def _flush(self, now: float) -> list[Effect]:
        """Send what may be sent. Sending nothing for one type can free another: until it settles."""
        effects: list[Effect] = []
        if self._snapshot is None or self._closed:
            return effects
        self._held = {key: hold for key, hold in self._held.items() if self._subscriptions[key[0]].dirty}
        progress = True
        while progress:
            progress = False
            for subscription in self._ordered:
                if subscription.started and subscription.in_flight is None and subscription.due():
                    before = len(subscription.dirty)
                    effects += self._send(subscription, now)
                    progress |= len(subscription.dirty) < before
        return effects

    def _send(self, subscription: Subscription, now: float) -> list[Effect]:
        type_url = subscription.type_url
        assert self._snapshot is not None
        if self._holds(type_url, "send", send_wait(type_url, self._subscriptions, self._snapshot), now):
            return []
        held = self._holds(type_url, "remove", removal_wait(type_url, self._subscriptions), now)
        plan = subscription.plan(self._resources(type_url), removals=not held)
        if held and not subscription.dirty.difference(plan_names(plan)):
            del self._held[type_url, "remove"]  # there was nothing to remove
        return self._respond(subscription, plan, now) if plan or subscription.owed else []

    def _holds(self, type_url: str, what: str, wait: float, now: float) -> bool:
        """Whether `what` has to wait, and has not waited long enough."""
        if wait:
            hold = self._held.setdefault((type_url, what), _Hold(now, wait))
            hold.wait = wait
            if now - hold.since < wait:
                return True
        self._held.pop((type_url, what), None)
        return False

    def _respond(self, subscription: Subscription, plan: Plan, now: float) -> list[Effect]:
        self._nonces += 1
        nonce = str(self._nonces)
        changed = [resource for resource in plan.upserts if resource.name in subscription.has]
        subscription.sent(plan, nonce, now)
        data = self._frame(subscription, plan, nonce)
        if data is None:
            subscription.acked()
            return []
        self.status.of(subscription.type_url).sent += 1
        if subscription.type_url == CLUSTER:
            self._follow_up(changed)
        names = tuple(resource.name for resource in plan.upserts)
        return [Send(subscription.type_url, nonce, names, tuple(plan.removed), data)]

    def _follow_up(self, clusters: Sequence[Encoded]) -> None:
        """Have the endpoints of changed clusters sent with them."""
        names = [name for name in (eds_name(cluster.body) for cluster in clusters) if name is not None]
        if names:
            (self._subscriptions.get(ENDPOINT) or self._add(ENDPOINT)).follow(names)


def plan_names(plan: Plan) -> list[str]:
    return [resource.name for resource in plan.upserts] + plan.removed


@lru_cache(maxsize=4096)
def eds_name(cluster: bytes) -> str | None:
    """The name under which a cluster (its bytes) asks for endpoints; None: it does not."""
    message = msg("envoy.config.cluster.v3.Cluster").FromString(cluster)
    if not message.HasField("eds_cluster_config"):
        return None
    return str(message.eds_cluster_config.service_name or message.name)


def node_info(node: Any) -> NodeInfo:
    """The parts of an envoy.config.core.v3.Node that matter to a control plane."""
    version = node.user_agent_build_version.version
    numbers = (version.major_number, version.minor_number, version.patch)
    return NodeInfo(
        id=node.id,
        cluster=node.cluster,
        metadata=MessageToDict(node.metadata),
        version=".".join(map(str, numbers)) if any(numbers) else node.user_agent_version,
    )
