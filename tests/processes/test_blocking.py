"""The library without asyncio, with real daemons: in a script, beside a running loop, and left in every way there is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pyraface.client import Client, detect_faces, map_faces
from pyraface.client.blocking import READY, _Work
from pyraface.core import parameters
from pyraface.core.errors import ServerError
from pyraface.core.protocol.messages import Inquire, Status
from tests.support import ROOT, DaemonProcess, Peer, daemon, environment, parameters_xml, run, still_running

SETTINGS = parameters.parse(parameters_xml().encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """24 photographs, all different, each with one face; the first one is the largest."""
    folder = tmp_path_factory.mktemp("photographs")
    portrait = Image.fromarray(astronaut[41:191, 146:296])  # soon searched
    for index in range(24):
        side = 300 if index == 0 else 150 + 2 * index
        portrait.resize((side, side)).save(folder / f"{index:02}.jpg")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with daemon(tmp_path_factory.mktemp("server"), "--engine", "onnx") as process:
        yield process


@pytest.fixture
def place(server: DaemonProcess) -> Iterator[str]:
    """Where the server is; when the test is over, nothing of its is left there or here."""
    yield f"127.0.0.1:{server.port}"
    deadline = time.monotonic() + 20
    while running():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert run(in_flight(server)) == 0


async def in_flight(server: DaemonProcess) -> int:
    """Waits until a server has no client but us, and returns how many images it still has."""
    peer, _ = await Peer.welcomed(server.port)
    try:
        while True:
            peer.send(Inquire(1))
            status = await peer.next()
            assert isinstance(status, Status)
            if status.connections == 1 and status.waiting + status.working == 0:
                return 0
            await asyncio.sleep(0.02)
    finally:
        await peer.close()


def running() -> bool:
    return any(thread.name == "pyraface" for thread in threading.enumerate())


def names(results: object) -> list[str]:
    return [Path(result.path).name for result in results]  # type: ignore[attr-defined]


def test_every_image_has_a_result_and_with_ordered_in_its_place(place: str, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    found = list(map_faces(paths, servers=place, parameters=SETTINGS))
    assert sorted(names(found)) == names_of(paths)
    assert all(len(result.faces) == 1 for result in found)
    ordered = list(map_faces(iter(paths), servers=place, parameters=SETTINGS, ordered=True))
    assert names(ordered) == names_of(paths)


def names_of(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_no_image_at_all_is_no_result(place: str) -> None:
    assert list(map_faces([], servers=place, parameters=SETTINGS)) == []


def test_an_application_with_a_running_loop_may_use_it_in_that_very_thread_and_in_another(
    place: str, folder: Path
) -> None:
    paths = sorted(folder.iterdir())[:3]

    async def talk() -> None:
        assert len(detect_faces(paths[0], servers=place, parameters=SETTINGS).faces) == 1
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticking = asyncio.create_task(tick())
        found = await asyncio.to_thread(lambda: list(map_faces(paths, servers=place, parameters=SETTINGS)))
        assert sorted(names(found)) == names_of(paths)
        assert ticks > 3
        ticking.cancel()

    run(talk())


@pytest.mark.parametrize("way", ["close", "exception", "garbage", "garbage in a circle"])
def test_leaving_it_early_leaves_nothing_running(place: str, folder: Path, way: str) -> None:
    paths = sorted(folder.iterdir()) * 20
    results = map_faces(paths, servers=place, parameters=SETTINGS)
    if way == "close":
        with contextlib.closing(results):
            next(results)
            assert running()
        assert not running()
        with pytest.raises(StopIteration):
            next(results)
    elif way == "exception":

        def consume() -> None:
            with contextlib.closing(results):
                for result in results:
                    _ = 1 / (len(result.faces) - 1)

        with pytest.raises(ZeroDivisionError):
            consume()
        assert not running()
    else:
        next(results)
        if way == "garbage in a circle":
            circle: list[object] = [results]
            circle.append(circle)
            del circle
        del results
        gc.collect()


def test_images_are_asked_for_as_they_are_needed_and_in_the_callers_thread(place: str) -> None:
    """However slowly results are taken, and however fast they come: these are no images, which is soon said."""
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        while True:
            assert threading.current_thread() is threading.main_thread()
            asked += 1
            yield b"no image"

    with contextlib.closing(map_faces(endless(), servers=place, parameters=SETTINGS)) as results:
        for taken in range(1, 201):
            next(results)
            time.sleep(0.005)
            assert taken <= asked < taken + 80


def test_results_that_nobody_takes_are_not_made_without_bound(place: str) -> None:
    """Even if whoever should take them does nothing but hand over images."""
    work = _Work(Client(place, parameters=SETTINGS), ordered=False, given=None)
    work.start()
    given = 0
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and given < 500:
        if work.wants_image():
            work.give((b"no image",))
            given += 1
        else:
            time.sleep(0.0005)
    work.close()
    assert READY < given < READY + 60


def test_an_exception_of_the_images_comes_after_the_results_of_those_before_it(
    place: str, folder: Path
) -> None:
    def broken() -> Iterator[Path]:
        yield from sorted(folder.iterdir())[:3]
        raise OSError("the disk is gone")

    found = []
    results = map_faces(broken(), servers=place, parameters=SETTINGS)

    def consume() -> None:
        for result in results:
            found.append(result)

    with pytest.raises(OSError, match="the disk is gone"):
        consume()
    assert sorted(names(found)) == ["00.jpg", "01.jpg", "02.jpg"]


def test_a_slow_consumer_keeps_its_servers_however_long_it_takes(place: str, folder: Path) -> None:
    """Pings are answered and taken while nobody asks for results."""
    impatient = parameters.parse(parameters_xml(read_timeout=1).encode())
    results = map_faces(sorted(folder.iterdir()) * 2, servers=place, parameters=impatient)
    next(results)
    time.sleep(2)
    assert all(len(result.faces) == 1 for result in results)


def test_no_server_is_an_error_where_the_first_result_is_asked_for() -> None:
    results = map_faces(["photo.jpg"], servers="127.0.0.1:1", parameters=SETTINGS)
    with pytest.raises(ServerError, match="refused"):
        next(results)
    assert not running()


def test_cancelling_a_map_in_asyncio_leaves_no_task_and_nothing_at_the_server(
    place: str, server: DaemonProcess, folder: Path
) -> None:
    paths = sorted(folder.iterdir()) * 20

    async def talk() -> None:
        before = asyncio.all_tasks()

        async def everything() -> None:
            async with Client(place, parameters=SETTINGS) as client:
                async for _ in client.map(paths, ordered=True):
                    some.set()

        some = asyncio.Event()
        task = asyncio.create_task(everything())
        await some.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # the loop itself closes a generator that nobody closed, a moment later
        while asyncio.all_tasks() != before:
            await asyncio.sleep(0.01)
        assert await in_flight(server) == 0

    run(talk(), timeout=60)


def test_cancelling_a_client_while_it_closes_still_stops_its_daemon() -> None:
    async def talk() -> None:
        before, others = asyncio.all_tasks(), psutil.Process().children(recursive=True)
        entered = asyncio.Event()

        async def use() -> None:
            async with Client("local", parameters=SETTINGS):
                entered.set()

        task = asyncio.create_task(use())
        await entered.wait()
        started = set(psutil.Process().children(recursive=True)) - set(others)
        assert started
        for _ in range(5):
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [process for process in started if process.is_running()]
        assert asyncio.all_tasks() == before

    run(talk())


SCRIPT = """
import sys
import psutil
{setup}
from pyraface.client import map_faces
from pyraface.core import parameters

