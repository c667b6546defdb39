"""What all tests share.

Properties are checked on the same examples in every run, so that a test that passed does
not fail for somebody else's change. `RAFTMESH_EXPLORE=1 make test-fast` looks for new ones;
what it finds becomes an `@example`.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("RAFTMESH_EXPLORE") else "same")
