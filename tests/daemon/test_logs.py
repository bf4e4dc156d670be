"""Logs: how many lines there may be."""

from __future__ import annotations

import logging

import pytest

from pyraface.daemon import logs
from pyraface.daemon.logs import LineLimit


def test_of_a_flood_of_lines_some_are_logged_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    limit = LineLimit(lines=3, seconds=10)

    def lines(count: int) -> list[str]:
        records = [
            logging.LogRecord("x", logging.INFO, "", 0, "no %d", (number,), None) for number in range(count)
        ]
        return [record.getMessage() for record in records if limit.filter(record)]

    assert lines(5) == ["no 0", "no 1", "no 2"]
    now += 10
    assert lines(2) == ["no 0 (2 lines left out before this one)", "no 1"]
    now += 10
    assert lines(1) == ["no 0"]
