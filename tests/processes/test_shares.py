"""How long an album takes with more servers; their engines take a fixed time, so that cores are no limit."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from PIL import Image

from pyraface.client import Availability, Client
from pyraface.core import parameters
from tests.stub_daemon import stub_daemon
from tests.support import parameters_xml, run

IMAGES = 40
SECONDS = 0.1


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small images."""
    folder = tmp_path_factory.mktemp("album")
    paths = [folder / f"{number:03}.png" for number in range(IMAGES)]
    for number, path in enumerate(paths):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(path)
    return paths


async def seconds_for(paths: list[Path], servers: str) -> float:
    """The time that a client takes for all of them, once it is connected."""
    async with Client(servers, parameters=parameters.parse(parameters_xml().encode())) as client:
        started = asyncio.get_running_loop().time()
        results = [result async for result in client.map(paths)]
        seconds = asyncio.get_running_loop().time() - started
    assert sorted(result.path for result in results) == [str(path) for path in paths]
    assert all(result.error is None for result in results)
    return seconds


def test_two_servers_of_equal_speed_take_half_the_time(tmp_path: Path, album: list[Path]) -> None:
    with (
        stub_daemon(tmp_path, seconds=SECONDS) as one,
        stub_daemon(tmp_path, seconds=SECONDS) as two,
    ):
        # a machine under load may be slow in one of them: the best of a few is what the work itself takes
        alone = shared = float("inf")
        for _ in range(3):
            alone = min(alone, run(seconds_for(album, f"127.0.0.1:{one.port}")))
            shared = min(shared, run(seconds_for(album, f"127.0.0.1:{one.port},127.0.0.1:{two.port}")))
            if shared <= 0.55 * alone:
                break
    print(f"one server: {alone:.2f} s, two: {shared:.2f} s, which is {shared / alone:.3f} of it")
    assert alone >= IMAGES * SECONDS, "the engine takes its time"
    assert shared <= 0.55 * alone


def test_a_slow_server_does_not_hold_up_the_end(tmp_path: Path, album: list[Path]) -> None:
    slow = 20.0
    with (
        stub_daemon(tmp_path, seconds=slow) as one,
        stub_daemon(tmp_path, seconds=0.01) as two,
    ):
        # the slow one is given two of them at the start, when nothing is known of it
        assert run(seconds_for(album, f"127.0.0.1:{one.port},127.0.0.1:{two.port}")) < slow


def test_a_server_that_fails_at_everything_costs_no_image_and_rests(
    tmp_path: Path, album: list[Path]
) -> None:
    with (
        stub_daemon(tmp_path, seconds=math.inf) as broken,
        stub_daemon(tmp_path, seconds=0.05) as good,
    ):

        async def talk() -> None:
            servers = f"127.0.0.1:{broken.port},127.0.0.1:{good.port}"
            async with Client(servers, parameters=parameters.parse(parameters_xml().encode())) as client:
                results, rested = [], False
                async for result in client.map(album):
                    results.append(result)
                    states = {server.address: server for server in client.status()}
                    rested = rested or states[f"127.0.0.1:{broken.port}"].state is Availability.RESTING
            assert [result.error for result in results] == [None] * IMAGES
            assert rested  # a pause may be over by now
            assert states[f"127.0.0.1:{broken.port}"].done == 0
            assert states[f"127.0.0.1:{good.port}"].done == IMAGES

        run(talk())
