"""Playbooks: tests of a stream that read like the wire, after mitmproxy's.

    assert (
        Playbook(delta())
        >> Put(CDS, "A@1 B@1")          the configuration of the proxy changes
        >> Subscribe(CDS)               the client asks for every cluster
        << Response(CDS, "A@1 B@1")     and is sent them
        >> Ack(CDS)
    )

`>>` is what happens to the session, `<<` what it must do next, all of it and nothing else.
Resources are written name@label; equal labels are equal contents. A failure prints the whole
play with an arrow at the line that differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from xds.delta import DeltaSession
from xds.effects import Effect, Nacked, Refuse, Send
from xds.encode import encode
from xds.proto import msg, serialize
from xds.session import Session
from xds.sotw import SotwSession
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Delta, Encoded

CDS, EDS, LDS, RDS, SDS = "CDS", "EDS", "LDS", "RDS", "SDS"
URLS = {CDS: CLUSTER, EDS: ENDPOINT, LDS: LISTENER, RDS: ROUTE, SDS: SECRET}
SHORT = {url: short for short, url in URLS.items()}
NODE = "default.dp-1"


def names(text: str) -> list[str]:
    return text.split()


# --- what happens ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Put:
    """The named resources have this content now, e.g. "A@1 B@2"."""

    service: str
    resources: str


@dataclass(frozen=True)
class Drop:
    """The named resources are gone."""

    service: str
    resources: str


@dataclass(frozen=True)
class Change:
    """Several Puts and Drops at once."""

    parts: tuple[Put | Drop, ...]

    def __init__(self, *parts: Put | Drop) -> None:
        object.__setattr__(self, "parts", parts)


@dataclass(frozen=True)
class Nothing:
    """The configuration is known, and unchanged (or empty)."""


@dataclass(frozen=True)
class Subscribe:
    """Delta: subscribe to names; none: wildcard. `has` is initial_resource_versions, "A@1 B@1"."""

    service: str
    resources: str = ""
    has: str = ""


@dataclass(frozen=True)
class Unsubscribe:
    service: str
    resources: str


@dataclass(frozen=True)
class Want:
    """State of the world: the full list of wanted names; none: wildcard (at first)."""

    service: str
    resources: str = ""
    version: str = ""


@dataclass(frozen=True)
class Ack:
    """Accept the last response of the service; `subscribe` rides along."""

    service: str
    subscribe: str = ""


@dataclass(frozen=True)
class Nack:
    service: str
    message: str


@dataclass(frozen=True)
class Late:
    """Accept a response that is not the last one: its nonce is stale."""

    service: str
    nonce: str = "stale"


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Raw:
    data: bytes


# --- what must follow --------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    service: str
    resources: str = ""
    removed: str = ""


@dataclass(frozen=True)
class Rejected:
    """The session noted a rejection; it blames `resources` (none: still searching)."""

    service: str
    resources: str


@dataclass(frozen=True)
class Refused:
    code: str


Event = Put | Drop | Change | Nothing | Subscribe | Unsubscribe | Want | Ack | Nack | Late | Wait | Raw
Outcome = Response | Rejected | Refused


def body(service: str, name: str, label: str) -> bytes:
    """A valid resource whose content depends on the label."""
    if service == CDS:
        eds = {"eds_config": {"ads": {}}, "service_name": label.partition("/")[2]}
        message = msg("envoy.config.cluster.v3.Cluster")(
            name=name, alt_stat_name=label, type="EDS", eds_cluster_config=eds
        )
    elif service == EDS:
        empty = [] if label == "empty" else [{"priority": int(label)}]
        message = msg("envoy.config.endpoint.v3.ClusterLoadAssignment")(cluster_name=name, endpoints=empty)
    elif service == LDS:
        message = msg("envoy.config.listener.v3.Listener")(name=name, stat_prefix=label)
    elif service == RDS:
        message = msg("envoy.config.route.v3.RouteConfiguration")(name=name, internal_only_headers=[label])
    else:
        message = msg("envoy.extensions.transport_sockets.tls.v3.Secret")(
            name=name, generic_secret={"secret": {"inline_string": label}}
        )
    return serialize(message)


@dataclass
class Playbook:
    session: Session
    steps: list[tuple[str, Event | Outcome]] = field(default_factory=list)
    now: float = 0.0
    world: dict[str, dict[str, Encoded]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __rshift__(self, event: Event) -> Playbook:
        self.steps.append((">>", event))
        return self

    def __lshift__(self, outcome: Outcome) -> Playbook:
        self.steps.append(("<<", outcome))
        return self

    def __bool__(self) -> bool:
        played: list[str] = []
        pending: list[Outcome] = []
        for arrow, step in [*self.steps, (">>", None)]:
            if arrow == ">>":
                if pending:
                    self._fail(played, f"<< {pending[0]!r}", "happened, but is not in the playbook")
                if step is not None:
                    played.append(f">> {step!r}")
                    pending = list(self._outcomes(self._happen(step)))
            else:
                got = pending.pop(0) if pending else None
                if got != step:
                    self._fail(played, f"<< {step!r}", f"expected; the session did {got!r}")
                played.append(f"<< {step!r}")
        self.steps.clear()
        return True

    def _fail(self, played: list[str], line: str, why: str) -> None:
        lines = ["  " + text for text in played] + [f"-> {line}    {why}"]
        raise AssertionError("\n" + "\n".join(lines))

    # --- events --------------------------------------------------------------------------------

    def _happen(self, step: Any) -> list[Effect]:
        match step:
            case Put() | Drop():
                return self._change((step,))
            case Change():
                return self._change(step.parts)
            case Nothing():
                return self._change(())
            case Wait():
                self.now += step.seconds
                deadline = self.session.deadline()
                return self.session.tick(self.now) if deadline is not None and deadline <= self.now else []
            case Raw():
                return self.session.receive(step.data, self.now)
        return self.session.receive(serialize(self._request(step)), self.now)

    def _change(self, parts: Iterable[Put | Drop]) -> list[Effect]:
        deltas = []
        for part in parts:
            resources = dict(self.world.get(part.service, {}))
            upserts: list[Encoded] = []
            if isinstance(part, Put):
                upserts = [self._resource(part.service, entry) for entry in names(part.resources)]
                resources.update((resource.name, resource) for resource in upserts)
                deltas.append(Delta(URLS[part.service], tuple(upserts), ()))
            else:
                for name in names(part.resources):
                    del resources[name]
                deltas.append(Delta(URLS[part.service], (), tuple(names(part.resources))))
            self.world[part.service] = resources
        snapshot = {URLS[service]: resources for service, resources in self.world.items()}
        return self.session.update(snapshot, deltas, self.now)

    def _resource(self, service: str, entry: str) -> Encoded:
        name, _, label = entry.partition("@")
        resource = encode(URLS[service], name, body(service, name, label))
        self.labels[f"{service} {name} {resource.version}"] = entry
        self.labels[f"{service} {resource.body.hex()}"] = entry
        return resource

    def _request(self, step: Any) -> Any:
        sotw = isinstance(self.session, SotwSession)
        kind = "DiscoveryRequest" if sotw else "DeltaDiscoveryRequest"
        request = msg(f"envoy.service.discovery.v3.{kind}")(type_url=URLS[step.service])
        if self.session.status.node is None:
            request.node.id = NODE
        match step:
            case Subscribe():
                request.resource_names_subscribe.extend(names(step.resources))
                for entry in names(step.has):
                    resource = self._resource(step.service, entry)
                    request.initial_resource_versions[resource.name] = resource.version
            case Unsubscribe():
                request.resource_names_unsubscribe.extend(names(step.resources))
            case Want():
                self.wanted[step.service] = step.resources
                request.version_info = step.version or self.versions.get(step.service, "")
                request.response_nonce = self.nonces.get(step.service, "")
            case Late():
                request.response_nonce = step.nonce
            case Ack() | Nack():
                request.response_nonce = self.nonces[step.service]
        if isinstance(step, Ack) and step.subscribe:
            request.resource_names_subscribe.extend(names(step.subscribe))
        if isinstance(step, Nack):
            request.error_detail.code = 13
            request.error_detail.message = step.message
        if sotw:
            request.resource_names.extend(names(self.wanted.get(step.service, "")))
        return request

    # --- outcomes ------------------------------------------------------------------------------

    def _outcomes(self, effects: Iterable[Effect]) -> Iterable[Outcome]:
        for effect in effects:
            match effect:
                case Send():
                    yield self._response(effect)
                case Nacked():
                    yield Rejected(SHORT[effect.type_url], " ".join(effect.names))
                case Refuse():
                    yield Refused(effect.code)

    def _response(self, effect: Send) -> Response:
        service = SHORT[effect.type_url]
        self.nonces[service] = effect.nonce
        removed = effect.removed
        if isinstance(self.session, SotwSession):
            message = msg("envoy.service.discovery.v3.DiscoveryResponse").FromString(effect.data)
            self.versions[service] = message.version_info
            removed = ()  # not on the wire: a complete response leaves them out
            entries = [self._label(service, resource.value) for resource in message.resources]
        else:
            message = msg("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(effect.data)
            entries = [self._label(service, resource.resource.value) for resource in message.resources]
            assert tuple(message.removed_resources) == effect.removed
        assert (message.type_url, message.nonce) == (effect.type_url, effect.nonce)
        return Response(service, " ".join(sorted(entries)), " ".join(sorted(removed)))

    def _label(self, service: str, data: bytes) -> str:
        known = self.labels.get(f"{service} {data.hex()}")
        if known is None and service == EDS:
            name = msg("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(data).cluster_name
            return f"{name}@empty" if data == body(EDS, name, "empty") else f"{name}@?"
        assert known is not None, f"{service}: a resource that nobody put"
        return known


# --- beginnings --------------------------------------------------------------------------------


def served(session: Session, service: str, there: str, wanted: str = "") -> Playbook:
    """A client asks for some of what is there (by default for everything), is sent that, and accepts it.

    A delta client is also told which of the names do not exist.
    """
    asked, is_sotw = names(wanted), isinstance(session, SotwSession)
    sent = [entry for entry in names(there) if not asked or entry.partition("@")[0] in asked]
    known = {entry.partition("@")[0] for entry in sent}
    missing = [] if is_sotw else [name for name in asked if name not in known]
    return (
        Playbook(session)
        >> Put(service, there)
        >> (Want(service, wanted) if is_sotw else Subscribe(service, wanted))
        << Response(service, " ".join(sorted(sent)), removed=" ".join(sorted(missing)))
        >> Ack(service)
    )


def delta() -> Session:
    return DeltaSession()


def sotw() -> Session:
    return SotwSession()


def warm(*, clusters: str = "A@1", listeners: str = "in@1", routes: str = "r@1") -> Playbook:
    """A proxy that is up: wildcard clusters and listeners, endpoints of A, route r."""
    return (
        Playbook(delta())
        >> Change(Put(CDS, clusters), Put(EDS, "A@1"), Put(LDS, listeners), Put(RDS, routes))
        >> Subscribe(CDS, has=clusters)
        >> Subscribe(EDS, "A", has="A@1")
        >> Subscribe(LDS, has=listeners)
        >> Subscribe(RDS, "r", has=routes)
    )
