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
from pyraface.core.pages import Page, Unread
from pyraface.core.results import Result
from tests import leaping_time
from tests.leaping_time import LeapingLoop
from tests.support import run


def status(done: int, *, state: Availability = Availability.CONNECTED) -> ServerStatus:
    return ServerStatus("attic (1.2.3.4:5000)", "1.2.3.4:5000", "onnx", "cpu", state, 4, 4, done, 1.0, 0.0)


def test_where_there_is_no_terminal_lines_come_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def talk(loop: LeapingLoop) -> None:
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=loop.time))
        with Progress() as shown:
            async with shown.following(lambda: [status(shown.images)]):
                shown.add(Result("a.jpg"))
                await asyncio.sleep(2.5 * progress.PLAIN_INTERVAL)
                shown.expect(3)
                shown.add(Result("b.jpg", error=(ErrorCode.UNREADABLE, "gone")))
                await asyncio.sleep(2.5 * progress.PLAIN_INTERVAL)

    leaping_time.run(talk)
    assert capsys.readouterr().err.splitlines() == [
        "1 image, 0.10 images/s, 0 faces",
        "1 image, 0.050 images/s, 0 faces",
        "b.jpg: unreadable: gone",
        "2 of 3 images, 0.067 images/s, 0 faces, 1 failed, 15 s left",
        "2 of 3 images, 0.050 images/s, 0 faces, 1 failed, 20 s left",
    ]


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


def test_files_of_which_not_every_picture_was_searched_are_counted_and_pages_that_cannot_be_read_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = (Page(0, 30, 20, 1),)
    with Progress() as shown:
        shown.add(Result("a.jpg", pictures=1, pages=one))
        shown.add(Result("b.tif", pictures=2, pages=(*one, Page(1, 30, 20, 1))))
        assert "pictures" not in shown.summary()
        shown.add(Result("c.gif", pictures=9, pages=one))
        assert shown.summary().endswith("; 1 file with more pictures than were searched")
        shown.add(Result("d.tif", pictures=3, pages=one, unread=(Unread(1, "cut off"), Unread(2, "damaged"))))
        assert shown.summary().endswith("; 2 files with more pictures than were searched")
    assert capsys.readouterr().err.splitlines() == [
        "d.tif: page 1, of pages 0 to 2, could not be read: cut off",
        "d.tif: page 2, of pages 0 to 2, could not be read: damaged",
    ]
