"""The incremental engine: what changed runs again, and nothing else.

The graph. A node is one derivation with its arguments. Running it records what it reads: keys and
index keys of the view, and other nodes. The engine keeps the reverse of those edges.

A wave. `begin(view, changes)` marks dirty the nodes that read a changed key. `step` runs dirty nodes
in order of height (a node is higher than all it reads), so each runs at most once. A node whose new
output equals the old one stops the wave there; otherwise its dependents become dirty. The cost of a
change is therefore the number of results that change, plus one, not the size of the mesh.

Slices. `step(budget)` may stop between any two nodes, so a long wave does not block the loop; a
newer view may arrive meanwhile, its changes join the wave, and what waits runs once, on the newest
view (latest wins). A reader that cannot wait asks with `get`: only what that answer needs runs, ahead
of the queue.

Errors are values: a derivation that raises is memoised as failed, its readers get DerivationFailed,
and it runs again when something it read changes. So one bad resource stops one result, not a wave.

Memory. A node that nobody watches or reads is dropped when the wave ends, with all it alone used.

Nothing here knows time, threads or I/O: the same views and changes give the same results in the same
order everywhere, and equal those of an engine that starts from nothing on the last view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from mesh.reader import Reader
from mesh.resource import Resource, ResourceKey
from xds.engine import limits
from xds.engine.derivation import Derivation, IndexKey, Key, Query
from xds.engine.errors import Cycle, DerivationFailed, EngineBusy
from xds.engine.node import Node, Reads, State
from xds.engine.wave import Wave

P = ParamSpec("P")
R = TypeVar("R")


class Changes(Protocol):
    """What differs between two views."""

    @property
    def keys(self) -> Iterable[Key]: ...

    @property
    def index_keys(self) -> Iterable[IndexKey]: ...


class Engine:
    """Memoised derivations over a view that moves."""

    def __init__(self, view: Reader) -> None:
        self._view = view
        self._nodes: dict[Query, Node] = {}
        self._by_key: dict[Key, dict[Node, None]] = {}
        self._by_index: dict[IndexKey, dict[Node, None]] = {}
        self._wave = Wave()
        self._orphans: dict[Node, None] = {}
        self._changed_roots: dict[Query, None] = {}
        # Nodes found to be up to date by `get` while a wave waits.
        self._settled: set[Node] = set()
        self._running = 0
        self._created = 0
        # How many derivations ran in all: what slices are measured in.
        self.ran = 0
        # How often each derivation ran, by name: the measure of "only what changed".
        self.runs: Counter[str] = Counter()

    @property
    def view(self) -> Reader:
        """The newest view; results of nodes that still wait may be of an older one."""
        return self._view

    @property
    def pending(self) -> bool:
        """True while a wave is not finished, or changed results are not reported."""
        return bool(self._changed_roots) or bool(self._wave)

    def __len__(self) -> int:
        return len(self._nodes)

    # -- asking ----------------------------------------------------------------------------

    def get(self, derivation: Derivation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result on the newest view, ahead of all that waits. Raises DerivationFailed."""
        node = self._node(derivation.query(*args, **kwargs))
        if not node.needed:
            self._orphans[node] = None
        self._settle(node)
        result: R = _outcome(node)
        return result

    def watch(self, query: Query) -> None:
        """Keep a result up to date, and name it in `advance` and `step` when it changes.

        Watches are counted. The result is made by the next `step` or `get`, and its first value
        counts as a change.
        """
        node = self._node(query)
        node.roots += 1
        if node.state is State.NEW:
            self._wave.push(node)

    def unwatch(self, query: Query) -> None:
        """Undo one `watch`. Unknown queries are a bug of the caller: KeyError."""
        node = self._nodes[query]
        node.roots -= 1
        if node.roots < 0:
            raise KeyError(f"{query} is not watched")
        if not node.roots:
            self._changed_roots.pop(query, None)
        if not node.needed:
            self._orphans[node] = None

    def reads_of(self, query: Query) -> Reads:
        """What the last run of a result read. Raises KeyError if there is no such result."""
        return self._nodes[query].reads()

    # -- moving ----------------------------------------------------------------------------

    def begin(self, view: Reader, changes: Changes) -> None:
        """Move to a newer view. What read something changed waits for `step`."""
        if self._running:
            raise EngineBusy("the view moved while a derivation runs")
        self._view = view
        self._settled.clear()
        for key in changes.keys:
            self._invalidate(self._by_key.get(key))
        for index_key in changes.index_keys:
            self._invalidate(self._by_index.get(index_key))

    def step(self, budget: int) -> tuple[Query, ...]:
        """Run up to `budget` waiting derivations; the watched results that changed, in that order.

        Each change of a watched result is reported once. `pending` tells if more waits.
        """
        for _ in range(budget):
            node = self._wave.pop()
            if node is None:
                break
            self._run(node)
        if not self._wave or len(self._orphans) > limits.ORPHANS_MAX:
            self._collect()
        if not self._wave:
            self._settled.clear()
        changed = tuple(self._changed_roots)
        self._changed_roots.clear()
        return changed

    def advance(self, view: Reader, changes: Changes) -> set[Query]:
        """Move to a newer view and finish the wave; the watched results whose value changed."""
        self.begin(view, changes)
        changed = set(self.step(limits.ADVANCE_SLICE))
        while self.pending:
            changed.update(self.step(limits.ADVANCE_SLICE))
        return changed

    # -- the graph -------------------------------------------------------------------------

    def _node(self, query: Query) -> Node:
        node = self._nodes.get(query)
        if node is None:
            self._created += 1
            node = self._nodes[query] = Node(query, self._created)
        return node

    def _invalidate(self, nodes: Iterable[Node] | None) -> None:
        for node in nodes or ():
            if node.state is State.CLEAN:
                node.state = State.DIRTY
                self._wave.push(node)

    def _settle(self, node: Node) -> None:
        """Make a node's value that of the newest view, whatever else waits."""
        if node.state is State.RUNNING:
            raise Cycle(f"{node.query} reads itself")
        if node.state is State.CLEAN:
            floor = self._wave.floor()
            if floor is None or node.height <= floor or node in self._settled:
                return
            for used in list(node.uses):
                self._settle(used)
        if node.state is not State.CLEAN:
            self._run(node)
        self._settled.add(node)

    def _run(self, node: Node) -> None:
        first = node.state is State.NEW
        before = (node.keys, node.index_keys, node.uses)
        node.keys, node.index_keys, node.uses = {}, {}, {}
        node.state = State.RUNNING
        self._running += 1
        self.ran += 1
        self.runs[node.query.derivation.name] += 1
        value, failure = self._attempt(node)
        self._running -= 1
        node.state = State.CLEAN
        self._rewire(node, *before)
        if not first and node.outcome_equals(value, failure):
            return
        node.value, node.failure = value, failure
        if node.roots:
            self._changed_roots[node.query] = None
        self._invalidate(node.dependents)

    def _attempt(self, node: Node) -> tuple[Any, Exception | None]:
        try:
            return node.query.derivation.fn(_Recorder(self, node), *node.query.args), None
        except DerivationFailed as failed:
            return None, failed
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this node's value
            return None, DerivationFailed(node.query, error)

    def _rewire(
        self, node: Node, keys: dict[Key, None], index_keys: dict[IndexKey, None], uses: dict[Node, None]
    ) -> None:
        """Replace the edges of the last run (the arguments) by those of this one."""
        for key in keys.keys() - node.keys.keys():
            _drop(self._by_key, key, node)
        for index_key in index_keys.keys() - node.index_keys.keys():
            _drop(self._by_index, index_key, node)
        for used in uses:
            if used not in node.uses:
                self._release(used, node)
        self._lift(node, 1 + max((used.height for used in node.uses), default=-1))

    def _lift(self, node: Node, height: int) -> None:
        """Set a node's height, and raise what reads it above it."""
        node.height = height
        stack = [node]
        while stack:
            low = stack.pop()
            for dependent in low.dependents:
                if dependent.height <= low.height:
                    dependent.height = low.height + 1
                    stack.append(dependent)

    def _release(self, used: Node, by: Node) -> None:
        used.dependents.pop(by, None)
        if not used.needed:
            self._orphans[used] = None

    def _collect(self) -> None:
        """Drop what nobody needs, and what only that used."""
        while self._orphans:
            node, _ = self._orphans.popitem()
            if node.needed:
                continue
            del self._nodes[node.query]
            for key in node.keys:
                _drop(self._by_key, key, node)
            for index_key in node.index_keys:
                _drop(self._by_index, index_key, node)
            for used in node.uses:
                self._release(used, node)

    # -- what the recorder calls -------------------------------------------------------------

    def record_key(self, node: Node, key: Key) -> None:
        """`node` reads `key` of the view."""
        node.keys[key] = None
        self._by_key.setdefault(key, {})[node] = None

    def record_index(self, node: Node, key: IndexKey) -> None:
        """`node` reads `key` of an index."""
        node.index_keys[key] = None
        self._by_index.setdefault(key, {})[node] = None

    def read(self, node: Node, query: Query) -> Any:
        """`node` reads the result of `query`."""
        used = self._node(query)
        self._settle(used)
        node.uses[used] = None
        used.dependents[node] = None
        return _outcome(used)


