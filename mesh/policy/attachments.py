"""The older inspection documents of Kuma, deprecated there: policies by where they attach to a proxy.

    …/dataplanes/{dp}/policies    for each inbound, and for the proxy: the policies that select it
    …/dataplanes/{dp}/rules       all merged rules in one flat list
    …/{policy}/{name}/dataplanes  the proxies that a policy selects, and where

What replaced them (`_rules`, `_policies`, `_resources/dataplanes`) is in `documents`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mesh.codec import to_document
from mesh.policy.documents import rules_document, selected_dataplanes
from mesh.policy.kinds import BY_NAME, POLICY_KINDS
from mesh.policy.proxy import Endpoint
from mesh.policy.targetref import MatchedPolicies, matched
from mesh.policy.values import Item
from mesh.reader import Reader
from mesh.resource import SERVICE_TAG, Resource

Json = dict[str, Any]


def attached_policies(reader: Reader, dataplane: Resource) -> Json:
    """The policies that select a proxy, by attachment: each inbound, then the proxy itself."""
    by_inbound: dict[Endpoint, dict[str, list[Json]]] = {}
    whole: dict[str, list[Json]] = {}
    for kind in POLICY_KINDS:
        found = matched(reader, dataplane, kind.name)
        for endpoint, policies in found.by_endpoint.items():
            by_inbound.setdefault(endpoint, {})[kind.name] = list(_documents(reader, policies))
        if found.policies and not _inbound_only(found.policies):
            whole[kind.name] = list(_documents(reader, found.policies))
    items = [_attachment(endpoint) | {"matchedPolicies": found} for endpoint, found in by_inbound.items()]
    if whole:
        items.append({"type": "dataplane", "name": "", "service": "", "matchedPolicies": whole})
    return {"kind": _kind_of(dataplane), "total": len(items), "items": items}


def flat_rules(reader: Reader, dataplane: Resource) -> Json:
    """The merged rules of a proxy: `SingleItem`, `DestinationSubset` and `ClientSubset` items."""
    items: list[Json] = []
    for rule in rules_document(reader, dataplane)["rules"]:
        kind = rule["type"]
        if "proxyRule" in rule:
            items.append(_item("SingleItem", kind, {}, rule["proxyRule"]))
        items += [_item("DestinationSubset", kind, _subset(each), each) for each in rule["toRules"]]
        for group in rule["fromRules"]:
            inbound = group["inbound"]
            where = {"name": inbound.get("name", str(inbound["port"])), "tags": inbound["tags"]}
            where["service"] = inbound["tags"].get(SERVICE_TAG, "")
            items += [
                _item("ClientSubset", kind, _subset(each), each) | {"inbound": where}
                for each in group["rules"]
            ]
    return {"total": len(items), "items": items}


def attached_dataplanes(reader: Reader, policy: Resource) -> Json:
    """The proxies that a policy selects, and at which inbounds."""
    items = []
    for dataplane in selected_dataplanes(reader, policy):
        found = matched(reader, dataplane, policy.kind)
        attachments = list(_attachments(found, policy.name))
        named = {"mesh": dataplane.mesh, "name": dataplane.name}
        items.append({"kind": _kind_of(dataplane), "dataplane": named, "attachments": attachments})
    return {"total": len(items), "items": items}


def _attachments(found: MatchedPolicies, name: str) -> Iterator[Json]:
    for endpoint, policies in found.by_endpoint.items():
        if any(policy.meta.name == name for policy in policies):
            yield _attachment(endpoint)
    own = [policy for policy in found.policies if policy.meta.name == name]
    if own and not _inbound_only(own):
        yield {"type": "dataplane", "name": "", "service": ""}


def _attachment(endpoint: Endpoint) -> Json:
    service = dict(endpoint.tags).get(SERVICE_TAG, "")
    return {"type": "inbound", "name": f"{endpoint.address}:{endpoint.port}", "service": service}


def _inbound_only(policies: Iterable[Item]) -> bool:
    """Whether policies say nothing but of traffic that enters."""
    return all(not BY_NAME[policy.meta.kind].single and not policy.spec.get("to") for policy in policies)


def _documents(reader: Reader, policies: Iterable[Item]) -> Iterator[Json]:
    for policy in policies:
        stored = reader.get(*policy.meta.key)
        if stored is not None:
            yield to_document(stored)


def _kind_of(dataplane: Resource) -> str:
    return "GatewayDataplane" if dataplane.spec.is_builtin_gateway else "SidecarDataplane"


def _item(form: str, kind: str, subset: Mapping[str, str], rule: Json) -> Json:
    return {
        "type": form,
        "policyType": kind,
        "subset": subset,
        "conf": rule["conf"],
        "origins": rule["origin"],
    }


def _subset(rule: Json) -> dict[str, str]:
    return {each["key"]: ("!" if each["not"] else "") + each["value"] for each in rule["matchers"]}
