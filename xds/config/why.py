"""The whole answer to "why does this proxy have this here?": what, since when, from what, and what not.

Pure but for the time it takes (a derivation per trial): the API calls it in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mesh.policy.kinds import BY_NAME
from mesh.policy.proxy import Proxy
from mesh.policy.values import Item
from mesh.resource import Resource, ResourceKey
from mesh.view import Change, View
from xds.config.causes import Needed, Part, Probe, needed, ordered_parts
from xds.config.diff import diff
from xds.config.explain import explain
from xds.config.limits import CANDIDATES_MAX, COMMITS_TRIED_MAX
from xds.config.passedover import PassedOver, unused, verdicts
from xds.config.paths import ABSENT, Path

PATHS_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Undone:
    """A commit of the past: its index, and what its keys held before it."""

    index: int
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Since:
    """index: the commit that made the value what it is. exact: False when that is older than what is
    retained; then the value was the same before `index`, too."""

    index: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """A resource without which the value would differ. rules: elements of a policy, e.g. "to[0]".

    without: the value that would be there (ABSENT: none); paths: for a whole resource, pointers to
    what would differ of it.
    """

    resource: Resource
    rules: tuple[str, ...]
    without: Any
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """value: what is at `path` (ABSENT: nothing). complete: False when there are more causes than told."""

    path: Path
    value: Any
    since: Since
    causes: tuple[Cause, ...]
    passed_over: tuple[PassedOver, ...]
    derivations: tuple[str, ...]
    complete: bool


def why(view: View, probe: Probe, proxy: Proxy, past: Iterable[Undone], *, shadow: bool = False) -> Why:
    """Explain the place of a probe, which must exist. past: commits, newest first."""
    decided = verdicts(view, proxy, shadow=shadow)
    found = explain(probe.engine, probe.plan, probe.type_url, probe.name)
    assert found is not None, "the resource exists"
    policies = _policy_causes(view, probe, [policy for policy, _ in decided.chosen])
    others = needed(probe.without, probe.value, _others(view, found.keys, found.index_keys))
    parts = (*reversed(policies.parts), *others.parts)
    causes = tuple(_cause(view, probe, key, parts) for key in dict.fromkeys(part.key for part in parts))
    passed = (*unused(view, probe, decided.chosen, policies.parts), *decided.passed)
    used = {part.key for part in policies.parts}
    return Why(
        probe.path,
        probe.value,
        _since(view, probe, past),
        causes,
        tuple(each for each in passed if each.rule or each.policy.key not in used),
        found.derivations,
        policies.complete and others.complete,
    )


def _policy_causes(view: View, probe: Probe, selected: Sequence[Item]) -> Needed:
    """What policies give: first ruled out are those for other proxies, which seldom matter."""
    mine = {policy.meta.key for policy in selected}
    mesh = str(probe.plan.args[0])
    parts = [
        Part(policy.key) for kind in BY_NAME for policy in view.list(kind, mesh) if policy.key not in mine
    ]
    return needed(probe.without, probe.value, parts + ordered_parts(view, selected))


def _others(view: View, keys: Iterable[tuple[str, str, str]], index_keys: Iterable[Any]) -> list[Part]:
    """Resources that are no policies and were read, each or as one of a list."""
    found = dict.fromkeys(ResourceKey(*key) for key in keys)
    for index, *rest in index_keys:
        if index == "kind":
            found.update(dict.fromkeys(each.key for each in view.list(*rest)))
    present = [key for key in found if key.kind not in BY_NAME and view.get(*key) is not None]
    return [Part(key) for key in present[:CANDIDATES_MAX]]


def _cause(view: View, probe: Probe, key: ResourceKey, parts: Sequence[Part]) -> Cause:
    resource = view.get(*key)
    assert resource is not None, "causes are in the view"
    own = [part for part in parts if part.key == key]
    rules = tuple(sorted(part.rule for part in own if part.rule))
    if probe.path:
        return Cause(resource, rules, probe.without(own))
    there = probe.whole(own)
    paths = [] if there is ABSENT else [each["path"] for each in diff(probe.document, there)]
    return Cause(resource, rules, there, tuple(dict.fromkeys(paths))[:PATHS_SHOWN_MAX])


def _since(view: View, probe: Probe, past: Iterable[Undone]) -> Since:
    """Undo commits, newest first, until the value is another one. The last use of the probe."""
    oldest = view.index
    for tried, commit in enumerate(past):
        if tried == COMMITS_TRIED_MAX:
            break
        if not probe.step_back(commit.changes):
            return Since(commit.index, exact=True)
        oldest = commit.index
    return Since(oldest, exact=False)
