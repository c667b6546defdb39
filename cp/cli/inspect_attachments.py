"""Policies by where they attach to a proxy, as kumactl prints the older inspection API of Kuma.

    inspect meshtimeout slow                 proxies, and where in each the policy applies
    inspect dataplane web                    of a control plane that is too old for `_rules`

A sidecar has inbounds, outbounds, services and itself; a builtin gateway has listeners, with hosts, routes and
the services behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
HEADING = "Affected data plane proxies:\n\n"
_SERVICE_TAG = "kuma.io/service"


def affected_text(page: Document) -> str:
    """The proxies that a policy selects, each with the places where it applies."""
    return HEADING + "".join(_affected(item) for item in page.get("items") or ())


def _affected(item: Document) -> str:
    if "listeners" in item:
        name, places = item["gateway"]["name"], list(_listeners(item["listeners"]))
    else:
        name, places = item["dataplane"]["name"], _places(item.get("attachments") or ())
    lines = "".join(f"    {place}\n" for place in places)
    return f"  {name}:\n{lines}\n" if lines else f"  {name}\n\n"


def _places(attachments: Sequence[Document]) -> list[str]:
    """Nothing for what applies to the whole proxy and nowhere else."""
    if [each["type"] for each in attachments] == ["dataplane"]:
        return []
    return [_place(each) for each in attachments]


def _place(attachment: Document) -> str:
    kind, name, service = (attachment.get(key) or "" for key in ("type", "name", "service"))
    if kind in ("inbound", "outbound"):
        return f"{kind} {name}({service})"
    return f"{kind} {name}".rstrip()


def _listeners(listeners: Sequence[Document]) -> Iterator[str]:
    for listener in listeners:
        yield f"listener ({listener['protocol']}:{listener['port']}):"
        for host in listener.get("hosts") or ():
            yield f"  {host['hostName']}:"
            for route in host.get("routes") or ():
                yield f"    {route['route']}:"
                for destination in route.get("destinations") or ():
                    yield f"      service {destination.get(_SERVICE_TAG, '')}"


def attached_text(document: Document) -> str:
    """The policies of a sidecar by attachment: a block each."""
    return "\n".join(_block(item) for item in document.get("items") or ())


def _block(item: Document) -> str:
    text = f"{_title(item)}:\n"
    for kind, policies in (item.get("matchedPolicies") or {}).items():
        text += f"  {kind}\n" + "".join(f"    {policy['name']}\n" for policy in policies)
    return text


def _title(item: Document) -> str:
    kind, _, place = _place(item).partition(" ")
    return f"{kind.upper()} {place}".rstrip()
