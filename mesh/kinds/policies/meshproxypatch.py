"""MeshProxyPatch: changes of the generated Envoy configuration, applied after everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import yaml

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Kind, Model, Tags
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class JsonPatch(Model):
    """One RFC 6902 operation (without `test`)."""

    op: Literal["add", "remove", "replace", "move", "copy"]
    path: str
    from_: str | None = msgspec.field(default=None, name="from")
    value: Any = None


class ClusterMatch(Model):
    """Selects clusters."""

    origin: str | None = None
    name: str | None = None


class ClusterMod(Model):
    """Adds, removes or changes clusters."""

    operation: Literal["Add", "Remove", "Patch"]
    match: ClusterMatch | None = None
    value: str | None = None
    json_patches: tuple[JsonPatch, ...] | None = None


class ListenerMatch(Model):
    """Selects listeners."""

    origin: str | None = None
    name: str | None = None
    tags: Tags | None = None


class ListenerMod(Model):
    """Adds, removes or changes listeners."""

    operation: Literal["Add", "Remove", "Patch"]
    match: ListenerMatch | None = None
    value: str | None = None
    json_patches: tuple[JsonPatch, ...] | None = None


class FilterMatch(Model):
    """Selects filters, by their name and the listener's."""

    origin: str | None = None
    name: str | None = None
    listener_name: str | None = None
    listener_tags: Tags | None = None


class FilterMod(Model):
    """Adds, removes or changes filters."""

    operation: Literal["Remove", "Patch", "AddFirst", "AddBefore", "AddAfter", "AddLast"]
    match: FilterMatch | None = None
    value: str | None = None
    json_patches: tuple[JsonPatch, ...] | None = None


class VirtualHostMatch(Model):
    """Selects virtual hosts."""

    origin: str | None = None
    name: str | None = None
    route_configuration_name: str | None = None


class VirtualHostMod(Model):
    """Adds, removes or changes virtual hosts."""

    operation: Literal["Add", "Remove", "Patch"]
    match: VirtualHostMatch
    value: str | None = None
    json_patches: tuple[JsonPatch, ...] | None = None


class Modification(Model):
    """One change, of exactly one sort of thing."""

    cluster: ClusterMod | None = None
    listener: ListenerMod | None = None
    network_filter: FilterMod | None = None
    http_filter: FilterMod | None = None
    virtual_host: VirtualHostMod | None = None


class Conf(Model):
    """Changes, in the order in which they are made."""

    append_modifications: tuple[Modification, ...] | None = None


class MeshProxyPatch(Model):
    """Changes of the configuration of the selected proxies."""

    default: Conf
    target_ref: TargetRef | None = None


AnyMod = ClusterMod | ListenerMod | FilterMod | VirtualHostMod
_SORTS = {
    "cluster": "cluster",
    "listener": "listener",
    "network_filter": "networkFilter",
    "http_filter": "httpFilter",
    "virtual_host": "virtualHost",
}


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshProxyPatch = resource.spec
    supported = checks.top_kinds(resource)
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", supported, gateway_tags=False)
    if not spec.default.append_modifications:
        yield FieldError("spec.default.appendModifications", checks.NOT_EMPTY)
    for index, change in enumerate(spec.default.append_modifications or ()):
        yield from _modification(change, f"spec.default.appendModifications[{index}]")


def _modification(change: Modification, path: str) -> Errors:
    present = [name for name in _SORTS if getattr(change, name) is not None]
    if len(present) != 1:
        text = "exactly one modification can be defined at a time. Currently, {} modifications are defined"
        yield FieldError(path, text.format(len(present)))
    for name in present:
        mod: AnyMod = getattr(change, name)
        yield from _mod(mod, _SORTS[name], f"{path}.{_SORTS[name]}")


def _mod(mod: AnyMod, sort: str, path: str) -> Errors:
    if mod.value is not None and (fault := _value_fault(mod.value)):
        yield FieldError(f"{path}.value", f"native Envoy resource is not valid: {fault}")
    if mod.operation.startswith("Add"):
        yield from _addition(mod, path)
    elif mod.operation == "Remove":
        if mod.value is not None:
            yield FieldError(f"{path}.value", checks.NOT_DEFINED)
    else:
        yield from _patch(mod, sort, path)


def _value_fault(value: str) -> str:
    """What keeps a value from being an object.  Whether Envoy knows its fields is decided where it is applied."""
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        return str(error).partition("\n")[0]
    return "" if isinstance(parsed, dict) else "it has to be an object, in YAML or JSON"


def _addition(mod: AnyMod, path: str) -> Errors:
    if mod.value is None:
        yield FieldError(f"{path}.value", checks.DEFINED)
    match = mod.match
    if isinstance(mod, ClusterMod | ListenerMod) and match is not None:
        yield FieldError(f"{path}.match", checks.NOT_DEFINED)
    if isinstance(mod, VirtualHostMod) and mod.match.name is not None:
        yield FieldError(f"{path}.match.name", checks.NOT_DEFINED)
    if mod.operation in ("AddBefore", "AddAfter") and (match is None or not match.name):
        where = "before" if mod.operation == "AddBefore" else "after"
        text = f"must be defined. You need to pick a filter {where} which this one will be added"
        yield FieldError(f"{path}.match.name", text)


def _patch(mod: AnyMod, sort: str, path: str) -> Errors:
    present = [name for name in ("value", "json_patches") if getattr(mod, name) is not None]
    yield from checks.one_of(sort, path, present, ("value", "jsonPatches"))
    if isinstance(mod, FilterMod) and (mod.match is None or not mod.match.name):
        yield FieldError(f"{path}.match.name", checks.DEFINED)
    if mod.json_patches is not None:
        yield from _json_patches(mod.json_patches, f"{path}.jsonPatches")


def _json_patches(patches: Sequence[JsonPatch], path: str) -> Errors:
    if not patches:
        yield FieldError(path, checks.NOT_EMPTY)
    for index, patch in enumerate(patches):
        at = f"{path}[{index}]"
        writes, moves = patch.op in ("add", "replace"), patch.op in ("move", "copy")
        if patch.value is not None and not writes:
            text = '"value" is allowed only when "op" is one of ["add", "replace"]'
            yield FieldError(f"{at}.value", text)
        if patch.value is None and writes:
            text = '"value" must not be empty when "op" is one of ["add", "replace"]'
            yield FieldError(f"{at}.value", text)
        if patch.from_ is not None and not moves:
            yield FieldError(f"{at}.from", '"from" is allowed only when "op" is one of ["move", "copy"]')
        if not patch.from_ and moves:
            text = '"from" must not be empty when "op" is one of ["move", "copy"]'
            yield FieldError(f"{at}.from", text)
        if patch.op == "remove" and patch.path in ("", "/"):
            yield FieldError(f"{at}.path", "root path cannot be removed")


KIND = Kind(
    name="MeshProxyPatch",
    scope="mesh",
    path="meshproxypatches",
    spec_type=MeshProxyPatch,
    arg="meshproxypatch",
    arg_aliases=("meshproxypatches",),
    singular="Mesh Proxy Patch",
    plural="Mesh Proxy Patches",
    short="mpp",
    kds=POLICY_KDS,
    is_policy=True,
    order=9999,
    validate=validate,
    warn=checks.deprecations,
    description="Changes of the generated Envoy configuration, applied after everything else.",
)
