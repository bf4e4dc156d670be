"""How long the start of a run waits for its servers."""

from __future__ import annotations

import asyncio

import pytest

from pyraface.client.pool.first_attempts import OTHERS, Attempt, first_reached
from pyraface.core.errors import SearchUnavailableError, ServerError
from tests.support import run

REFUSED = ServerError("attic: Connection refused")
UNSUITABLE = SearchUnavailableError("cellar cannot do the search most")


def seconds_until_begun(*outcomes: tuple[float, ServerError | None], must: bool = True) -> float:
    """Returns how long the start waits for attempts that end after so many seconds each, in this way."""

    async def wait() -> float:
        loop = asyncio.get_running_loop()
        attempts: list[Attempt] = []
        for seconds, outcome in outcomes:
            attempts.append(loop.create_future())
            loop.call_later(seconds, attempts[-1].set_result, outcome)
        started = loop.time()
        await first_reached(attempts, search="most", must=must)
        return loop.time() - started

    return run(wait())


def test_a_run_begins_soon_after_its_first_server_is_reached() -> None:
    assert OTHERS <= seconds_until_begun((0.0, None), (60.0, None), (60.0, REFUSED)) < 10


def test_servers_that_are_reached_at_once_are_all_waited_for_and_nothing_else_is() -> None:
    assert seconds_until_begun((0.0, None), (0.0, REFUSED), (0.1, None)) < OTHERS


def test_the_second_server_is_waited_for_if_the_first_is_not_reached() -> None:
    assert seconds_until_begun((0.0, REFUSED), (1.0, None)) >= 1.0 - 0.01


@pytest.mark.parametrize(
    ("failures", "text"),
    [
        ([REFUSED, UNSUITABLE], "no server reached: attic: Connection refused; cellar cannot"),
        ([UNSUITABLE], "no server can do the search most: cellar cannot"),
    ],
)
def test_a_run_without_any_server_that_was_named_is_an_error_with_every_reason(
    failures: list[ServerError], text: str
) -> None:
    with pytest.raises(ServerError, match=text):
        seconds_until_begun(*[(0.01 * number, failure) for number, failure in enumerate(failures)])
    assert seconds_until_begun(*[(0.0, failure) for failure in failures], must=False) < 10


def test_a_run_that_names_no_server_waits_for_none() -> None:
    assert seconds_until_begun(must=False) < 10
