"""Streams of proxies, spread over the replicas: who has many more than the mean sends some away, slowly.

After a replica restarts, all its proxies are elsewhere, and stay there: a stream ends only when something ends
it. So each replica counts the streams of all (the insights of the proxies say where each is connected, and every
replica has them in its view), and one that is far above the mean ends a few of its own. Their Envoys turn to the
next address that they know.

Gentle on purpose. Nothing happens for a while after the replicas or their streams changed much; little happens
at a time; a surplus within the tolerance is left alone; and a proxy that comes back to us right after it was sent
away (it may know no other address) is left alone, too.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cp.config_schema import Streams
from cp.live import LiveView
from cp.streams import Connection, Connections
from mesh.view import View
from raftstore.errors import StoreError
from raftstore.port import Member, Store

log = logging.getLogger(__name__)

REASON = "another replica serves fewer proxies"
# A surplus below this is not worth a reconnect.
SURPLUS_MIN = 3
# A proxy that was sent away and is back is not sent away again for this long.
SENT_AWAY_S = 3600.0
SENT_AWAY_KEPT = 10_000

INSIGHTS = ("DataplaneInsight", "ZoneIngressInsight", "ZoneEgressInsight")


def streams_by_instance(view: View) -> dict[str, int]:
    """Open streams by the control-plane process that serves them, as the insights tell."""
    found: dict[str, int] = {}
    for kind in INSIGHTS:
        for insight in view.list(kind):
            subscriptions = insight.spec.subscriptions
            if subscriptions and not subscriptions[-1].disconnect_time:
                instance = subscriptions[-1].control_plane_instance_id
                found[instance] = found.get(instance, 0) + 1
    return found


def surplus(mine: int, siblings: int, elsewhere: int, replicas: int, tolerance: float) -> int:
    """How many of `mine` streams of this process are too many.

    siblings: streams of this replica's other processes, each of which sheds its share of the surplus.
    elsewhere: streams of other replicas. replicas: how many there are that could serve.
    """
    of_replica = mine + siblings
    if replicas < 2 or not mine:
        return 0
    mean = (of_replica + elsewhere) / replicas
    over = of_replica - math.ceil(mean * (1 + tolerance))
    return math.ceil(over * mine / of_replica) if over >= SURPLUS_MIN else 0


@dataclass(slots=True)
class Shedding:
    """What one process remembers from look to look. Pure: time is given."""

    settings: Streams
    _members: frozenset[str] = frozenset()
    _since: float = -math.inf
    _sent_away: dict[str, float] = field(default_factory=dict)

    def choose(self, members: Iterable[str], too_many: int, nodes: Sequence[str], now: float) -> list[str]:
        """Which of the connected nodes to send away now. too_many: the surplus."""
        present = frozenset(members)
        if present != self._members:
            self._members, self._since = present, now
        if now - self._since < self.settings.balance_settle:
            return []
        for node_id in [each for each, at in self._sent_away.items() if now - at > SENT_AWAY_S]:
            del self._sent_away[node_id]
        share = max(1, int(self.settings.balance_per_second * self.settings.balance_interval))
        chosen = [each for each in nodes if each not in self._sent_away][: min(too_many, share)]
        if len(self._sent_away) < SENT_AWAY_KEPT:
            self._sent_away.update(dict.fromkeys(chosen, now))
        return chosen


class Balancer:
    """Looks now and then whether this process has too many streams.

    instance: its own name. alone: it is the only process of its replica; then what insights say of an
    earlier one is of the past.
    """

    def __init__(
        self,
        store: Store,
        connections: Connections,
        settings: Streams,
        instance: str,
        node_id: str,
        *,
        alone: bool,
    ) -> None:
        self._store = store
        self._connections = connections
        self._settings = settings
        self._instance, self._alone = instance, alone
        self._own = own_prefix(instance, node_id)
        self._shedding = Shedding(settings)
        self.sent_away = 0

    async def run(self, live: LiveView) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.balance_interval)
            try:
                await self.look(live.view, loop.time())
            except Exception:
                log.exception("spreading streams over replicas failed")

    async def look(self, view: View, now: float) -> list[str]:
        """Send away what is too much; the ids of the nodes that were told to go."""
        try:
            members = (await self._store.status()).members
        except StoreError:
            return []  # who serves is not known
        serving = [member.id for member in members if serves(member)]
        siblings, elsewhere = self._others(view)
        mine, tolerance = len(self._connections), self._settings.balance_tolerance
        too_many = surplus(mine, siblings, elsewhere, len(serving), tolerance)
        by_node = {each.stream.node.id: each for each in self._newest_first() if each.stream.node is not None}
        chosen = self._shedding.choose(serving, too_many, list(by_node), now)
        if chosen:
            log.info("%d proxies too many here: sending %d to other replicas", too_many, len(chosen))
        for number, node_id in enumerate(chosen):
            self.sent_away += 1
            by_node[node_id].stream.end("UNAVAILABLE", REASON)
            if number + 1 < len(chosen):
                await asyncio.sleep(1 / self._settings.balance_per_second)
        return chosen

    def _others(self, view: View) -> tuple[int, int]:
        """Streams of this replica's other processes, and of other replicas."""
        siblings = elsewhere = 0
        for instance, count in streams_by_instance(view).items():
            if not instance.startswith(self._own):
                elsewhere += count
            elif instance != self._instance and not self._alone:
                siblings += count
        return siblings, elsewhere

    def _newest_first(self) -> list[Connection]:
        """Those that came last have moved already, and are the ones that came because of the loss."""
        return sorted(self._connections, key=lambda each: each.since_ms, reverse=True)


def own_prefix(instance: str, node_id: str) -> str:
    """What the names of all processes of this replica begin with: HOST-NODE-, before the process's number."""
    head, separator, _ = instance.rpartition("-")
    return head + separator if head.endswith(f"-{node_id}") else instance


def serves(member: Member) -> bool:
    """Whether proxies may be expected to find this replica."""
    return member.connected and member.role != "unknown" and member.wanted != "removed"
