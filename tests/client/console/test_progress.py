"""What is shown during a run where standard error is no terminal."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import pytest

from pyraface.client.console import progress
from pyraface.client.console.progress import Progress
from pyraface.client.pool.status import Availability, ServerStatus
from pyraface.core.errors import ErrorCode
from pyraface.core.results import Result
from tests.support import run


def status(done: int, *, state: Availability = Availability.CONNECTED) -> ServerStatus:
    return ServerStatus("attic (1.2.3.4:5000)", "1.2.3.4:5000", "onnx", "cpu", state, 4, 4, done, 1.0)


def test_where_there_is_no_terminal_lines_come_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.2)
    monkeypatch.setattr(progress, "TICK", 0.02)

    async def talk() -> None:
        with Progress() as progress:
            async with progress.following(lambda: [status(progress.images)]):
                progress.add(Result("a.jpg"))
                await asyncio.sleep(0.5)
                progress.expect(3)
                progress.add(Result("b.jpg", error=(ErrorCode.UNREADABLE, "gone")))
                await asyncio.sleep(0.5)

    run(talk())
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "1 image, 1.00 images/s, 0 faces"
    assert "b.jpg: unreadable: gone" in said
    assert re.fullmatch(r"2 of 3 images, [12]\.\d\d images/s, 0 faces, 1 failed, [01] s left", said[-1])
    assert 3 <= len(said) <= 7


def test_a_server_that_becomes_slow_is_named_at_once_and_in_the_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = 1000.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(progress, "TICK", 0.0)
    done = 0

    async def talk() -> None:
        nonlocal clock, done
        with Progress() as progress:
            async with progress.following(lambda: [status(done)]):
                for second in range(400):
                    clock += 1
                    done += 3 if second < 200 else 0
                    for _ in range(5):
                        await asyncio.sleep(0)
            assert progress.troubles()[0].startswith("server attic (1.2.3.4:5000): slow for ")

    run(talk())
    said = capsys.readouterr().err.splitlines()
    (slow,) = [line for line in said if "is slow" in line]
    assert re.fullmatch(
        r"server attic \(1\.2\.3\.4:5000\) is slow: 0\.\d\d images/s, 3\.\d\d at its best", slow
    )
