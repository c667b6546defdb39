"""Checks that several kinds share, with the messages that users know."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mesh.errors import FieldError
from mesh.limits import NAME_CHARS_MAX
from mesh.resource import SERVICE_TAG

Errors = Iterator[FieldError]

PORT_RANGE = "port must be in the range [1, 65535]"
PROTOCOLS = ("grpc", "http", "http2", "kafka", "tcp")
TAG_NAME = "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores"
TAG_VALUE = "tag value must consist of alphanumeric characters, dots, dashes and underscores"
TAG_VALUE_EMPTY = "tag value must be non-empty"
NOT_IP = "address has to be valid IP address"
NOT_IP_OR_NAME = "address has to be valid IP address or domain name"

_TAG_NAME = re.compile(r"[a-zA-Z0-9.\-_:/]*")
_TAG_VALUE = re.compile(r"[a-zA-Z0-9.\-_:]*")
_TAG_RULE_VALUE = re.compile(r"[a-zA-Z0-9.\-_:/]*|\*")
_DNS_NAME = re.compile(r"([a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*\.?")


def key(path: str, name: str) -> str:
    """The path of an entry of a map."""
    return f'{path}["{name}"]'


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_dns_name(text: str) -> bool:
    """Whether it may be a domain name (and is no malformed IPv4 address by accident)."""
    return len(text) <= NAME_CHARS_MAX and _DNS_NAME.fullmatch(text) is not None


def is_port(number: int) -> bool:
    return 1 <= number <= 65535


def port(path: str, number: int) -> Errors:
    if not is_port(number):
        yield FieldError(path, PORT_RANGE)


def address(path: str, text: str) -> Errors:
    """An address where other proxies reach this one."""
    if not text:
        yield FieldError(path, "address can't be empty")
    elif text in ("0.0.0.0", "::"):
        yield FieldError(path, "must not be 0.0.0.0 or ::")
    elif not is_ip(text) and not is_dns_name(text):
        yield FieldError(path, NOT_IP_OR_NAME)


def tag_set(path: str, tags: Mapping[str, str]) -> Errors:
    """Tags that a proxy carries or that select proxies: no wildcards."""
    for name in sorted(tags):
        value = tags[name]
        if not name:
            yield FieldError(path, "tag name must be non-empty")
        elif not _TAG_NAME.fullmatch(name):
            yield FieldError(key(path, name), TAG_NAME)
        if not value:
            yield FieldError(key(path, name), TAG_VALUE_EMPTY)
        elif not _TAG_VALUE.fullmatch(value):
            yield FieldError(key(path, name), TAG_VALUE)


def tag_rule(path: str, tags: Mapping[str, str] | None) -> Errors:
    """Tags of a rule about proxies: values may be "*"."""
    if not tags:
        yield FieldError(path, "must have at least one tag")
        return
    for name in sorted(tags):
        value = tags[name]
        if not name:
            yield FieldError(path, "tag name must be non-empty")
        elif not _TAG_NAME.fullmatch(name):
            yield FieldError(key(path, name), TAG_NAME)
        if not value:
            yield FieldError(key(path, name), TAG_VALUE_EMPTY)
        elif not _TAG_RULE_VALUE.fullmatch(value):
            message = TAG_VALUE.replace("dashes and underscores", "dashes, slashes and underscores")
            yield FieldError(key(path, name), f'{message} or be "*"')


def service_tag(path: str, tags: Mapping[str, str] | None) -> Errors:
    if SERVICE_TAG not in (tags or {}):
        yield FieldError(path, f'mandatory tag "{SERVICE_TAG}" is missing')


def unique_names(path: str, items: Sequence[Mapping[str, object]]) -> Errors:
    """Names of aggregated metrics applications."""
    seen: set[object] = set()
    for position, item in enumerate(items):
        name = item.get("name", "")
        if name in seen:
            message = f"duplicate entry: {name}, values have to be unique"
            yield FieldError(f"{path}[{position}].name", message)
        seen.add(name)


def aggregate(path: str, conf: Mapping[str, object] | None) -> Errors:
    """The `aggregate` list of a Prometheus configuration."""
    applications = (conf or {}).get("aggregate")
    if isinstance(applications, list):
        named = [item for item in applications if isinstance(item, Mapping)]
        yield from unique_names(f"{path}.aggregate", named)


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
