"""Policies with a single `default`, which configure the proxy as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.policy.outbound import Rule, merge_entries
from mesh.policy.values import MESH, Entry, Item, Source, target_of


def single_rule(kind: str, policies: Sequence[Item]) -> Rule | None:
    """Merge the defaults of the given policies (least important first); None when none has one."""
    entries = [
        Entry(Source(policy.meta), target_of(policy), MESH, dict(policy.spec["default"]))
        for policy in policies
        if policy.spec.get("default") is not None
    ]
    return merge_entries(kind, entries) if entries else None
