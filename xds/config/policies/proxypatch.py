"""MeshProxyPatch: changes of what all other policies have made, on the JSON form of Envoy's messages.

It comes last and works on finished resources, so it can change what no other policy knows of. A change
that does not fit fails the resource that it was for, and no other: its last good version stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from xds import proto
from xds.config.policies.jsonpatch import apply, merged
from xds.types import CLUSTER, LISTENER, ROUTE

KIND = "MeshProxyPatch"
HCM_FILTER = "envoy.filters.network.http_connection_manager"
FILTER = "envoy.config.listener.v3.Filter"
HTTP_FILTER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
VIRTUAL_HOST = "envoy.config.route.v3.VirtualHost"
LISTENER_MESSAGE = "envoy.config.listener.v3.Listener"
CLUSTER_MESSAGE = "envoy.config.cluster.v3.Cluster"
TAGS = "io.kuma.tags"

Json = dict[str, Any]


def patched(type_url: str, origin: str, resource: Json, conf: Any) -> Json | None:
    """A resource after all modifications of a conf; None when one removes it. Raises PatchError, ValueError."""
    for change in conf.append_modifications or ():
        found = _patched(type_url, origin, resource, change)
        if found is None:
            return None
        resource = found
    return resource


def _patched(type_url: str, origin: str, resource: Json, change: Any) -> Json | None:
    if type_url == CLUSTER and change.cluster is not None:
        return _whole(resource, change.cluster, origin, CLUSTER_MESSAGE)
    if type_url == LISTENER:
        if change.listener is not None:
            return _whole(resource, change.listener, origin, LISTENER_MESSAGE)
        if change.network_filter is not None:
            return _in_listener(resource, change.network_filter, origin, _network_filters, FILTER)
        if change.http_filter is not None:
            return _in_listener(resource, change.http_filter, origin, _http_filters, HTTP_FILTER)
        if change.virtual_host is not None:
            for config in _inline_routes(resource):
                _virtual_hosts(config, change.virtual_host, origin)
    if type_url == ROUTE and change.virtual_host is not None:
        _virtual_hosts(resource, change.virtual_host, origin)
    return resource


def additions(conf: Any) -> Iterator[tuple[int, str, str, Json]]:
    """(position of the modification, type URL, name, resource) of the clusters and listeners that a conf adds."""
    for at, change in enumerate(conf.append_modifications or ()):
        for mod, type_url, message in (
            (change.cluster, CLUSTER, CLUSTER_MESSAGE),
            (change.listener, LISTENER, LISTENER_MESSAGE),
        ):
            if mod is not None and mod.operation == "Add":
                resource = value_of(message, mod.value)
                yield at, type_url, str(resource.get("name", "")), resource


def value_of(message: str, text: str) -> Json:
    """A value of a modification (YAML, any spelling of the fields) in canonical JSON. Raises ValueError."""
    return proto.to_json(proto.from_json(message, yaml.safe_load(text)))


# --- matching ------------------------------------------------------------------------------------


def _matches(match: Any, origin: str, name: str) -> bool:
    if match is None:
        return True
    return match.origin in (None, origin) and match.name in (None, name)


def _has_tags(resource: Json, tags: Mapping[str, str] | None) -> bool:
    own = resource.get("metadata", {}).get("filterMetadata", {}).get(TAGS, {})
    return all(own.get(key) == value for key, value in (tags or {}).items())


# --- whole resources -----------------------------------------------------------------------------


def _whole(resource: Json, mod: Any, origin: str, message: str) -> Json | None:
    match = mod.match
    if mod.operation == "Add" or not _matches(match, origin, resource.get("name", "")):
        return resource
    if not _has_tags(resource, getattr(match, "tags", None)):
        return resource
    if mod.operation == "Remove":
        return None
    return _changed(resource, mod, message)


def _changed(resource: Json, mod: Any, message: str) -> Json:
    if mod.json_patches is not None:
        found: Json = apply(resource, [_operation(patch) for patch in mod.json_patches])
        return found
    result: Json = merged(resource, value_of(message, mod.value or "{}"))
    return result


def _operation(patch: Any) -> Json:
    return {"op": patch.op, "path": patch.path, "from": patch.from_, "value": patch.value}


# --- filters -------------------------------------------------------------------------------------

Lists = Callable[[Json], Iterator[list[Any]]]


def _network_filters(listener: Json) -> Iterator[list[Any]]:
    for chain in listener.get("filterChains", ()):
        yield chain.setdefault("filters", [])


def _managers(listener: Json) -> Iterator[Json]:
    for filters in _network_filters(listener):
        for found in filters:
            if found.get("name") == HCM_FILTER:
                yield found["typedConfig"]


def _http_filters(listener: Json) -> Iterator[list[Any]]:
    for manager in _managers(listener):
        yield manager.setdefault("httpFilters", [])


def _inline_routes(listener: Json) -> Iterator[Json]:
    for manager in _managers(listener):
        if "routeConfig" in manager:
            yield manager["routeConfig"]


def _in_listener(listener: Json, mod: Any, origin: str, lists: Lists, message: str) -> Json:
    match = mod.match
    if match is not None:
        if match.origin not in (None, origin) or match.listener_name not in (None, listener.get("name")):
            return listener
        if not _has_tags(listener, match.listener_tags):
            return listener
    for filters in lists(listener):
        _edit_filters(filters, mod, message)
    return listener


def _edit_filters(filters: list[Any], mod: Any, message: str) -> None:
    name = mod.match.name if mod.match is not None else None
    at = next((i for i, found in enumerate(filters) if name in (None, found.get("name"))), None)
    match mod.operation:
        case "Remove":
            filters[:] = [found for found in filters if name is not None and found.get("name") != name]
        case "AddFirst":
            filters.insert(0, value_of(message, mod.value))
        case "AddLast":
            filters.append(value_of(message, mod.value))
        case "AddBefore" if at is not None:
            filters.insert(at, value_of(message, mod.value))
        case "AddAfter" if at is not None:
            filters.insert(at + 1, value_of(message, mod.value))
        case "Patch":
            for index, found in enumerate(filters):
                if name in (None, found.get("name")):
                    filters[index] = _patch_filter(found, mod, message)


def _patch_filter(found: Json, mod: Any, message: str) -> Json:
    """JSON patches of a filter are about its configuration, values about the filter itself."""
    if mod.json_patches is not None:
        config = apply(found.get("typedConfig", {}), [_operation(patch) for patch in mod.json_patches])
        return found | {"typedConfig": config}
    return _changed(found, mod, message)


# --- virtual hosts -------------------------------------------------------------------------------


def _virtual_hosts(config: Json, mod: Any, origin: str) -> None:
    match = mod.match
    asked = match.route_configuration_name if match is not None else None
    if match is not None and match.origin not in (None, origin):
        return
    if asked not in (None, config.get("name")):
        return
    hosts: list[Any] = config.setdefault("virtualHosts", [])
    wanted = match.name if match is not None else None
    match mod.operation:
        case "Add":
            hosts.append(value_of(VIRTUAL_HOST, mod.value))
        case "Remove":
            hosts[:] = [host for host in hosts if wanted is not None and host.get("name") != wanted]
        case _:
            for index, host in enumerate(hosts):
                if wanted in (None, host.get("name")):
                    hosts[index] = _changed(host, mod, VIRTUAL_HOST)
