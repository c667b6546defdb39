"""A fault that does not bite proves nothing: wait until it is seen that it works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from chaos.history import Stalled

NOTICE_S = 60.0


class Ineffective(Stalled):
    """The fault was injected, and nobody noticed."""


async def noticed(what: str, condition: Callable[[], object], within_s: float = NOTICE_S) -> None:
    """Wait until `condition()` (or what it returns, when awaited) is true. Raises Ineffective."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        if time.monotonic() > deadline:
            raise Ineffective(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(0.1)