settings = parameters.load({settings!r})
results = map_faces([{photo!r}] * 500, servers={servers!r}, parameters=settings)
assert len(next(results).faces) == 1
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
{rest}
"""


def script(tmp_path: Path, photo: Path, servers: str, *, rest: str = "", setup: str = "") -> list[str]:
    file = tmp_path / "settings.xml"
    file.write_text(parameters_xml())
    text = SCRIPT.format(settings=str(file), photo=str(photo), servers=servers, rest=rest, setup=setup)
    return [sys.executable, "-W", "error", "-c", textwrap.dedent(text)]


@pytest.mark.parametrize(
    "setup", ["", "import asyncio, uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())"]
)
@pytest.mark.parametrize("rest", ["", "sys.exit(3)", "raise SystemError('mine')"])
def test_a_program_that_ends_in_the_middle_ends_at_once_with_its_daemon(
    tmp_path: Path, folder: Path, rest: str, setup: str
) -> None:
    done = subprocess.run(
        script(tmp_path, folder / "01.jpg", "local", rest=rest, setup=setup),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    children = [int(pid) for pid in done.stdout.split()]
    assert len(children) == 2, done.stderr
    # it has waited for them
    assert not [pid for pid in children if psutil.pid_exists(pid)]
    assert done.returncode == {"": 0, "sys.exit(3)": 3}.get(rest, 1)
    if rest.startswith("raise"):
        assert done.stderr.splitlines()[-1] == "SystemError: mine"
    else:
        assert done.stderr == ""


@pytest.mark.parametrize("rest", ["for result in results: pass", "import time; time.sleep(100)"])
def test_a_keyboard_interrupt_ends_it_with_its_daemon(tmp_path: Path, folder: Path, rest: str) -> None:
    process = subprocess.Popen(
        script(tmp_path, folder / "01.jpg", "local", rest=rest),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert len(process.stdout.readline().split()) == 2
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    assert complaints.splitlines()[-1] == "KeyboardInterrupt"
    assert complaints.count("Traceback") == 1, complaints
    assert not still_running(children)
