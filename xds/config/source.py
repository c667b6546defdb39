"""What each connected proxy has, and what changes of it: the derivation behind the ADS server.

    worker --advance(view, changes)--> Source --on_change(deltas)--> stream of each proxy concerned

A proxy's plan names its resources; the source watches the plan, and the results that it names. When
the engine reports changed results, the layers that hold them are updated and their proxies told. What
a changed plan newly needs is derived first (preparing.py), then all of it is taken over at once. A proxy
that connects, or whose own Dataplane changes, does not queue behind a change of the whole mesh.

Work is done in slices: `advance` returns after the first one, and `later` (the loop's call_soon)
gets the next. A slice ends when so many derivations ran, wherever it is.

When the last stream of a proxy ends, what was derived for it alone is kept until `linger` (the loop's
call_later) calls back: most proxies that break off come back at once, and then cost nothing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from mesh.reader import Reader
from xds.config.client import client_of
from xds.config.dump import derived, render
from xds.config.egress import egress_plan
from xds.config.explain import Explanation, explain
from xds.config.facts import Client
from xds.config.followed import Proxy
from xds.config.holdings import Change, Layer
from xds.config.identity import Identity, IdentityProvider, NoIdentities
from xds.config.ingress import ingress_plan
from xds.config.limits import ADOPTION_COST, PROXIES_MAX, SLICE
from xds.config.plan import Plan, sidecar_plan
from xds.config.preparing import Preparing
from xds.engine import DerivationFailed, Engine, Query
from xds.engine.derivation import Key
from xds.engine.engine import Changes
from xds.source import NodeInfo, OnChange, Refused
from xds.types import SECRET, Delta, Encoded, Snapshot

log = logging.getLogger(__name__)

Later = Callable[[Callable[[], None]], object]


class Stream:
    """The handle that the ADS server holds."""

    def __init__(self, source: Source, proxy: Proxy, on_change: OnChange) -> None:
        self._source = source
        self.proxy = proxy
        self.on_change = on_change
        self.open = True

    def snapshot(self) -> Snapshot | None:
        """Everything the proxy should have now; None while its Dataplane is not known here."""
        return self.proxy.snapshot

    def close(self) -> None:
        """The stream ended. Idempotent."""
        if self.open:
            self.open = False
            self._source.leave(self)
            self.on_change = lambda deltas: None  # or server and source would hold one another


class Source:
    """Derives what each proxy should have. Implements xds.source.ConfigSource."""

    def __init__(
        self,
        view: Reader,
        *,
        identities: IdentityProvider | None = None,
        later: Later | None = None,
        linger: Later | None = None,
        zone: str = "",
        shadow: bool = False,
    ) -> None:
        self.engine = Engine(view)
        self._identities = identities or NoIdentities()
        self._later = later
        self._linger = linger
        # Proxies without a stream that are kept for a while; each with the number of its last leave.
        self._left: dict[Proxy, int] = {}
        self._leaves = 0
        self._zone = zone
        self._shadow = shadow
        self._proxies: dict[Query, Proxy] = {}
        self._groups: dict[Query, Layer] = {}
        # Result -> (layer, name) pairs that hold it.
        self._held: dict[Query, dict[tuple[Layer, tuple[str, str]], None]] = {}
        self._told: dict[Proxy, list[Delta]] = {}
        # Proxies by the key of their Dataplane.
        self._by_dataplane: dict[Key, dict[Proxy, None]] = {}
        # Changed plans and groups that wait to be taken over; ahead of them proxies that just connected, or
        # whose own Dataplane changed.
        self._first: dict[Query, None] = {}
        self._waiting: dict[Query, None] = {}
        self._preparing = Preparing(self.engine)
        # Resources that are no more, though plans that are not taken over yet may still refer to them.
        self._vanished: dict[Query, None] = {}
        self._turn_waits = False
        # Results that could not be derived: query -> why. What was there before stays.
        self.failures: dict[Query, str] = {}

    # --- ConfigSource ----------------------------------------------------------------------------

    def connect(self, node: NodeInfo, on_change: OnChange) -> Stream:
        """Start to follow a proxy. Its first snapshot is there at once if its Dataplane is known and one slice
        (or the absence of a `later`) is enough; else it is told when it is there.

        Raises Refused when this worker has as many proxies as it can serve.
        """
        mesh, _, name = node.id.partition(".")
        client = client_of(node, zone=self._zone, shadow=self._shadow)
        query = plan_of(node)(mesh, name, client)
        proxy = self._proxies.get(query)
        if proxy is None:
            if len(self._proxies) >= PROXIES_MAX and self._left:
                self._forget(next(iter(self._left)))
            if len(self._proxies) >= PROXIES_MAX:
                raise Refused("RESOURCE_EXHAUSTED", f"{PROXIES_MAX} proxies are connected here; try another")
            proxy = self._proxies[query] = Proxy(query)
            self._by_dataplane.setdefault(_key_of(query), {})[proxy] = None
            self.engine.watch(query)
            self._first[query] = None
            if self._take_over(query, None if self._later is None else self.engine.ran + SLICE):
                self._told.pop(proxy, None)
            self._schedule()
        self._left.pop(proxy, None)
        stream = Stream(self, proxy, on_change)
        proxy.streams[stream] = None
        return stream

    def leave(self, stream: Stream) -> None:
        """A stream ended; some time after the last one of a proxy goes what only that proxy needed."""
        proxy = stream.proxy
        proxy.streams.pop(stream, None)
        if proxy.streams:
            return
        self._leaves += 1
        self._left[proxy] = number = self._leaves
        if self._linger is None:
            self._forget(proxy)
        else:
            self._linger(lambda: self._forget(proxy) if self._left.get(proxy) == number else None)

    def _forget(self, proxy: Proxy) -> None:
        del self._left[proxy]
        del self._proxies[proxy.query]
        of_dataplane = self._by_dataplane[_key_of(proxy.query)]
        del of_dataplane[proxy]
        if not of_dataplane:
            del self._by_dataplane[_key_of(proxy.query)]
        self._told.pop(proxy, None)
        self._first.pop(proxy.query, None)
        self._dismiss(proxy.query)
        self.engine.unwatch(proxy.query)
        self._set_items(proxy.own, ())
        for query in list(proxy.groups):
            self._leave_group(proxy, query)
        self._set_identities(proxy, ())
        proxy.own.users.clear()
        proxy.secrets.users.clear()
        self._schedule()

    # --- looking ---------------------------------------------------------------------------------

    def config(self, mesh: str, name: str, *, shadow: bool = False) -> dict[str, Any] | None:
        """What a proxy has (connected or not) as the API shows it; None for an unknown Dataplane.

        shadow: what it would have with shadow policies. Raises DerivationFailed.
        """
        proxies = list(self._by_dataplane.get(("Dataplane", mesh, name), ()))
        secrets = dict(proxies[0].secrets.resources.get(SECRET, {})) if proxies else {}
        client = replace(self._client(mesh, name), shadow=shadow)
        found = derived(self.engine, mesh, name, client, secrets)
        return None if found is None else render(found)

    def explain(self, mesh: str, name: str, type_url: str, resource: str) -> Explanation | None:
        """Why a proxy has a resource as it is; None when it does not have it."""
        return explain(
            self.engine, sidecar_plan.query(mesh, name, self._client(mesh, name)), type_url, resource
        )

    def _client(self, mesh: str, name: str) -> Client:
        """What a proxy said of itself, or what one says that is not connected here."""
        for proxy in self._by_dataplane.get(("Dataplane", mesh, name), ()):
            client = proxy.query.args[2]
            assert isinstance(client, Client)
            return client
        return Client(zone=self._zone)

    # --- moving ----------------------------------------------------------------------------------

    def advance(self, view: Reader, changes: Changes) -> None:
        """Move to a newer view. Proxies hear of it slice by slice, their own changes first."""
        self.engine.begin(view, changes)
        for key in changes.keys:
            self._first.update((proxy.query, None) for proxy in self._by_dataplane.get(key, ()))
        if not self._turn_waits:  # which would take up this change, too: many cost as much as one
            self._turn()

    @property
    def settled(self) -> bool:
        """Everything derived is of the newest view, and everybody was told."""
        return not (self.engine.pending or self._told or self._first or self._waiting or self._vanished)

    def _schedule(self) -> None:
        if self._turn_waits or self.settled:
            return
        if self._later is None:
            self._turn()
            return
        self._turn_waits = True
        self._later(self._next_turn)

    def _next_turn(self) -> None:
        self._turn_waits = False
        self._turn()

    def _turn(self) -> None:
        """Run one slice (all of them without a `later`), and tell what came of it."""
        while True:
            self._slice()
            self._tell()
            if self._later is not None or self.settled:
                break
        self._schedule()

    def _slice(self) -> None:
        """Who is first; then in equal parts what waits to be taken over, and the wave."""
        end = self.engine.ran + SLICE
        if self._take_over_some(self._first, end):
            self._take_over_some(self._waiting, end - SLICE // 2)
            self._take(self.engine.step(max(1, end - self.engine.ran)))
        if self._vanished and not (self.engine.pending or self._first or self._waiting):
            vanished, self._vanished = self._vanished, {}
            for query in vanished:
                self._refresh(query)

    def _take_over_some(self, queue: dict[Query, None], end: int) -> bool:
        """Take over what is queued until the engine ran so often; whether that was all."""
        while queue:
            if self.engine.ran >= end or not self._take_over(next(iter(queue)), end):
                return False
            end -= ADOPTION_COST
        return True

    def _take(self, changed: Iterable[Query]) -> None:
        """Update the layers that hold changed results; changed plans and groups are queued."""
        plans: list[Query] = []
        for query in changed:
            if query in self._proxies:
                plans.append(query)
            elif query in self._groups:
                self._waiting[query] = None
            elif query in self._held and self._value(query) is None:
                self._vanished[query] = None
            else:
                self._refresh(query)
        self._waiting.update((query, None) for query in plans if query not in self._first)

    def _take_over(self, query: Query, until: int | None) -> bool:
        """Take over a changed plan or group, if what it needs can be derived until the engine ran so often."""
        value = self._value(query)
        needs = self._needs_of_plan if query in self._proxies else self._needs_of_items
        if value is not None and until is not None and not self._preparing.go_on(query, value, needs, until):
            return False
        if query in self._proxies:
            self._replan(self._proxies[query])
        else:
            self._regroup(query)
        self._first.pop(query, None)
        self._dismiss(query)
        return True

    def _dismiss(self, query: Query) -> None:
        """It does not wait any more."""
        self._waiting.pop(query, None)
        self._preparing.end(query)

    def _needs_of_plan(self, plan: Plan) -> Iterator[Query]:
        """What a plan needs that nobody has: resources, and groups with all of theirs."""
        yield from self._needs_of_items(plan.items)
        for group in plan.groups:
            if group not in self._groups:
                yield group
                with contextlib.suppress(DerivationFailed):
                    yield from self._needs_of_items(self.engine.get(group.derivation, *group.args))

    def _needs_of_items(self, items: Iterable[Any]) -> Iterator[Query]:
        return (item.query for item in items if item.query not in self._held)

    def _tell(self) -> None:
        told, self._told = self._told, {}
        for proxy, deltas in told.items():
            for stream in list(proxy.streams):
                if stream.open:
                    self._hear(stream, deltas)

    def _hear(self, stream: Stream, deltas: list[Delta]) -> None:
        """Tell one stream; one that fails must not keep the news from the others."""
        try:
            stream.on_change(deltas)
        except Exception:
            log.exception("a stream could not take a change")

    def _announce(self, layer: Layer, change: Change) -> None:
        deltas = change.deltas()
        if deltas:
            for proxy in layer.users:
                self._told.setdefault(proxy, []).extend(deltas)

    # --- results ---------------------------------------------------------------------------------

    def _value(self, query: Query) -> Any:
        """A result, or None when it failed; why is kept in `failures`."""
        try:
            value = self.engine.get(query.derivation, *query.args)
        except DerivationFailed as failed:
            if query not in self.failures:
                log.error("cannot derive %s", failed)
            self.failures[query] = str(failed)
            return None
        self.failures.pop(query, None)
        return value

    def _refresh(self, query: Query) -> None:
        """A resource changed: put it where it is held."""
        holders = self._held.get(query)
        resource = self._value(query) if holders else None
        if query in self.failures:
            return
        for layer, name in list(holders or ()):
            change = Change()
            self._put(layer, name, resource, change)
            self._announce(layer, change)

    def _set_items(self, layer: Layer, items: Iterable[Any]) -> None:
        """Make a layer consist of `items`: hold what came, let go of what went, tell its users."""
        came, went = layer.plan(items)
        change = Change()
        for name, query in came.items():
            self._hold(layer, name, query)
            resource = self._value(query)
            if query not in self.failures:
                self._put(layer, name, resource, change)
        for name, query in went.items():
            self._release(layer, name, query)
            if name not in layer.queries and layer.drop(name):
                change.removed[name] = None
        self._announce(layer, change)

    def _put(self, layer: Layer, name: tuple[str, str], resource: Encoded | None, change: Change) -> None:
        """Note what a name stands for now; a result of None means that there is no such resource."""
        if resource is None:
            if layer.drop(name):
                change.removed[name] = None
        elif layer.put(name, resource):
            change.upserts[name] = resource

    def _hold(self, layer: Layer, name: tuple[str, str], query: Query) -> None:
        holders = self._held.get(query)
        if holders is None:
            holders = self._held[query] = {}
            self.engine.watch(query)
        holders[layer, name] = None

    def _release(self, layer: Layer, name: tuple[str, str], query: Query) -> None:
        holders = self._held[query]
        del holders[layer, name]
        if not holders:
            del self._held[query]
            self._vanished.pop(query, None)
            self.failures.pop(query, None)
            self.engine.unwatch(query)

    # --- groups and plans ------------------------------------------------------------------------

    def _regroup(self, query: Query) -> None:
        items = self._value(query)
        if items is not None:
            self._set_items(self._groups[query], items)

    def _join_group(self, proxy: Proxy, query: Query) -> None:
        layer = self._groups.get(query)
        if layer is None:
            layer = self._groups[query] = Layer()
            self.engine.watch(query)
            self._regroup(query)
        layer.users[proxy] = None
        proxy.groups[query] = layer

    def _leave_group(self, proxy: Proxy, query: Query) -> None:
        layer = proxy.groups.pop(query)
        layer.users.pop(proxy, None)
        if not layer.users:
            self._set_items(layer, ())
            self._dismiss(query)
            del self._groups[query]
            self.failures.pop(query, None)
            self.engine.unwatch(query)

    def _replan(self, proxy: Proxy) -> None:
        """A plan changed: resolve it now. A proxy whose Dataplane is gone keeps what it has."""
        plan = self._value(proxy.query)
        if plan is None or plan is proxy.plan:
            return
        proxy.plan = plan
        regrouped = list(proxy.groups) != list(plan.groups)
        before = {name for layer in proxy.groups.values() for name in layer.queries} if regrouped else set()
        self._set_items(proxy.own, plan.items)
        for query in plan.groups:
            if query not in proxy.groups:
                self._join_group(proxy, query)
        for query in [query for query in proxy.groups if query not in plan.groups]:
            self._leave_group(proxy, query)
        proxy.groups = {query: proxy.groups[query] for query in plan.groups}
        self._set_identities(proxy, plan.identities)
        first = proxy.snapshot is None
        if regrouped or first:
            proxy.restack()
        if first:
            self._told.setdefault(proxy, [])
        elif regrouped:
            self._tell_groups(proxy, before)

    def _tell_groups(self, proxy: Proxy, before: set[tuple[str, str]]) -> None:
        """Other groups mean that any name of the old and the new ones may have changed."""
        assert proxy.snapshot is not None
        after = {name for layer in proxy.groups.values() for name in layer.queries}
        change = Change()
        for type_url, name in sorted(before | after):
            resource = proxy.snapshot[type_url].get(name)
            if resource is None:
                change.removed[type_url, name] = None
            else:
                change.upserts[type_url, name] = resource
        self._told.setdefault(proxy, []).extend(change.deltas())

    # --- secrets ---------------------------------------------------------------------------------

    def _set_identities(self, proxy: Proxy, identities: tuple[Identity, ...]) -> None:
        if identities == tuple(proxy.identities):
            return
        for identity in proxy.identities.keys() - set(identities):
            proxy.identities.pop(identity).close()
        for identity in identities:
            if identity not in proxy.identities:
                changed = partial(self._secrets_changed, proxy, identity)
                proxy.identities[identity] = self._identities.open(identity, changed)
        self._set_secrets(proxy)

    def _secrets_changed(self, proxy: Proxy, identity: Identity) -> None:
        if identity in proxy.identities:
            self._set_secrets(proxy)
            self._tell()

    def _set_secrets(self, proxy: Proxy) -> None:
        layer, change = proxy.secrets, Change()
        secrets = {
            name: found for handle in proxy.identities.values() for name, found in handle.secrets().items()
        }
        for name, secret in secrets.items():
            if layer.put((SECRET, name), secret):
                change.upserts[SECRET, name] = secret
        for name in [name for name in layer.resources.get(SECRET, {}) if name not in secrets]:
            layer.drop((SECRET, name))
            change.removed[SECRET, name] = None
        self._announce(layer, change)


def _key_of(plan: Query) -> Key:
    """The key of the Dataplane, ZoneIngress or ZoneEgress that a plan is for."""
    mesh, name, _ = plan.args
    kind = next(kind for kind, found in _PLANS.values() if found is plan.derivation)
    return (kind, str(mesh), str(name))


def plan_of(node: NodeInfo) -> Callable[[str, str, Client], Query]:
    """The plan of a node of its type: sidecars, gateways and zone proxies of a mesh, or those of all meshes."""
    proxy_type = str(node.metadata.get("dataplane.proxyType") or "dataplane")
    _, plan = _PLANS.get(proxy_type, _PLANS["dataplane"])
    return plan.query


# What a node says it is -> its kind, and what plans it.
_PLANS = {
    "dataplane": ("Dataplane", sidecar_plan),
    "ingress": ("ZoneIngress", ingress_plan),
    "egress": ("ZoneEgress", egress_plan),
}
