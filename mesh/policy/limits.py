"""Bounds of policy computation, each with its reason."""

from __future__ import annotations

SUBSET_TAGS_MAX = 12
"""Distinct tags in one group of overlapping `from` selectors.

The subset algorithm looks at each combination of present and absent tags: 2^12 combinations are 4,096 rules
in one RBAC filter and tens of milliseconds; each further tag doubles both.  Whoever needs more uses `rules`.
"""

ITEMS_KEPT = 20_000
"""Resources whose plain form is kept: at about 2 KB each, 40 MB at most, and far more than a mesh has policies."""
