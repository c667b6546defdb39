"""Kubernetes' rules for names and labels, with its wording: users meet these sentences everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mesh.limits import LABEL_NAME_CHARS_MAX, LABEL_VALUE_CHARS_MAX, NAME_CHARS_MAX

_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_1123 = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_1123 = rf"{_LABEL_1123}(\.{_LABEL_1123})*"

_QUALIFIED_RE = re.compile(_QUALIFIED)
_LABEL_1035_RE = re.compile(_LABEL_1035)
_SUBDOMAIN_1123_RE = re.compile(_SUBDOMAIN_1123)
_LABEL_1123_RE = re.compile(_LABEL_1123)

NOT_A_1035_LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
    f"validation is '{_LABEL_1035}')"
)
NOT_A_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN_1123}')"
)
_NOT_QUALIFIED = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED}')"
)
_NOT_A_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
    f"for validation is '({_QUALIFIED})?')"
)


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def is_1035_label(text: str) -> bool:
    return len(text) <= LABEL_NAME_CHARS_MAX and _LABEL_1035_RE.fullmatch(text) is not None


def is_1123_label(text: str) -> bool:
    return len(text) <= LABEL_NAME_CHARS_MAX and _LABEL_1123_RE.fullmatch(text) is not None


def is_1123_subdomain(text: str) -> bool:
    return len(text) <= NAME_CHARS_MAX and _SUBDOMAIN_1123_RE.fullmatch(text) is not None


def label_1035_faults(text: str) -> list[str]:
    """What keeps `text` from being a DNS-1035 label; [] when it is one."""
    faults = [_too_long(LABEL_NAME_CHARS_MAX)] if len(text) > LABEL_NAME_CHARS_MAX else []
    return faults if _LABEL_1035_RE.fullmatch(text) else [*faults, NOT_A_1035_LABEL]


def subdomain_faults(text: str) -> list[str]:
    """What keeps `text` from being an RFC-1123 subdomain; [] when it is one."""
    faults = [_too_long(NAME_CHARS_MAX)] if len(text) > NAME_CHARS_MAX else []
    return faults if _SUBDOMAIN_1123_RE.fullmatch(text) else [*faults, NOT_A_SUBDOMAIN]


def label_key_faults(key: str) -> Iterator[str]:
    """What is wrong with the key of a label: `[prefix/]name`."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        yield (
            f"a qualified name {_NOT_QUALIFIED} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        )
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif prefix:
        for fault in subdomain_faults(prefix):
            yield f"prefix part {fault}"
    if not name:
        yield "name part must be non-empty"
    elif len(name) > LABEL_NAME_CHARS_MAX:
        yield f"name part {_too_long(LABEL_NAME_CHARS_MAX)}"
    if not _QUALIFIED_RE.fullmatch(name):
        yield f"name part {_NOT_QUALIFIED}"


def label_value_faults(value: str) -> Iterator[str]:
    """What is wrong with the value of a label."""
    if len(value) > LABEL_VALUE_CHARS_MAX:
        yield _too_long(LABEL_VALUE_CHARS_MAX)
    if value and not _QUALIFIED_RE.fullmatch(value):
        yield _NOT_A_LABEL_VALUE
