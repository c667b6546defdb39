"""Resources as MeshProxyPatch leaves them: a layer over the derivations of a proxy that has one.

A patched resource is a derivation of the plain one, so proxies with equal patches still share it,
and proxies without any know nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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


def patch_of(proxy: KindConfs) -> str:
    """The MeshProxyPatch of a proxy as JSON; "" when it has none."""
    conf = raw_conf(proxypatch.KIND, proxy)
    return text_of(conf) if conf else ""


def patched_items(items: Iterable[Item], patch: str) -> Iterator[Item]:
    """Items whose resources are patched, and what the patch adds."""
    for item in items:
        yield patched_item(item, patch)
    conf = msgspec.json.decode(patch, type=CONF_TYPES[proxypatch.KIND])
    for type_url, name, resource in proxypatch.additions(conf):
        yield Item(type_url, name, added_resource.query(type_url, name, text_of(resource)))


def patched_item(item: Item, patch: str) -> Item:
    """An item whose resource is patched."""
    if item.type_url not in PATCHED:
        return item
    origin = _origin(item.query.derivation.name)
    return item._replace(query=patched_resource.query(item.query, item.type_url, origin, patch))


def _origin(derived_by: str) -> str:
    """What a patch calls the origin of a resource."""
    if derived_by == "transparent.matched_cluster":
        return "meshpassthrough"
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
    conf = msgspec.json.decode(patch, type=CONF_TYPES[proxypatch.KIND])
    message = proto.parse(proto.msg_of_url(type_url), plain.body)
    found = proxypatch.patched(type_url, origin, proto.to_json(message), conf)
    if found is None:
        return None
    return _encoded(type_url, plain.name, found)


@derivation
def added_resource(ctx: Context, type_url: str, name: str, text: str) -> Encoded:
    """A resource that a patch brought along."""
    return _encoded(type_url, name, msgspec.json.decode(text))


def _encoded(type_url: str, name: str, resource: dict[str, object]) -> Encoded:
    full_name = type_url.rpartition("/")[2]
    return encode(type_url, name, proto.from_json(full_name, resource))
