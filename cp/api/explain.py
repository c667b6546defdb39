"""`…/dataplanes/{dp}/_explain`: why a proxy has what it has, and why not something else.

    ?type=cluster&resource=NAME&path=connectTimeout

Without a resource: what the proxy has, which policies select it, and why the others do not. With one: the
policies (with the element of theirs) and other resources without which it, or the value at `path`, would
differ; who wrote them, when and why, as far as the history reaches; since which commit it is so; and what
was passed over. Derived from the view that the read asks for, so `?at=` explains the past.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.consistency import view_for
from cp.api.context import Context
from cp.api.events import event_body
from cp.api.proxyconfig import shadow_of
from cp.history import History
from cp.problems import Problem, bad_parameter, not_found
from mesh.codec import rfc3339
from mesh.policy.proxy import item_of, proxy_of
from mesh.resource import Resource, ResourceKey
from mesh.view import View
from raftstore.types import Commit
from xds.config.causes import Probe
from xds.config.client import client_of
from xds.config.explain import item_names
from xds.config.limits import COMMITS_TRIED_MAX
from xds.config.passedover import PassedOver, verdicts
from xds.config.paths import ABSENT, Path, parse, pointer
from xds.config.source import plan_of
from xds.config.why import Cause, Undone, Why, why
from xds.engine import DerivationFailed, Engine, Query
from xds.source import NodeInfo
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

Json = dict[str, Any]
TYPES = {"cluster": CLUSTER, "endpoint": ENDPOINT, "listener": LISTENER, "route": ROUTE, "secret": SECRET}
# Each explanation derives on a processor that serves proxies, too: one after the other, and a person who asks
# should not have to wait for very many others.
EXPLANATIONS_AT_ONCE = 1
EXPLANATIONS_WAITING_MAX = 8


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, of which state, with what is needed to tell who wrote what."""

    view: View
    plan: Query
    dataplane: Resource
    type_url: str
    name: str
    path: Path
    shadow: bool
    past: Sequence[Undone]
    commits: Mapping[int, Commit]


def routes(context: Context) -> list[web.RouteDef]:
    """The explanation of one proxy."""
    turns = Turns()

    async def explain(request: web.Request) -> web.Response:
        proxy = ResourceKey("Dataplane", request.match_info["mesh"], request.match_info["name"])
        context.access.look(user_of(request, context), "VIEW_CONFIG_DUMP", proxy)
        if context.config.mode == "global":
            raise Problem(405, "Method not allowed", "the configuration of proxies is made in their zones")
        view = await view_for(request, context)
        question = _question(request, context, view)
        async with turns.next():
            return json_answer(await asyncio.to_thread(_answer, question))

    return [web.get("/meshes/{mesh}/dataplanes/{name}/_explain", explain)]


