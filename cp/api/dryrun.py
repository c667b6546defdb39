"""`POST /transactions?dryRun=true`: what a transaction would change, and nothing else.

The transaction is planned as it would be written: the same checks, the same refusals, the same labels
and default policies. The answer tells each resource with the fields that differ, and each proxy with
the Envoy resources that would change. Lists are bounded; `…Total` counts what there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.consistency import view_for
from cp.api.context import Context
from cp.api.kinds import allowed_for, may_see
from cp.fielddiff import field_changes
from cp.impact import Impact, Impacts, ProxyChange
from cp.limits import DRY_RUN_PROXIES_MAX, DRY_RUN_RESOURCES_MAX
from cp.plan import Operation, Plan, plan
from cp.problems import bad_parameter
from mesh.codec import to_document
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey
from mesh.view import Change, View
from raftstore.types import DeleteScope, Key

Json = dict[str, Any]
ON_GLOBAL = "the configuration of proxies is made in their zones"


def flag(request: web.Request, name: str, *, otherwise: bool) -> bool:
    """A query parameter that is true or false. Raises Problem."""
    text = request.query.get(name, str(otherwise).lower())
    if text not in ("true", "false"):
        raise bad_parameter(name, f"{text[:40]!r} is not allowed; allowed: true, false")
    return text == "true"


class DryRuns:
    """Answers of one worker."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._impacts = Impacts(context.live, context.config.multizone.zone.name)

    async def answer(self, request: web.Request, operations: list[Operation]) -> web.Response:
        """What would become of `operations`. Raises Problem as writing them would."""
        context = self._context
        with_proxies = flag(request, "proxies", otherwise=True)
        view = await view_for(request, context)
        made = plan(view, operations, context.config, allowed=allowed_for(request, context))
        changes = list(changes_of(view, made))
        body: Json = {
            "dryRun": True,
            "index": view.index,
            "results": list(self._results(request, view, made, changes)),
        }
        if with_proxies:
            body |= await self._proxies(view, [change for change in changes if _differs(view, change)])
        return json_answer(body)

    def _results(self, request: web.Request, view: View, made: Plan, changes: list[Change]) -> Iterable[Json]:
        """One item per operation, then what follows from them: default policies, what a mesh owned."""
        after = dict(changes)
        asked = dict.fromkeys(result.key for result in made.results)
        warned = {result.key: result.warnings for result in made.results}
        for key in dict.fromkeys([*asked, *after]):
            told = _result(key, view.get(*key), after[key], warned.get(key, ()), implied=key not in asked)
            if may_see(request, self._context, KINDS[key.kind], key):
                yield told
            elif key in asked:  # who may write it and not read it learns what becomes of it, not what it was
                yield told | {"changes": []}

    async def _proxies(self, view: View, changes: list[Change]) -> Json:
        if self._context.config.mode == "global":
            return {"proxies": [], "proxiesTotal": 0, "proxiesReason": ON_GLOBAL}
        if not changes:
            return {"proxies": [], "proxiesTotal": 0}
        return _impact(await self._impacts.of(view, changes))


def changes_of(view: View, made: Plan) -> Iterable[Change]:
    """What the transaction leaves behind, by key, each once."""
    keys: dict[ResourceKey, None] = {}
    for write in made.writes:
        if isinstance(write, DeleteScope):
            keys |= dict.fromkeys(each.key for each in view if write.scope.holds(Key(*each.key)))
        else:
            keys[ResourceKey(*write.key)] = None
    return ((key, made.view.get(*key)) for key in keys)


def _differs(view: View, change: Change) -> bool:
    """Whether a write changes anything but when it was written."""
    key, new = change
    old = view.get(*key)
    if old is None or new is None:
        return old is not new
    return (old.spec, old.labels) != (new.spec, new.labels)


def _result(
    key: ResourceKey, old: Resource | None, new: Resource | None, warnings: tuple[str, ...], *, implied: bool
) -> Json:
    before = to_document(old) if old else None
    found = field_changes(before, to_document(new) if new else None)
    kept = "updated" if found else "unchanged"
    body: Json = {
        "type": key.kind,
        "mesh": key.mesh,
        "name": key.name,
        "outcome": "deleted" if new is None else "created" if old is None else kept,
        "changes": [change.document() for change in found],
    }
    if implied:
        body["implied"] = True
    if warnings:
        body["warnings"] = list(warnings)
    return body


def _impact(impact: Impact) -> Json:
    body: Json = {
        "proxies": [_proxy(each) for each in impact.proxies[:DRY_RUN_PROXIES_MAX]],
        "proxiesTotal": len(impact.proxies),
    }
    if impact.left_out:
        body["proxiesReason"] = f"{impact.left_out} more proxies were not looked at"
    return body


def _proxy(change: ProxyChange) -> Json:
    return {
        "type": change.key.kind,
        "mesh": change.key.mesh,
        "name": change.key.name,
        "op": change.op,
        "resources": [
            {"type": each.type_url, "name": each.name, "op": each.op}
            for each in change.resources[:DRY_RUN_RESOURCES_MAX]
        ],
        "resourcesTotal": len(change.resources),
    }