class _Recorder:
    """The context of one run: answers from the view, and notes what was asked."""

    __slots__ = ("_engine", "_node", "_view")

    def __init__(self, engine: Engine, node: Node) -> None:
        self._engine = engine
        self._node = node
        self._view = engine.view

    def get(self, kind: str, mesh: str, name: str) -> Resource | None:
        self._engine.record_key(self._node, (kind, mesh, name))
        return self._view.get(kind, mesh, name)

    def list(self, kind: str, mesh: str | None = None) -> Sequence[Resource]:
        self._engine.record_index(self._node, ("kind", kind, mesh))
        return self._view.list(kind, mesh)

    def lookup(self, index: str, *parts: str) -> tuple[ResourceKey, ...]:
        self._engine.record_index(self._node, (index, *parts))
        return self._view.lookup(index, *parts)

    def derive(self, query: Query) -> Any:
        return self._engine.read(self._node, query)


def _outcome(node: Node) -> Any:
    if node.failure is not None:
        raise node.failure.with_traceback(None)
    return node.value


def _drop(table: dict[Any, dict[Node, None]], key: Any, node: Node) -> None:
    """Remove a reverse edge, and the entry with its last one."""
    nodes = table.get(key)
    if nodes is not None:
        nodes.pop(node, None)
        if not nodes:
            del table[key]
