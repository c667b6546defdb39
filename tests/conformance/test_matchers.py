"""Suite `matchers`: one proxy and some policies in; the policies that apply, or their rules, out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from mesh.policy.inbound import from_entries, inbound_rules
from mesh.policy.outbound import outbound_rules
from mesh.policy.proxy import Endpoint
from mesh.policy.subset import expand_routes, from_subset_rules, to_subset_rules
from mesh.policy.targetref import MatchedPolicies, matched
from mesh.policy.values import Item
from mesh.resource import Resource
from tests.conformance.policy_cases import (
    Score,
    Store,
    display_names,
    load,
    out_of_scope,
    policy_kind,
    suite_folder,
    written_in_zone,
    written_on_global,
)
from tests.conformance.test_rules import golden_subset, subset_json
from tests.conformance.test_rules_inbound import golden_inbound, inbound_json

ZONE = "zone-uni"
_MODE = re.compile(r"policy-from-(?P<author>global|zone)-uni-zone-uni-on-(?P<where>global|zone)")


def place(dataplane: Resource, policies: list[Resource], mode: str) -> tuple[Resource, list[Resource]]:
    """Proxy and policies as they look where a mode evaluates them.  The proxy always belongs to a zone."""
    if mode == "uni-zone":
        return written_in_zone(dataplane, ZONE), [written_in_zone(policy, ZONE) for policy in policies]
    parts = _MODE.fullmatch(mode)
    assert parts, f"unknown mode {mode}"
    proxy = written_in_zone(dataplane, ZONE, copied=parts["where"] == "global")
    copied = parts["author"] != parts["where"]
    if parts["author"] == "global":
        return proxy, [written_on_global(policy, copied=copied) for policy in policies]
    return proxy, [written_in_zone(policy, ZONE, copied=copied) for policy in policies]


def select(dataplane: Resource, resources: list[Resource]) -> tuple[Store, MatchedPolicies]:
    store = Store([dataplane, *resources], any_mesh=True)
    return store, matched(store, dataplane, policy_kind(resources))


def policies_json(policies: Iterable[Item]) -> list[dict[str, Any]]:
    return [{"name": policy.meta.display_name, "spec": policy.spec} for policy in policies]


def golden_policies(golden: dict[str, Any]) -> list[dict[str, Any]]:
    names = display_names(golden["items"])
    return [{"name": name, "spec": item["spec"]} for name, item in zip(names, golden["items"], strict=True)]


def test_kind_dataplane() -> None:
    folder = suite_folder("matchers/matchedpolicies/dataplane-kind")
    score = Score("matchers/dataplane-kind")
    for golden in sorted(folder.glob("*/*.golden.yaml")):
        case = golden.parent.name
        proxy_file, policies_file = (folder / f"{case}.{part}.yaml" for part in ("dataplane", "policies"))
        if not proxy_file.exists() or not policies_file.exists():
            continue  # the inputs of some goldens are not part of the published half
        mode = golden.name.removesuffix(".golden.yaml")
        if "k8s" in mode:
            score.skip("Kubernetes")
            continue
        dataplane, policies = place(load(proxy_file)[0], load(policies_file), mode)
        _, found = select(dataplane, policies)
        wanted = golden_policies(yaml.safe_load(golden.read_text()))
        score.check(f"{case}/{mode}", policies_json(found.policies), wanted)
    score.finish()


def _cases(folder: Path, score: Score) -> Iterable[tuple[str, Resource, list[Resource], Any]]:
    for golden in sorted(folder.glob("*.golden.yaml")):
        stem = golden.name.removesuffix(".golden.yaml")
        policies = folder / f"{stem}.policies.yaml"
        subject = next(path for path in folder.glob(f"{stem}.*.yaml") if path not in (golden, policies))
        if legacy := out_of_scope([subject, policies]):
            score.skip(legacy)
            continue
        yield golden.name, load(subject)[0], load(policies), yaml.safe_load(golden.read_text())


def test_dataplane_policies() -> None:
    score = Score("matchers/dataplanepolicies")
    folder = suite_folder("matchers/matchedpolicies/dataplanepolicies")
    for case, dataplane, resources, golden in _cases(folder, score):
        _, found = select(dataplane, resources)
        score.check(case, policies_json(found.policies), golden_policies(golden))
    score.finish()


def from_json(kind: str, policies: Sequence[Item]) -> list[dict[str, Any]]:
    return subset_json(from_subset_rules(kind, list(from_entries(policies))))


def socket_name(endpoint: Endpoint) -> str:
    return f"{endpoint.address}:{endpoint.port}"


def test_from_rules() -> None:
    score = Score("matchers/fromrules")
    folder = suite_folder("matchers/matchedpolicies/fromrules")
    for case, dataplane, resources, golden in _cases(folder, score):
        _, found = select(dataplane, resources)
        kind = found.kind
        got = {
            socket_name(endpoint): {
                "inbound": inbound_json(inbound_rules(kind, policies)),
                "from": from_json(kind, policies),
            }
            for endpoint, policies in found.by_endpoint.items()
        }
        wanted = {
            socket: {"inbound": golden_inbound(rules), "from": golden_subset(golden["Rules"][socket])}
            for socket, rules in golden["InboundRules"].items()
        }
        score.check(case, got, wanted)
    score.finish()


def to_json(store: Store, kind: str, mesh: str, policies: Sequence[Item]) -> dict[str, Any]:
    return {
        "resources": [rule.destination.kri for rule in outbound_rules(store, kind, mesh, policies)],
        "tags": subset_json(to_subset_rules(kind, expand_routes(store, policies))),
    }


def golden_to(golden: dict[str, Any]) -> dict[str, Any]:
    return {"resources": sorted(golden["ResourceRules"]), "tags": golden_subset(golden["Rules"])}


def test_to_rules() -> None:
    score = Score("matchers/torules")
    folder = suite_folder("matchers/matchedpolicies/torules")
    for case, dataplane, resources, golden in _cases(folder, score):
        store, found = select(dataplane, resources)
        score.check(case, to_json(store, found.kind, dataplane.mesh, found.policies), golden_to(golden))
    score.finish()


def test_builtin_gateways() -> None:
    score = Score("matchers/meshgateways")
    folder = suite_folder("matchers/matchedpolicies/meshgateways")
    for case, dataplane, resources, golden in _cases(folder, score):
        store, found = select(dataplane, resources)
        kind, mesh = found.kind, dataplane.mesh
        by_socket = {f"{a}:{p}": policies for (a, p), policies in found.by_socket().items()}
        by_hostname = {f"{socket_name(e)}:{e.hostname}": found.by_endpoint[e] for e in found.by_endpoint}
        got = {
            "inbound": {s: inbound_json(inbound_rules(kind, p)) for s, p in by_socket.items()},
            "from": {s: from_json(kind, p) for s, p in by_socket.items()},
            "socket": {s: to_json(store, kind, mesh, p) for s, p in by_socket.items()},
            "hostname": {s: to_json(store, kind, mesh, p) for s, p in by_hostname.items()},
        }
        wanted = {
            "inbound": {s: golden_inbound(rules) for s, rules in golden["InboundRules"].items()},
            "from": {s: golden_subset(rules) for s, rules in golden["FromRules"].items()},
            "socket": {s: golden_to(rules) for s, rules in golden["ToRules"]["ByListener"].items()},
            "hostname": {s: golden_to(r) for s, r in golden["ToRules"]["ByListenerAndHostname"].items()},
        }
        score.check(case, got, wanted)
    score.finish()


def test_egress_policies() -> None:
    score = Score("matchers/egressmatchedpolicies")
    for folder in sorted(suite_folder("matchers/egressmatchedpolicies").iterdir()):
        for case, *_ in _cases(folder, score):
            score.check(case, "a case without a legacy kind", "nothing is known about such a case")
    score.finish()
