"""Resources as MeshProxyPatch leaves them: a layer over the derivations of a proxy that has one.

A patched resource is a derivation of the plain one, so proxies with equal patches still share it,
and proxies without any know nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from mesh.policy.typed import CONF_TYPES
from xds import proto
from xds.config.backends import Item
from xds.config.confs import KindConfs, raw_conf, text_of
from xds.config.policies import proxypatch
from xds.encode import encode
from xds.engine import Context, Query, derivation
from xds.types import CLUSTER, LISTENER, ROUTE, Encoded

PATCHED = frozenset({CLUSTER, LISTENER, ROUTE})
_ORIGINS = {
    "inbound": "inbound",
    "outbound": "outbound",
    "external": "outbound",
    "transparent": "transparent",
    "direct": "direct-access",
    "metrics": "prometheus",
    "admin": "admin",
    "gateway": "gateway",
}
ADDED = "mesh-proxy-patch"


def patch_of(proxy: KindConfs) -> str:
    """The MeshProxyPatch of a proxy as JSON; "" when it has none."""
    conf = raw_conf(proxypatch.KIND, proxy)
    return text_of(conf) if conf else ""


def patched_items(items: Iterable[Item], patch: str) -> Iterator[Item]:
    """Items whose resources are patched, and what the patch adds, or puts in the place of one of the same name."""
    added = {(item.type_url, item.name): item for item in _added(patch)}
    for item in items:
        if (item.type_url, item.name) not in added:
            yield patched_item(item, patch)
    yield from added.values()


def _added(patch: str) -> Iterator[Item]:
    """What a patch adds, the last of one name last; the modifications after it are for it, too."""
    conf = msgspec.json.decode(patch, type=CONF_TYPES[proxypatch.KIND])
    changes = msgspec.json.decode(patch).get("appendModifications") or ()
    for at, type_url, name, resource in proxypatch.additions(conf):
        rest = text_of({"appendModifications": changes[at + 1 :]})
        yield Item(type_url, name, added_resource.query(type_url, name, text_of(resource), rest))


def patched_item(item: Item, patch: str) -> Item:
    """An item whose resource is patched."""
    if item.type_url not in PATCHED:
        return item
    origin = _origin(item.query.derivation.name, item.name)
    return item._replace(query=patched_resource.query(item.query, item.type_url, origin, patch))


def _origin(derived_by: str, name: str) -> str:
    """What a patch calls the origin of a resource."""
    if derived_by == "transparent.matched_cluster":
        return "meshpassthrough"
    if derived_by == "telemetry.collector_cluster" and "meshtrace" in name:
        return "mesh-trace"
    return _ORIGINS.get(derived_by.partition(".")[0], "")


@derivation
def patched_group(ctx: Context, group: Query, patch: str) -> tuple[Item, ...]:
    """A group of items whose resources are patched."""
    return tuple(patched_item(item, patch) for item in ctx.derive(group))


@derivation
def patched_resource(ctx: Context, query: Query, type_url: str, origin: str, patch: str) -> Encoded | None:
    """A resource after a patch; None when the patch removes it."""
    plain: Encoded | None = ctx.derive(query)
    if plain is None:
        return None
    message = proto.parse(proto.msg_of_url(type_url), plain.body)
    return _patched(type_url, plain.name, origin, proto.to_json(message), patch)


@derivation
def added_resource(ctx: Context, type_url: str, name: str, text: str, patch: str) -> Encoded | None:
    """A resource that a patch brought along, after the rest of it."""
    return _patched(type_url, name, ADDED, msgspec.json.decode(text), patch)


def _patched(type_url: str, name: str, origin: str, resource: dict[str, Any], patch: str) -> Encoded | None:
    conf = msgspec.json.decode(patch, type=CONF_TYPES[proxypatch.KIND])
    found = proxypatch.patched(type_url, origin, resource, conf)
    if found is None:
        return None
    full_name = type_url.rpartition("/")[2]
    return encode(type_url, name, proto.from_json(full_name, found))
