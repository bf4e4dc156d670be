from __future__ import annotations

import random

from pyraface.client.scheduling.heapset import SLACK, HeapSet


def drained(heap: HeapSet[str]) -> list[tuple[float, str]]:
    found = []
    while (first := heap.pop()) is not None:
        found.append(first)
    assert len(heap) == 0
    return found


def test_an_empty_heap_has_no_smallest_item() -> None:
    heap = HeapSet[str]()
    assert heap.peek() is None
    assert heap.pop() is None
    assert heap.order("a") is None
    heap.discard("a")
    assert len(heap) == 0


def test_items_come_by_their_order_and_equal_ones_as_they_were_pushed() -> None:
    heap = HeapSet[str]()
    for item, order in ("d", 2.0), ("c", 1.0), ("b", 1.0), ("a", 3.0):
        heap.push(item, order)
    assert heap.peek() == (1.0, "c")
    assert "c" in heap, "a look takes nothing out"
    assert drained(heap) == [(1.0, "c"), (1.0, "b"), (2.0, "d"), (3.0, "a")]


def test_an_item_that_is_pushed_again_is_there_once_with_its_new_order() -> None:
    heap = HeapSet[str]()
    for order in 5.0, 1.0, 3.0:
        heap.push("a", order)
    heap.push("b", 2.0)
    assert len(heap) == 2
    assert heap.order("a") == 3.0
    assert drained(heap) == [(2.0, "b"), (3.0, "a")]


def test_an_item_that_is_pushed_again_with_the_same_order_goes_behind_its_equals() -> None:
    heap = HeapSet[str]()
    for item in "aba":
        heap.push(item, 1.0)
    assert drained(heap) == [(1.0, "b"), (1.0, "a")]


def test_a_discarded_item_is_gone_and_may_come_back() -> None:
    heap = HeapSet[str]()
    heap.push("a", 1.0)
    heap.push("b", 2.0)
    heap.discard("a")
    assert "a" not in heap
    assert heap.peek() == (2.0, "b")
    heap.push("a", 3.0)
    assert drained(heap) == [(2.0, "b"), (3.0, "a")]


def test_a_cleared_heap_is_empty() -> None:
    heap = HeapSet[str]()
    heap.push("a", 1.0)
    heap.clear()
    assert "a" not in heap
    assert heap.peek() is None


def test_outdated_entries_take_bounded_memory_and_hide_nothing() -> None:
    heap, expected, chance = HeapSet[str](), dict[str, float](), random.Random(1)
    for _ in range(20_000):
        item, order = chance.choice("abcdefgh"), chance.random()
        if chance.random() < 0.2:
            heap.discard(item)
            expected.pop(item, None)
        else:
            heap.push(item, order)
            expected[item] = order
        assert len(heap._heap) <= 4 * 8 + SLACK
        assert heap.peek() == min(((order, item) for item, order in expected.items()), default=None)
    assert drained(heap) == sorted((order, item) for item, order in expected.items())