class Turns:
    """Who may derive, one after the other."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(EXPLANATIONS_AT_ONCE)
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        """Wait for a turn. Raises Problem (503) when too many do."""
        if self._waiting >= EXPLANATIONS_WAITING_MAX:
            detail = f"{self._waiting} explanations are waited for here; ask again, or another replica"
            raise Problem(503, "Service unavailable", detail, headers={"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1


# --- the question -------------------------------------------------------------------------------------


def _question(request: web.Request, context: Context, view: View) -> _Question:
    mesh, name = request.match_info["mesh"], request.match_info["name"]
    if view.get("Mesh", "", mesh) is None:
        raise not_found("Failed to retrieve Mesh")
    dataplane = view.get("Dataplane", mesh, name)
    if dataplane is None:
        raise not_found("Failed to retrieve Dataplane")
    shadow = shadow_of(request)
    query = request.query
    if not query.get("resource"):
        for needs_resource in ("type", "path"):
            if query.get(needs_resource):
                raise bad_parameter("resource", f"must be given with {needs_resource}")
    insight = view.get("DataplaneInsight", mesh, name)
    node = NodeInfo(f"{mesh}.{name}", metadata=(insight.spec.metadata if insight else None) or {})
    client = client_of(node, zone=context.config.multizone.zone.name, shadow=shadow)
    past = _past(context.live.history, view)
    return _Question(
        view,
        plan_of(node)(mesh, name, client),
        dataplane,
        _type(query.get("type", "")),
        query.get("resource", ""),
        _path(query.get("path", "")),
        shadow,
        past,
        {entry.commit.index: entry.commit for entry in context.live.history.newest_first()},
    )


def _type(text: str) -> str:
    if text and text not in TYPES and text not in TYPES.values():
        raise bad_parameter("type", f"{text[:60]!r} is not allowed; allowed: {', '.join(TYPES)}")
    return TYPES.get(text, text)


def _path(text: str) -> Path:
    try:
        return parse(text)
    except ValueError as error:
        raise bad_parameter("path", str(error)) from None


def _past(history: History, view: View) -> list[Undone]:
    """The newest commits up to a view that could matter to a proxy, with what was there before each."""
    found: list[Undone] = []
    for entry in history.newest_first():
        index = entry.commit.index
        keys = [ResourceKey(*event.key) for event in entry.commit.events]
        if index > view.index or all(key.kind.endswith("Insight") for key in keys):
            continue
        before = history.at(index - 1)
        found.append(Undone(index, [(key, before.get(*key)) for key in keys]))
        if len(found) == COMMITS_TRIED_MAX:
            break
    return found


# --- the answer ---------------------------------------------------------------------------------------


def _answer(question: _Question) -> Json:
    """Takes a derivation per trial; raises Problem for what the proxy does not have."""
    head = {"mesh": question.dataplane.mesh, "name": question.dataplane.name, "index": question.view.index}
    try:
        if not question.name:
            return head | _overview(question)
        return head | _explained(question)
    except DerivationFailed as failed:
        raise Problem(500, "Could not derive the configuration", str(failed)) from failed


def _overview(question: _Question) -> Json:
    view, dataplane = question.view, question.dataplane
    decided = verdicts(view, proxy_of(view, item_of(dataplane)), shadow=question.shadow)
    applied = []
    for policy, verdict in reversed(decided.chosen):
        stored = view.get(*policy.meta.key)
        assert stored is not None, "policies come from the view"
        inbounds = [endpoint.section for endpoint in verdict.endpoints]
        applied.append(_resource(stored, question.commits) | {"inbounds": inbounds})
    names: dict[str, list[str]] = {}
    for type_url, name in sorted(item_names(Engine(view), question.plan)):
        names.setdefault(type_url, []).append(name)
    return {"resources": names, "from": applied, "passedOver": list(map(_passed, decided.passed))}


def _explained(question: _Question) -> Json:
    view, name = question.view, question.name
    type_url = question.type_url or _likely_type(question)
    probe = Probe(view, question.plan, type_url, name, question.path)
    if not probe.exists:
        raise not_found(f"The proxy has no resource {name[:200]!r} of type {type_url.rpartition('.')[2]}")
    proxy = proxy_of(view, item_of(question.dataplane))
    found = why(view, probe, proxy, question.past, shadow=question.shadow)
    return {"type": type_url, "resource": name} | _why(found, question.commits)


def _likely_type(question: _Question) -> str:
    """The type of the resource of that name. A cluster and its endpoints share one: then the first in the order
    of TYPES that has something at the path."""
    items = list(item_names(Engine(question.view), question.plan))
    having = {url for url, name in items if name == question.name}
    if not having:
        close = difflib.get_close_matches(question.name[:200], [name for _, name in items], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise not_found(f"The proxy has no resource {question.name[:200]!r}{hint}")
    ordered = [url for url in TYPES.values() if url in having] or sorted(having)
    for type_url in ordered if question.path and len(ordered) > 1 else ():
        if Probe(question.view, question.plan, type_url, question.name, question.path).value is not ABSENT:
            return type_url
    return ordered[0]


def _why(found: Why, commits: Mapping[int, Commit]) -> Json:
    return {
        "path": pointer(found.path),
        "present": found.value is not ABSENT,
        "value": _value(found.value),
        "since": {
            "index": found.since.index,
            "exact": found.since.exact,
            "events": _events(commits.get(found.since.index)) if found.since.exact else [],
        },
        "from": [_cause(cause, commits, whole=not found.path) for cause in found.causes],
        "complete": found.complete,
        "passedOver": list(map(_passed, found.passed_over)),
        "derivations": list(found.derivations),
    }


def _cause(cause: Cause, commits: Mapping[int, Commit], *, whole: bool) -> Json:
    body = _resource(cause.resource, commits) | {"rules": list(cause.rules)}
    if whole:
        return body | {"changes": list(cause.paths), "needed": cause.without is ABSENT}
    return body | {"without": _value(cause.without)}


def _value(value: Any) -> Any:
    return None if value is ABSENT else value


def _resource(resource: Resource, commits: Mapping[int, Commit]) -> Json:
    """A resource, the index that wrote it, and the event if it is retained."""
    commit = commits.get(resource.version)
    events = [each for each in _events(commit) if _is_of(each, resource)]
    return {
        "type": resource.kind,
        "mesh": resource.mesh,
        "name": resource.name,
        "index": resource.version,
        "modificationTime": rfc3339(resource.modified_ms),
        "event": events[0] if events else None,
    }


def _is_of(event: Json, resource: Resource) -> bool:
    return (event["type"], event["mesh"], event["name"]) == resource.key


def _events(commit: Commit | None) -> list[Json]:
    return [] if commit is None else [event_body(event, with_resource=False) for event in commit.events]


def _passed(passed: PassedOver) -> Json:
    policy = passed.policy
    body = {"type": policy.kind, "mesh": policy.mesh, "name": policy.name, "reason": passed.reason}
    return body | ({"rule": passed.rule} if passed.rule else {})
