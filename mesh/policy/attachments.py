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
    """The policies that select a proxy, by attachment: the proxy itself, then each inbound."""
    by_inbound: dict[Endpoint, dict[str, list[Json]]] = {}
    whole: dict[str, list[Json]] = {}
    for kind in POLICY_KINDS:
        found = matched(reader, dataplane, kind.name)
        for endpoint, policies in found.by_endpoint.items():
            if inbound := [policy for policy in policies if _has_inbound(policy)]:
                by_inbound.setdefault(endpoint, {})[kind.name] = list(_documents(reader, inbound))
        if own := [policy for policy in found.policies if _has_whole(policy)]:
            whole[kind.name] = list(_documents(reader, own))
    items = [{**_WHOLE, "matchedPolicies": whole}] if whole else []
    items += [
        _attachment(dataplane, endpoint) | {"matchedPolicies": found}
        for endpoint, found in by_inbound.items()
    ]
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
        attachments = list(_attachments(dataplane, found, policy.name))
        named = {"mesh": dataplane.mesh, "name": dataplane.name}
        items.append({"kind": _kind_of(dataplane), "dataplane": named, "attachments": attachments})
    return {"total": len(items), "items": items}


def _attachments(dataplane: Resource, found: MatchedPolicies, name: str) -> Iterator[Json]:
    if any(policy.meta.name == name and _has_whole(policy) for policy in found.policies):
        yield _WHOLE
    for endpoint, policies in found.by_endpoint.items():
        if any(policy.meta.name == name and _has_inbound(policy) for policy in policies):
            yield _attachment(dataplane, endpoint)


_WHOLE: Json = {"type": "dataplane", "name": "", "service": ""}


def _attachment(dataplane: Resource, endpoint: Endpoint) -> Json:
    """An inbound, called by its address, its port, and the port of the service behind it."""
    networking = dataplane.spec.networking
    behind = [
        f":{inbound.service_port or inbound.port}"
        for inbound in networking.inbound
        if (inbound.address or networking.address, inbound.port) == endpoint.socket
    ]
    service = dict(endpoint.tags).get(SERVICE_TAG, "")
    name = f"{endpoint.address}:{endpoint.port}{''.join(behind[:1])}"
    return {"type": "inbound", "name": name, "service": service}


def _has_inbound(policy: Item) -> bool:
    """Whether a policy says something of traffic that enters."""
    return bool(policy.spec.get("from") or policy.spec.get("rules"))


def _has_whole(policy: Item) -> bool:
    """Whether a policy says something of traffic that leaves, or of the proxy as a whole."""
    return BY_NAME[policy.meta.kind].single or bool(policy.spec.get("to"))


def _documents(reader: Reader, policies: Iterable[Item]) -> Iterator[Json]:
    for policy in policies:
        stored = reader.get(*policy.meta.key)
        if stored is not None:
            yield to_document(stored)


def _kind_of(dataplane: Resource) -> str:
    return "MeshGatewayDataplane" if dataplane.spec.is_builtin_gateway else "SidecarDataplane"


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
