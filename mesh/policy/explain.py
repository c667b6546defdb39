"""Why a merged value is what it is: the policy behind each leaf, and the policies that were passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mesh.policy.outbound import Rule
from mesh.policy.targetref import MatchedPolicies
from mesh.policy.values import Source


def provenance(rule: Rule) -> dict[str, tuple[Source, ...]]:
    """For each leaf of the merged conf, as a JSON pointer, the elements that wrote it, deciding one last.

    A list is one leaf, since merging replaces lists as a whole; fields that collect (`append…`) name all
    contributors.  Leaves that a later policy removed with null are absent.
    """
    writers: dict[str, tuple[Source, ...]] = {}
    for entry in rule.entries:
        for pointer, value in _leaves(entry.conf, ""):
            if value == {} and (not pointer or any(known.startswith(pointer + "/") for known in writers)):
                continue
            _displace(writers, pointer)
            if value is not None:
                writers[pointer] = (*writers.get(pointer, ()), entry.source)
            else:
                writers.pop(pointer, None)
    return writers


def _displace(writers: dict[str, tuple[Source, ...]], pointer: str) -> None:
    """A new leaf replaces what was below it, and any leaf that it now lies below."""
    for known in list(writers):
        if known.startswith(pointer + "/") or pointer.startswith(known + "/"):
            del writers[known]


def _leaves(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    else:
        yield pointer, value


def passed_over(matched: MatchedPolicies) -> list[dict[str, str]]:
    """The policies that were considered and do not apply: `{name, kri, reason}` each."""
    return [{"name": meta.name, "kri": meta.kri, "reason": reason} for meta, reason in matched.passed_over]
