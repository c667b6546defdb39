"""Why a proxy has a resource as it is: the resources and indexes that were read to derive it.

The resource itself often reads nothing, since all that it depends on is in its arguments. So the walk
starts at the plan and goes down as long as a result still holds the resource: the deepest such
derivation is the one that decided about it, and what it and everything below it read is the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from xds.config.backends import Item
from xds.config.plan import Plan
from xds.engine import DerivationFailed, Engine, Query
from xds.engine.derivation import Derivation, IndexKey, Key


class Explanation(NamedTuple):
    """keys: resources that were read, in order of reading. index_keys: lists and indexes that were.

    derivations: names of the derivations from the plan down to the resource.
    """

    keys: tuple[Key, ...]
    index_keys: tuple[IndexKey, ...]
    derivations: tuple[str, ...]


def explain(engine: Engine, plan: Query, type_url: str, name: str) -> Explanation | None:
    """Why the proxy with that plan has the resource; None when it does not have it."""
    path = path_to(engine, plan, type_url, name)
    if path is None:
        return None
    keys: dict[Key, None] = {}
    index_keys: dict[IndexKey, None] = {}
    seen: set[Query] = set()
    for query in path[-2:]:
        _collect(engine, query, keys, index_keys, seen)
    return Explanation(tuple(keys), tuple(index_keys), tuple(query.derivation.name for query in path))


def find_item(engine: Engine, plan: Query, type_url: str, name: str) -> Item | None:
    """What the plan has under that type and name."""
    found = (_item(engine, start, type_url, name) for start in (plan, *_groups(engine, plan)))
    return next((item for item in found if item is not None), None)


class Within(NamedTuple):
    """The part of a group in which a resource is, e.g. the outbound of its destination.

    group: the derivation behind the group; part: the derivation that the group reads, whose first argument is
    the group's own: what all parts depend on.
    """

    group: Derivation[Any, Any]
    part: Query


def within(engine: Engine, plan: Query, type_url: str, name: str) -> Within | None:
    """Where to look for a resource without deriving all its group; None when there is no such place."""
    path = path_to(engine, plan, type_url, name) or []
    if len(path) < 4 or path[1] not in _groups(engine, plan):
        return None
    group, part = path[1], path[2]
    return Within(group.derivation, part) if part.args[:1] == group.args[:1] else None


def find_within(engine: Engine, plan: Query, place: Within, type_url: str, name: str) -> Item | None:
    """As `find_item`, but in that part of the group only, whatever the plan's groups depend on now."""
    for group in _groups(engine, plan):
        if group.derivation is place.group and group.args:
            part = Query(place.part.derivation, (group.args[0], *place.part.args[1:]))
            if (found := _item(engine, part, type_url, name)) is not None:
                return found
    return None


def item_names(engine: Engine, plan: Query) -> set[tuple[str, str]]:
    """(type URL, name) of all that a plan has. Raises DerivationFailed."""
    engine.get(plan.derivation, *plan.args)
    found: set[tuple[str, str]] = set()
    for start in (plan, *_groups(engine, plan)):
        items = (item for item in _items(engine, start) if isinstance(item, Item))
        found.update((item.type_url, item.name) for item in items)
    return found


def queries_below(engine: Engine, queries: Iterable[Query]) -> set[Query]:
    """These derivations and all that they read, directly or through others."""
    keys: dict[Key, None] = {}
    index_keys: dict[IndexKey, None] = {}
    seen: set[Query] = set()
    for query in queries:
        _collect(engine, query, keys, index_keys, seen)
    return seen


def path_to(engine: Engine, plan: Query, type_url: str, name: str) -> list[Query] | None:
    """The plan, what it was made from, down to the resource's own derivation; None: it has no such."""
    for start in (plan, *_groups(engine, plan)):
        item = _item(engine, start, type_url, name)
        if item is None:
            continue
        path = [plan] if start == plan else [plan, start]
        query: Query | None = start
        while query is not None:
            query = _below(engine, query, item)
            if query is not None:
                path.append(query)
        return [*path, item.query]
    return None


def _groups(engine: Engine, plan: Query) -> tuple[Query, ...]:
    value = _value(engine, plan)
    return value.groups if isinstance(value, Plan) else ()


def _value(engine: Engine, query: Query) -> object:
    try:
        value: object = engine.get(query.derivation, *query.args)
    except DerivationFailed:
        return None
    return value


def _items(engine: Engine, query: Query) -> tuple[object, ...]:
    value = _value(engine, query)
    if isinstance(value, Plan):
        return value.items
    return value if isinstance(value, tuple) else ()


def _item(engine: Engine, query: Query, type_url: str, name: str) -> Item | None:
    for found in _items(engine, query):
        if isinstance(found, Item) and (found.type_url, found.name) == (type_url, name):
            return found
    return None


def _below(engine: Engine, query: Query, item: Item) -> Query | None:
    """A derivation that `query` reads and whose result holds the item, too."""
    for used in engine.reads_of(query).queries:
        if item in _items(engine, used):
            return used
    return None


def _collect(
    engine: Engine,
    query: Query,
    keys: dict[Key, None],
    index_keys: dict[IndexKey, None],
    seen: set[Query],
) -> None:
    if query in seen:
        return
    seen.add(query)
    _value(engine, query)
    reads = engine.reads_of(query)
    keys.update(dict.fromkeys(reads.keys))
    index_keys.update(dict.fromkeys(reads.index_keys))
    for used in reads.queries:
        _collect(engine, used, keys, index_keys, seen)
