"""Cases that are known to fail, each with the reason.  The list may only shrink: a case that is listed
and passes makes its suite fail until it is taken off."""

from __future__ import annotations

# suite -> case -> reason
KNOWN_FAILURES: dict[str, dict[str, str]] = {}
