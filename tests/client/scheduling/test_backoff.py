from __future__ import annotations

import pytest

from pyraface.client.scheduling import backoff


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (0, 0.0),
        (1, 0.0),
        (2, backoff.FIRST),
        (3, 2 * backoff.FIRST),
        (4, 4 * backoff.FIRST),
        (9, backoff.LONGEST),
        (10**6, backoff.LONGEST),
    ],
)
def test_it_doubles_with_each_failure_after_the_second_up_to_the_longest(
    failures: int, seconds: float
) -> None:
    assert backoff.after_failures(failures) == seconds
