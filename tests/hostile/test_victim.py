"""The daemon after all that was done to it; pytest runs this file last in its folder."""

from __future__ import annotations

from tests.hostile.test_clients import ACTS
from tests.hostile.test_images import IMAGES
from tests.hostile.test_strangers import CLEARTEXT, GUESTS, STRANGERS
from tests.hostile.victim import (
    Victim,
)


def test_memory_has_not_crept(victim: Victim) -> None:
    assert all(last <= 1.2 * first for last, first in zip(victim.marks, victim.first, strict=True)), victim


def test_the_table_is_long_enough() -> None:
    rows = [*STRANGERS, *GUESTS, *IMAGES]
    assert len({row.name for row in rows}) == len(rows)
    assert len(rows) + len(ACTS) + len(CLEARTEXT) >= 40
