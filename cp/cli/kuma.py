"""Reading a running Kuma by its HTTP API: everything that it holds, and what of it cannot be read.

Nothing is taken for granted: an older Kuma does not serve every path, a proxy in front answers in HTML,
a token may not read secrets, a page may not follow. What is missing is noted with its reason, so that
the plan can tell it; what makes the rest worthless raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cp.cli.client import Client
from cp.cli.common import all_items
from cp.cli.errors import CommandError
from mesh.registry import KINDS

Document = dict[str, Any]
LEGACY = "a kind that this control plane does not have; policies with a targetRef take its place"
COMPUTED = "computed by the control plane itself"
_DENIED = (401, 403)


@dataclass
class Inventory:
    """What was found. left: kind -> (how many, why they are not read); denied: kinds that may not be."""

    product: str
    mode: str
    zone: str
    federated: bool
    documents: list[Document] = field(default_factory=list)
    left: dict[str, tuple[int, str]] = field(default_factory=dict)
    denied: dict[str, str] = field(default_factory=dict)


def take_inventory(client: Client, tell: Callable[[str], None]) -> Inventory:
    """Read everything. Raises CommandError when the address is none of a control plane."""
    found = _introduced(client)
    for name, path, read_only in _served(client):
        tell(f"reading {path} ({len(found.documents)} resources so far)")
        if name not in KINDS or read_only:
            found.left[name] = (_count(client, path), COMPUTED if read_only else LEGACY)
            continue
        try:
            items = all_items(client, f"/{path}")
        except CommandError as error:
            if error.status in _DENIED:
                found.denied[name] = "may not be read; an administrator's --token can"
            elif error.status == 404:
                continue  # an older one that does not serve it has none
            else:
                raise CommandError(f"the source cannot be read: {error}") from None
            continue
        found.documents += (dict(item) for item in items)
    return found


def _introduced(client: Client) -> Inventory:
    index = client.call("GET", "/").body
    if not isinstance(index, dict) or not isinstance(index.get("version"), str):
        raise CommandError("the source answers, but not as a control plane; is that its API's address?")
    config = _config(client)
    zone = _at(config, "multizone", "zone")
    return Inventory(
        product=f"{index.get('product') or index.get('tagline') or 'Kuma'} {index['version']}",
        mode="global" if str(config.get("mode", "")).lower() == "global" else "zone",
        zone=str(zone.get("name") or ""),
        federated=bool(zone.get("globalAddress")),
    )


def _config(client: Client) -> Mapping[str, Any]:
    """Its configuration, {} where it does not tell."""
    try:
        body = client.call("GET", "/config").body
    except CommandError as error:
        if error.status in (*_DENIED, 404):
            return {}
        raise
    return body if isinstance(body, dict) else {}


def _at(document: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    found: Any = document
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _served(client: Client) -> list[tuple[str, str, bool]]:
    """(kind, path, read-only) of what it serves; what we know where it does not tell (before 2.9)."""
    answer = client.call("GET", "/_resources", missing_ok=True)
    listed = answer.body.get("resources") if isinstance(answer.body, dict) else None
    if answer.status == 404 or not isinstance(listed, list):
        return [(kind.name, kind.path, kind.read_only) for kind in KINDS.values() if kind.path]
    return [
        (str(each["name"]), str(each["path"]), bool(each.get("readOnly")))
        for each in listed
        if isinstance(each, dict) and each.get("name") and each.get("path")
    ]


def _count(client: Client, path: str) -> int:
    """How many there are of what is not read; 0 where that is not told either."""
    try:
        body = client.call("GET", f"/{path}", params={"size": "1"}).body
    except CommandError:
        return 0
    total = body.get("total") if isinstance(body, dict) else 0
    return total if isinstance(total, int) else 0
