"""Spreads over turns of the loop what is sent to many.

A change that concerns thousands of streams is noted by all of them at once, which is cheap; to work out what each
of them gets, to encode and to write it is a fraction of a millisecond each, and all of them in one turn would hold
up everything else for seconds. So in each turn of the loop so many who ask are served at once, and of those who
had to wait as many again, in the order in which they came:

    submit(a) .. submit(z)      a change of the mesh: the first few now, the others wait
    submit(b)                   b's own change, in a later turn: ahead of those who wait

Who waits gets what is the latest when his turn comes: it is not kept what he waits for, only that he does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from xds.limits import SENT_AT_ONCE, SENT_FROM_QUEUE

Job = Callable[[], None]
Later = Callable[[Job], object]


class Pacer:
    """later: has its argument called in the next turn of the loop (call_soon)."""

    def __init__(self, later: Later, at_once: int = SENT_AT_ONCE, from_queue: int = SENT_FROM_QUEUE) -> None:
        self._later = later
        self._at_once, self._from_queue = at_once, from_queue
        self._left = at_once
        self._waiting: dict[Job, None] = {}
        self._armed = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Run it now or in a later turn; once, however often it was submitted until then."""
        self._arm()
        if self._left:
            self._left -= 1
            self._waiting.pop(job, None)
            job()
        else:
            self._waiting.setdefault(job)

    def drop(self, job: Job) -> None:
        """It is not to be run any more. Idempotent."""
        self._waiting.pop(job, None)

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._later(self._turn)

    def _turn(self) -> None:
        self._armed = False
        self._left = self._at_once
        if self._waiting:
            self._arm()  # before the work: a job that fails must not keep the others waiting
        for job in list(islice(self._waiting, self._from_queue)):
            if job in self._waiting:  # else one before it had it dropped
                del self._waiting[job]
                job()
