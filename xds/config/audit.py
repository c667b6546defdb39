"""IncrementalEqualsFull, checked while it is relied on: one proxy's configuration against a build from scratch.

A derivation that looks at something which is not recorded would go stale, silently. Properties in the tests look
for that; this looks for it in production, on a sample, with the data that is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mesh.reader import Reader
from xds.config.source import Source
from xds.source import NodeInfo
from xds.types import SECRET, Encoded, Snapshot

Held = Mapping[str, Mapping[str, Encoded]]


class Difference(NamedTuple):
    """A resource that is not what a build from scratch makes of the same view."""

    type_url: str
    name: str
    what: str  # "stale", "missing" or "left over"


def held(snapshot: Snapshot) -> Held:
    """What a proxy should have, copied: a live snapshot moves on while it is compared."""
    return {
        type_url: {name: resources[name] for name in resources} for type_url, resources in snapshot.items()
    }


def audit(view: Reader, node: NodeInfo, zone: str, have: Held) -> list[Difference] | None:
    """What differs; None when nothing can be said: the Dataplane is gone, or something cannot be derived.

    Then a proxy keeps what it had, which is meant. Secrets that come from an authority are not derived,
    and not compared.
    """
    source = Source(view, zone=zone)
    fresh = source.connect(node, lambda deltas: None).snapshot()
    if fresh is None or source.failures:
        return None
    found: list[Difference] = []
    for type_url in sorted({*have, *fresh}):
        found += _of_type(type_url, have.get(type_url, {}), fresh.get(type_url, {}))
    return found


def _of_type(type_url: str, have: Mapping[str, Encoded], fresh: Mapping[str, Encoded]) -> list[Difference]:
    found = []
    for name in sorted({*have, *fresh}):
        if name not in have:
            found.append(Difference(type_url, name, "missing"))
        elif name not in fresh:
            if type_url != SECRET:
                found.append(Difference(type_url, name, "left over"))
        elif have[name].body != fresh[name].body:
            found.append(Difference(type_url, name, "stale"))
    return found
