"""How often a dying Envoy is started again: a pure decision, so that it can be tested without one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

RESTARTS_MAX = 5
WINDOW_S = 60.0
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0


@dataclass(slots=True)
class RestartPolicy:
    """At most RESTARTS_MAX starts in WINDOW_S seconds; the pause doubles with each in the window."""

    _deaths: deque[float] = field(default_factory=deque)

    def died(self, now: float) -> float | None:
        """Seconds to wait before the next start, or None: give up."""
        while self._deaths and now - self._deaths[0] > WINDOW_S:
            self._deaths.popleft()
        self._deaths.append(now)
        if len(self._deaths) > RESTARTS_MAX:
            return None
        return float(min(BACKOFF_FIRST_S * 2 ** (len(self._deaths) - 1), BACKOFF_MAX_S))
