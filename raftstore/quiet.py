"""A log that says a thing once: what repeats itself within a minute is counted, not repeated.

A peer with a wrong certificate comes back each second, for days. The first refusal tells
all there is to know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

SAY_AGAIN_S = 60.0
# Distinct things remembered; a scanner that makes up new ones only makes old ones be said again.
REMEMBERED_MAX = 256


@dataclass(slots=True)
class _Said:
    at: float
    held_back: int = 0


class QuietLog:
    """Warnings by key. `now` is a monotonic clock in seconds."""

    def __init__(self, log: logging.Logger, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._said: dict[object, _Said] = {}

    def warning(self, key: object, text: str) -> None:
        """Say `text`, unless something with this key was said within SAY_AGAIN_S."""
        now = self._now()
        said = self._said.get(key)
        if said is not None and now - said.at < SAY_AGAIN_S:
            said.held_back += 1
            return
        again = f" (and {said.held_back} times since the last such line)" if said and said.held_back else ""
        if len(self._said) >= REMEMBERED_MAX:
            self._said.clear()
        self._said[key] = _Said(now)
        self._log.warning("%s%s", text, again)
