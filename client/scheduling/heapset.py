"""HeapSet: items ordered by a number that may change."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

SLACK = 16
"""Outdated entries that are kept, however few items there are: removing them one by one would cost more."""


class HeapSet(Generic[T]):
    """Set whose smallest item is found at once. Items of equal order are returned in the order in which they were pushed.

    An item that is pushed again or discarded leaves its old entry in the heap. Each entry has a version, and only the
    version of an item's last entry is valid. Outdated entries are dropped when they reach the top, and all together when
    they are three times as many as the items.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._valid: dict[T, tuple[float, int]] = {}
        """Order and version of the entry of each item."""
        self._versions = itertools.count()

    def __len__(self) -> int:
        return len(self._valid)

    def __contains__(self, item: T) -> bool:
        return item in self._valid

    def push(self, item: T, order: float) -> None:
        """Adds an item, or changes the order of one."""
        version = next(self._versions)
        self._valid[item] = order, version
        heappush(self._heap, (order, version, item))
        if len(self._heap) > 4 * len(self._valid) + SLACK:
            self._heap = [(order, version, item) for item, (order, version) in self._valid.items()]
            heapify(self._heap)

    def discard(self, item: T) -> None:
        """Removes an item, if it is there."""
        self._valid.pop(item, None)

    def clear(self) -> None:
        """Removes every item."""
        self._heap.clear()
        self._valid.clear()

    def order(self, item: T) -> float | None:
        """Returns the order of an item; None if it is not there."""
        entry = self._valid.get(item)
        return None if entry is None else entry[0]

    def peek(self) -> tuple[float, T] | None:
        """Returns the smallest order and its item; None if there is no item."""
        while self._heap:
            order, version, item = self._heap[0]
            if self._valid.get(item) == (order, version):
                return order, item
            heappop(self._heap)
        return None

    def pop(self) -> tuple[float, T] | None:
        """Removes and returns the smallest order and its item; None if there is no item."""
        found = self.peek()
        if found is not None:
            heappop(self._heap)
            del self._valid[found[1]]
        return found
