"""Drafts: Envoy's messages as plain dicts while they are put together.

A generator writes a draft, policies edit it in order of their kind, then `message` builds the
protobuf message in one go (nested dicts given to upb's constructors are its fastest way). Keys are
the field names of the proto files. What dicts cannot say has a type of its own: `Typed` becomes an
Any, `Fields` a Struct. Durations and wrapped numbers have helpers; enums are their names.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from mesh.policy.durations import parse_ns
from xds.proto import msg, pack_any, serialize, struct

Draft = dict[str, Any]
_NS = 1_000_000_000
_ILLEGAL_IN_STATS = re.compile(r"[^a-zA-Z0-9_-]")


class Typed(dict[str, Any]):
    """A message that goes into a google.protobuf.Any, e.g. a filter's `typed_config`."""

    __slots__ = ("name",)

    def __init__(self, name: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(fields or {})
        self.name = name

    def __deepcopy__(self, memo: dict[int, Any]) -> Typed:
        return Typed(self.name, {key: copy.deepcopy(value, memo) for key, value in self.items()})


class Fields(dict[str, Any]):
    """JSON values that go into a google.protobuf.Struct, e.g. filter metadata."""

    __slots__ = ()


def message(name: str, draft: Mapping[str, Any]) -> Any:
    """The message `name` that a draft describes. Raises ValueError for an unknown field."""
    return msg(name)(**_members(draft))


def serialized(name: str, draft: Mapping[str, Any]) -> bytes:
    """The deterministic bytes of the message that a draft describes."""
    return serialize(message(name, draft))


def _members(draft: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _built(value) for key, value in draft.items()}


def _built(value: Any) -> Any:
    if isinstance(value, Typed):
        return pack_any(message(value.name, value))
    if isinstance(value, Fields):
        return struct(value)
    if isinstance(value, dict):
        return _members(value)
    if isinstance(value, list | tuple):
        return [_built(item) for item in value]
    return value


def copied(draft: Draft) -> Draft:
    """A draft that can be edited without changing this one."""
    return copy.deepcopy(draft)


# --- values ------------------------------------------------------------------------------------


def wrapped(value: Any) -> Draft:
    """A google.protobuf.UInt32Value, BoolValue, … that holds `value`."""
    return {"value": value}


def duration(text: str) -> Draft:
    """A google.protobuf.Duration from a Go duration ("1h", "0s"). Raises ValueError with the text."""
    return duration_ns(parse_ns(text))


def duration_ns(nanoseconds: int) -> Draft:
    """A google.protobuf.Duration; both parts have the sign of the whole."""
    seconds, rest = divmod(abs(nanoseconds), _NS)
    sign = -1 if nanoseconds < 0 else 1
    return {"seconds": sign * seconds, "nanos": sign * rest}


def seconds(count: int) -> Draft:
    """A google.protobuf.Duration of whole seconds."""
    return {"seconds": count}


def socket_address(address: str, port: int) -> Draft:
    """An envoy.config.core.v3.Address. The path of a Unix socket has no port."""
    if address.startswith(("/", "unix://")):
        return {"pipe": {"path": address.removeprefix("unix://")}}
    return {"socket_address": {"address": address, "port_value": port}}


ADS: Draft = {"ads": {}, "resource_api_version": "V3"}
"""A ConfigSource: over the stream on which everything else comes."""


def named(name: str, type_name: str, fields: Mapping[str, Any] | None = None) -> Draft:
    """An extension: `{name, typed_config}`."""
    return {"name": name, "typed_config": Typed(type_name, fields)}


def metadata(**filters: Mapping[str, Any]) -> Draft:
    """An envoy.config.core.v3.Metadata; `__` in a keyword stands for a dot."""
    return {"filter_metadata": {name.replace("__", "."): Fields(fields) for name, fields in filters.items()}}


def stat_name(name: str) -> str:
    """A name as Envoy's statistics can hold it: what is no letter, digit or hyphen becomes `_`."""
    return _ILLEGAL_IN_STATS.sub("_", name)
