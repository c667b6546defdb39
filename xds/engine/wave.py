"""The queue of a wave: nodes that have to run, in order of height.

Order of height makes every node run at most once per wave, after all that it reads. Among equals
the older one is first, so the order is the same everywhere.
"""

from __future__ import annotations

import heapq

from xds.engine.node import WAITING, Node


class Wave:
    """A priority queue of nodes whose height may change while they wait."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Node]] = []

    def __bool__(self) -> bool:
        return self.floor() is not None

    def push(self, node: Node) -> None:
        """Queue a node (more than once is harmless: a clean node is skipped)."""
        heapq.heappush(self._heap, (node.height, node.id, node))

    def floor(self) -> int | None:
        """The least height that still waits; nodes below it are settled. None: nothing waits."""
        while self._heap:
            height, _, node = self._heap[0]
            if node.state in WAITING and node.needed:
                if node.height == height:
                    return height
                heapq.heapreplace(self._heap, (node.height, node.id, node))
            else:
                heapq.heappop(self._heap)
        return None

    def pop(self) -> Node | None:
        """The next node to run, or None."""
        if self.floor() is None:
            return None
        return heapq.heappop(self._heap)[2]

    def __len__(self) -> int:
        return len(self._heap)
