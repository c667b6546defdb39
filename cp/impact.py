"""Which proxies a transaction would change, and which of their Envoy resources, before it is written.

    warm derivation at view V --advance(V + transaction)--> deltas --advance(V)--> deltas back

The derivation behind the ADS server records what each result read, so moving it from the view to the
view with the transaction applied, and back, costs what the transaction changes and not what the mesh
holds. It is a derivation of its own: the one that serves proxies never sees what is not written. It
follows every proxy of the meshes that were asked about, wherever they are connected, which costs a full
derivation at the first question; then it is kept for a while, and caught up by the commits since.

The two directions together tell the kinds of change: what goes on the way back was added, what has
equal content both ways did not change.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cp.limits import IMPACT_IDLE_S, IMPACT_PROXIES_MAX
from cp.live import LiveView
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey
from mesh.view import Change, View
from raftstore.errors import Compacted
from xds.config.source import Source, Stream
from xds.source import NodeInfo
from xds.types import Delta

ResourceOp = Literal["add", "change", "remove"]
Name = tuple[str, str]  # type URL, name


class ResourceChange(NamedTuple):
    """One Envoy resource of one proxy."""

    type_url: str
    name: str
    op: ResourceOp


class ProxyChange(NamedTuple):
    """What becomes of one proxy. op: add and remove are of the proxy itself."""

    key: ResourceKey
    op: ResourceOp
    resources: tuple[ResourceChange, ...]


class Impact(NamedTuple):
    """Proxies that change, in the order of their keys. left_out: proxies that were not looked at."""

    proxies: tuple[ProxyChange, ...]
    left_out: int


@dataclass
class _Followed:
    """One proxy of the derivation, and what it was told since the last look."""

    stream: Stream | None = None
    deltas: list[Delta] = field(default_factory=list)

    def hear(self, deltas: Sequence[Delta]) -> None:
        self.deltas += deltas

    def take(self) -> dict[Name, str | None]:
        """name -> version of what it has now, None for what is gone."""
        found: dict[Name, str | None] = {}
        for delta in self.deltas:
            found |= {(delta.type_url, each.name): each.version for each in delta.upserts}
            found |= dict.fromkeys(((delta.type_url, name) for name in delta.removed), None)
        self.deltas = []
        return found


class Derivation:
    """All proxies of some meshes, derived at one view. Synchronous; `Impacts` gives it a thread."""

    def __init__(self, view: View, zone: str, *, proxies_max: int = IMPACT_PROXIES_MAX) -> None:
        self.view = view
        self._zone = zone
        self._proxies_max = proxies_max
        self._source = Source(view, zone=zone)
        self._meshes: set[str] = set()
        self._followed: dict[ResourceKey, _Followed] = {}

    def catch_up(self, view: View, keys: Iterable[ResourceKey]) -> None:
        """Move to a newer view; `keys` are those that were written in between."""
        self._move(view, [(key, view.get(*key)) for key in keys])

    def impact(self, changes: Sequence[Change], meshes: Iterable[str]) -> Impact:
        """What would change if `changes` were made, among the proxies of these meshes."""
        self._meshes.update(meshes)
        base = self.view
        left_out = self._follow()
        back = [(key, base.get(*key)) for key, _ in changes]
        after, _ = base.with_changes(base.index, changes)
        self._take_all()
        self._move(after, changes)
        forward = self._take_all()
        added = self._added(after, changes)
        self._move(base, back)
        found = _compared(forward, self._take_all())
        gone = [
            ProxyChange(key, "remove", ()) for key, new in changes if new is None and key in self._followed
        ]
        return Impact(tuple(sorted([*found, *added, *gone])), left_out)

    def _move(self, view: View, changes: Sequence[Change]) -> None:
        _, differing = self.view.with_changes(view.index, changes)
        self._source.advance(view, differing)
        self.view = view

    def _follow(self) -> int:
        """Follow what is there now, within the limit; how many are not followed."""
        there = [*self.view.list("ZoneIngress")] if self._meshes else []
        there = [each for each in there if each.spec.zone in ("", self._zone)]
        for mesh in sorted(self._meshes):
            there += self.view.list("Dataplane", mesh)
        wanted = {each.key: each for each in there[: self._proxies_max]}
        for key in [key for key in self._followed if key not in wanted]:
            stream = self._followed.pop(key).stream
            if stream is not None:
                stream.close()
        for key, resource in wanted.items():
            if key not in self._followed:
                self._followed[key] = self._connected(resource, self.view)
        return len(there) - len(wanted)

    def _connected(self, resource: Resource, view: View) -> _Followed:
        followed = _Followed()
        followed.stream = self._source.connect(_node(resource, view), followed.hear)
        return followed

    def _added(self, view: View, changes: Sequence[Change]) -> list[ProxyChange]:
        """Proxies that the transaction itself brings, with everything that they would have."""
        found = []
        for key, new in changes:
            if new is None or key.kind not in _PROXIES or key in self._followed:
                continue
            followed = self._connected(new, view)
            assert followed.stream is not None
            names = followed.stream.snapshot() or {}
            resources = [
                ResourceChange(url, name, "add") for url in sorted(names) for name in sorted(names[url])
            ]
            followed.stream.close()
            found.append(ProxyChange(key, "add", tuple(resources)))
        return found

    def _take_all(self) -> dict[ResourceKey, dict[Name, str | None]]:
        told = ((key, followed.take()) for key, followed in self._followed.items())
        return {key: names for key, names in told if names}


_PROXIES: Mapping[str, str] = {"Dataplane": "DataplaneInsight", "ZoneIngress": "ZoneIngressInsight"}


def _node(resource: Resource, view: View) -> NodeInfo:
    """What a proxy said of itself when it was connected last, to any replica."""
    insight = view.get(_PROXIES[resource.kind], resource.mesh, resource.name)
    metadata = dict((getattr(insight.spec, "metadata", None) if insight is not None else None) or {})
    if resource.kind == "ZoneIngress":
        metadata["dataplane.proxyType"] = "ingress"
    return NodeInfo(f"{resource.mesh}.{resource.name}", metadata=metadata)


def _compared(
    forward: Mapping[ResourceKey, Mapping[Name, str | None]],
    back: Mapping[ResourceKey, Mapping[Name, str | None]],
) -> list[ProxyChange]:
    found = []
    for key, names in forward.items():
        before = back.get(key, {})
        resources = [
            ResourceChange(*name, _op(before.get(name), version))
            for name, version in sorted(names.items())
            if before.get(name) != version
        ]
        if resources:
            found.append(ProxyChange(key, "change", tuple(resources)))
    return found


def _op(before: str | None, after: str | None) -> ResourceOp:
    return "add" if before is None else "remove" if after is None else "change"


def meshes_of(view: View, keys: Iterable[ResourceKey]) -> set[str]:
    """The meshes whose proxies a change of these keys may concern."""
    found = set()
    for key in keys:
        if key.kind == "Mesh":
            found.add(key.name)
        elif KINDS[key.kind].scope == "mesh":
            found.add(key.mesh)
        else:
            found |= {mesh.name for mesh in view.list("Mesh")}
    return found


class Impacts:
    """Answers of one worker: a derivation that is kept warm between questions."""

    def __init__(self, live: LiveView, zone: str) -> None:
        self._live = live
        self._zone = zone
        self._lock = asyncio.Lock()
        self._derivation: Derivation | None = None
        self._forget: asyncio.TimerHandle | None = None

    async def of(self, view: View, changes: Sequence[Change]) -> Impact:
        """What `changes` to `view`, one of the live view's, would do. Raises what a derivation raises."""
        async with self._lock:
            if self._forget is not None:
                self._forget.cancel()
            try:
                derivation = await self._at(view)
                meshes = meshes_of(view, (key for key, _ in changes))
                found = await asyncio.to_thread(derivation.impact, changes, meshes)
            except BaseException:
                self._derivation = None  # it may stand between two views
                raise
            self._forget = asyncio.get_running_loop().call_later(IMPACT_IDLE_S, self._drop)
            return found

    def _drop(self) -> None:
        self._derivation = None

    async def _at(self, view: View) -> Derivation:
        """The derivation at `view`: the one that is kept if it can be caught up, else a new one."""
        kept = self._derivation
        keys = self._written_since(kept.view, view) if kept is not None else None
        if kept is not None and keys is not None:
            await asyncio.to_thread(functools.partial(kept.catch_up, view, keys))
            return kept
        self._derivation = Derivation(view, self._zone)
        return self._derivation

    def _written_since(self, before: View, view: View) -> set[ResourceKey] | None:
        """What was written between two views; None when that is not known."""
        if view.index < before.index:
            return None
        try:
            commits = self._live.history.after(before.index)
        except Compacted:
            return None
        return {
            ResourceKey(*event.key) for each in commits if each.index <= view.index for event in each.events
        }
