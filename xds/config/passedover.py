"""Why not: the policies that were considered for a proxy, or for a value of its, and passed over.

Each has the reason that stopped it first: another mesh or zone or namespace, on trial only, a targetRef that
means somebody else; then, for a resource, traffic of the other direction, another inbound, another
destination; then a more specific policy that says something else; and else that it says nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mesh.policy.destination import REAL_KINDS, resolve
from mesh.policy.inbound import FROM_AS_RULES
from mesh.policy.kinds import BY_NAME, POLICY_KINDS
from mesh.policy.meta import with_section
from mesh.policy.proxy import Endpoint, Proxy, item_of
from mesh.policy.targetref import Selection, consider, ordered_policies
from mesh.policy.values import Item, elements, target_of
from mesh.resource import SERVICE_TAG, Resource, ResourceKey
from mesh.view import View
from xds.config.causes import Part, Probe, ordered_parts, parts_of
from xds.config.explain import path_to, queries_below
from xds.config.inbound import Inbound
from xds.config.limits import PASSED_OVER_MAX

_ABOUT_OUTBOUND = "has only `to`, which is about traffic that leaves the proxy"
_ABOUT_INBOUND = "is only about traffic that enters the proxy"
SILENT = "applies, but says nothing of this"
_SAME = "says what would be there without any policy, too"


class PassedOver(NamedTuple):
    """A policy, or one element of it (`rule`, e.g. "to[1]"; "" for all of it), and the reason."""

    policy: Resource
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """What a resource of a proxy serves. endpoint: the inbound it belongs to, if any.

    destinations: (KRI, section) of MeshServices and their siblings; services: values of
    `kuma.io/service`. All are empty for what serves the proxy as a whole.
    """

    endpoint: tuple[str, int] | None = None
    destinations: frozenset[tuple[str, str]] = frozenset()
    services: frozenset[str] = frozenset()

    @property
    def outbound(self) -> bool:
        return bool(self.destinations or self.services)


def place_of(probe: Probe) -> Place:
    """What the resource of a probe serves, as far as its derivation tells."""
    probe.restore()
    path = path_to(probe.engine, probe.plan, probe.type_url, probe.name)
    if path is None:
        return Place()
    for argument in path[-1].args:
        if isinstance(argument, Inbound):
            return Place(endpoint=(argument.facts.address, argument.facts.port))
    destinations, services = set(), set()
    if path[-2] != probe.plan:
        for query in queries_below(probe.engine, path[-2:]):
            if query.derivation.name == "confs.to_conf":
                destinations.add((str(query.args[3]), str(query.args[4])))
            elif query.derivation.name == "confs.service_conf":
                services.add(str(query.args[3]))
    whole_mesh = {found for found in destinations if found[0].startswith("kri_m_")}
    return Place(None, frozenset(destinations - whole_mesh), frozenset(services))


class Verdicts(NamedTuple):
    """What was decided of each policy of the mesh, least important first."""

    chosen: tuple[tuple[Item, Selection], ...]
    passed: tuple[PassedOver, ...]


def verdicts(view: View, proxy: Proxy, *, shadow: bool = False) -> Verdicts:
    """Which policies select a proxy, and why the others do not."""
    chosen: list[tuple[Item, Selection]] = []
    passed: list[PassedOver] = []
    for kind in POLICY_KINDS:
        for policy in ordered_policies(view, kind.name, proxy.meta.mesh):
            verdict = consider(view, policy, proxy, shadow=shadow)
            if verdict.selected:
                chosen.append((policy, verdict))
            else:
                passed.append(PassedOver(_stored(view, policy), "", verdict.reason))
    passed += _elsewhere(view, proxy)
    return Verdicts(tuple(chosen), tuple(passed[:PASSED_OVER_MAX]))


def _elsewhere(view: View, proxy: Proxy) -> Iterator[PassedOver]:
    """Policies of other meshes that mean this proxy by more than being in the mesh."""
    for kind in POLICY_KINDS:
        for stored in view.list(kind.name):
            if stored.mesh == proxy.meta.mesh:
                continue
            policy = item_of(stored)
            ref = target_of(policy)
            means_some = ref["kind"] != "Mesh" and (ref.get("labels") or ref.get("tags") or ref.get("name"))
            if means_some and consider(view, policy, proxy, shadow=True).selected:
                reason = f"is in mesh {stored.mesh!r}, the proxy is in {proxy.meta.mesh!r}"
                yield PassedOver(stored, "", reason)


def _stored(view: View, policy: Item) -> Resource:
    found = view.get(*policy.meta.key)
    assert found is not None, "policies come from the view"
    return found


def unused(
    view: View, probe: Probe, chosen: Sequence[tuple[Item, Selection]], causes: Iterable[Part]
) -> list[PassedOver]:
    """Why policies that select the proxy have no part in the value of the probe."""
    place = place_of(probe)
    used = set(causes)
    found: list[PassedOver] = []
    candidates: list[tuple[Resource, Part]] = []
    for policy, verdict in chosen:
        stored = _stored(view, policy)
        whole = _whole(policy, verdict, place)
        parts = [part for part in parts_of(stored) if part not in used]
        if whole and len(parts) == len(parts_of(stored)):
            found.append(PassedOver(stored, "", whole))
            continue
        for part in parts:
            reason = _of_part(view, policy, part, place)
            if reason:
                found.append(PassedOver(stored, part.rule, reason))
            else:
                candidates.append((stored, part))
    order = {part: at for at, part in enumerate(ordered_parts(view, [policy for policy, _ in chosen]))}
    candidates.sort(key=lambda each: order.get(each[1], 0))
    return found + list(_overridden(probe, candidates, used))


def _whole(policy: Item, verdict: Selection, place: Place) -> str:
    """Why all of a policy is about something else; "" when it is not."""
    kind = BY_NAME[policy.meta.kind]
    inward = any(elements(policy, field) for field in ("from", "rules"))
    outward = bool(elements(policy, "to"))
    if kind.single:
        return ""
    if place.endpoint is not None:
        if outward and not inward:
            return _ABOUT_OUTBOUND
        if place.endpoint not in {endpoint.socket for endpoint in verdict.endpoints}:
            return f"selects {_inbounds(verdict.endpoints)}, not this one"
    if place.outbound and inward and not outward:
        return _ABOUT_INBOUND
    return ""


def _inbounds(endpoints: Sequence[Endpoint]) -> str:
    names = ", ".join(endpoint.section for endpoint in endpoints)
    return f"the inbounds {names}" if names else "no inbound"


def _of_part(view: View, policy: Item, part: Part, place: Place) -> str:
    """Why one element is about something else; "" when it is not."""
    if part.field == "to":
        if place.endpoint is not None:
            return "is about traffic that leaves the proxy"
        return _of_target(view, policy, elements(policy, "to")[part.index]["targetRef"], place)
    if part.field and place.outbound:
        return "is about traffic that enters the proxy"
    ignored = part.field == "from_" and policy.spec.get("rules") and policy.meta.kind in FROM_AS_RULES
    return "`from` is not read where there are `rules`" if ignored else ""


def _of_target(view: View, policy: Item, target: Any, place: Place) -> str:
    if target["kind"] in REAL_KINDS:
        found = resolve(view, policy.meta, target)
        if not found and not _names_service(target, place):
            return f"points to {_shown(target)}, and there is no such resource"
        wanted = {each.kri for each in found}
        if place.outbound and target["kind"] != "MeshHTTPRoute" and not _meets(wanted, place, target):
            return f"points to {_shown(target)}, another destination"
    elif target["kind"] == "MeshServiceSubset" and place.outbound and not _names_service(target, place):
        return f"points to {_shown(target)}, another destination"
    return ""


def _meets(wanted: set[str], place: Place, target: Any) -> bool:
    """Whether some destination is meant: itself, or all its ports, or its service by tags."""
    own = {with_section(kri, section) for kri, section in place.destinations}
    own |= {with_section(kri, "") for kri, _ in place.destinations}
    return bool(wanted & own) or _names_service(target, place)


def _names_service(target: Any, place: Place) -> bool:
    name = target.get("name") or (target.get("tags") or {}).get(SERVICE_TAG)
    return name in place.services


def _shown(target: Any) -> str:
    labels = ", ".join(f"{key}={value}" for key, value in (target.get("labels") or {}).items())
    section = f" section {target['sectionName']!r}" if target.get("sectionName") else ""
    return f"{target['kind']} " + (f"with labels {labels}" if labels else repr(target.get("name"))) + section


def _overridden(
    probe: Probe, candidates: Sequence[tuple[Resource, Part]], used: set[Part]
) -> Iterator[PassedOver]:
    """Which elements would show if the ones that win were not there; the others say nothing of the value.

    From the most important down: an element that would show hides those after it, too. One that says what
    holds without any policy is no cause of the value, but may hide others.
    """
    for kind in dict.fromkeys(stored.kind for stored, _ in candidates):
        hidden = [part for part in used if part.key.kind == kind]
        asked = [each for each in candidates if each[0].kind == kind]
        if not hidden:
            same = [each for each in asked if probe.without([each[1]]) != probe.value]
            yield from (PassedOver(stored, part.rule, _SAME) for stored, part in same)
            hidden = [part for _, part in same]
        over = list(dict.fromkeys(part.key for part in hidden))
        silent = [each for each in reversed(asked) if each[1] not in hidden]
        shown = bool(over)
        while shown:  # what is hidden by one that was found only now may show next time
            shown, left = False, silent
            silent = []
            for stored, part in left:
                if probe.without(hidden) == probe.without([*hidden, part]):
                    silent.append((stored, part))
                    continue
                yield PassedOver(stored, part.rule, f"is overridden by {_names(over)}")
                shown = True
                hidden.append(part)
                over = over if part.key in over else [*over, part.key]
        yield from (PassedOver(stored, part.rule, SILENT) for stored, part in silent)


def _names(keys: Iterable[ResourceKey]) -> str:
    return ", ".join(f"{key.kind} {key.name!r}" for key in keys)
