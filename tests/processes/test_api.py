"""The library with real daemons: found, started, lost, stopping, replaced."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pyraface.client import Availability, Client, Result, detect_faces
from pyraface.client.inputs.file_reader import File
from pyraface.core import parameters
from pyraface.core.errors import DetectionError, ErrorCode, ServerError
from pyraface.core.host import keyfile
from pyraface.core.protocol import announcement
from pyraface.core.protocol.announcement import Announcement, Probe
from tests.stub_daemon import stub_daemon
from tests.support import daemon, free_udp_port, parameters_xml, run


def settings(**changes: object) -> parameters.Parameters:
    return parameters.parse(parameters_xml(**changes).encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """24 photographs, all different, each with one face."""
    folder = tmp_path_factory.mktemp("photographs")
    portrait = Image.fromarray(astronaut[41:191, 146:296])  # soon searched
    for index in range(24):
        side = 150 + 2 * index
        portrait.resize((side, side)).save(folder / f"{index:02}.jpg")
    return folder


def paths_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def everything(client: Client, paths: list[Path]) -> list[Result]:
    return [result async for result in client.map(paths)]


def test_one_call_finds_a_face_without_any_server(astronaut_jpeg: bytes, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(astronaut_jpeg)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    result = detect_faces(file)
    assert len(result.faces) == 1
    assert result.path == str(file)
    assert result.server == "local"
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_bytes_are_as_good_as_a_path(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    with daemon(tmp_path) as server:
        result = detect_faces(astronaut_jpeg, servers=f"127.0.0.1:{server.port}", parameters=settings())
    assert result.path == ""
    assert len(result.faces) == 1


def test_running_daemons_are_found_in_under_two_seconds(tmp_path: Path, folder: Path) -> None:
    port = free_udp_port()
    with (
        daemon(tmp_path, beacon=True, server_port_ip_disc=port, name="attic") as one,
        daemon(tmp_path, beacon=True, server_port_ip_disc=port, name="cellar") as two,
    ):

        async def talk() -> list[Result]:
            quickest = float("inf")
            for _ in range(5):  # a busy machine may be slow in some of them
                started = time.monotonic()
                async with Client("auto", parameters=settings(server_port_ip_disc=port)) as client:
                    quickest = min(quickest, time.monotonic() - started)
                if quickest < 2:
                    break
            assert quickest < 2
            async with Client("auto", parameters=settings(server_port_ip_disc=port)) as client:
                assert client.servers == 2
                results = await everything(client, paths_in(folder))
                done = {server.name: server.done for server in client.status()}
                assert done == Counter(result.server for result in results)
                return results

        results = run(talk())
    assert sorted(result.path for result in results) == [str(path) for path in paths_in(folder)]
    names = {f"attic (127.0.0.1:{one.port})", f"cellar (127.0.0.1:{two.port})"}
    assert {result.server for result in results} == names
    assert all(len(result.faces) == 1 for result in results)


def test_a_server_that_is_killed_gives_its_images_back(tmp_path: Path, folder: Path) -> None:
    with daemon(tmp_path) as one, daemon(tmp_path) as two:

        async def talk() -> list[Result]:
            results = []
            servers = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"
            async with Client(servers, parameters=settings()) as client:
                async for result in client.map(paths_in(folder)):
                    results.append(result)
                    if len(results) == 6:
                        one.process.kill()
                states = {server.address: server for server in client.status()}
                assert states[f"127.0.0.1:{one.port}"].state is Availability.LOST
                assert states[f"127.0.0.1:{one.port}"].in_flight == 0
                assert states[f"127.0.0.1:{two.port}"].state is Availability.CONNECTED
                assert states[f"127.0.0.1:{two.port}"].rate > 0
            return results

        results = run(talk())
    assert sorted(result.path for result in results) == [str(path) for path in paths_in(folder)]
    assert all(len(result.faces) == 1 for result in results)
    assert len({result.server for result in results[6 + 4 :]}) == 1


def test_a_server_that_drains_finishes_what_it_has_and_the_rest_goes_elsewhere(
    tmp_path: Path, folder: Path
) -> None:
    with daemon(tmp_path) as one, daemon(tmp_path) as two:

        async def talk() -> list[Result]:
            results = []
            servers = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"
            async with Client(servers, parameters=settings()) as client:
                async for result in client.map(paths_in(folder)):
                    results.append(result)
                    if len(results) == 6:
                        one.process.send_signal(signal.SIGTERM)
            return results

        results = run(talk())
        assert one.ended() == 0
    assert sorted(result.path for result in results) == [str(path) for path in paths_in(folder)]
    assert all(len(result.faces) == 1 for result in results)


def test_a_server_that_comes_back_is_used_again(tmp_path: Path, folder: Path) -> None:
    with daemon(tmp_path) as one:

        async def talk() -> None:
            async with Client(f"127.0.0.1:{one.port}", parameters=settings(read_timeout=20)) as client:
                first = await client.detect(paths_in(folder)[0])
                one.stop()
                with daemon(tmp_path, "--port", str(one.port)):
                    second = await client.detect(paths_in(folder)[0])
                np.testing.assert_array_equal(first.faces.boxes, second.faces.boxes)

        run(talk())


def test_images_left_without_any_server_are_errors_not_lost(tmp_path: Path, folder: Path) -> None:
    with daemon(tmp_path) as one:

        async def talk() -> list[Result]:
            results = []
            async with Client(f"127.0.0.1:{one.port}", parameters=settings(read_timeout=1)) as client:
                async for result in client.map(paths_in(folder)):
                    results.append(result)
                    if len(results) == 3:
                        one.process.kill()
            return results

        results = run(talk(), timeout=30)
    assert sorted(result.path for result in results) == [str(path) for path in paths_in(folder)]
    codes = {result.error[0] for result in results if result.error is not None}
    assert codes == {ErrorCode.SERVER_LOST}


def test_a_silent_server_is_given_up() -> None:
    async def talk() -> None:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        try:
            with pytest.raises(ServerError, match="no answer within"):
                async with Client(f"127.0.0.1:{port}", parameters=settings(connect_timeout=0.5)):
                    pytest.fail("there is no server")
        finally:
            silent.close()

    run(talk())


def test_a_stopped_server_is_given_up_and_its_images_done_elsewhere(tmp_path: Path, folder: Path) -> None:
    with daemon(tmp_path) as one, daemon(tmp_path) as two:

        async def talk() -> list[Result]:
            results = []
            servers = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"
            async with Client(servers, parameters=settings(read_timeout=2)) as client:
                async for result in client.map(paths_in(folder)):
                    results.append(result)
                    if len(results) == 6:
                        one.process.send_signal(signal.SIGSTOP)
            return results

        try:
            results = run(talk(), timeout=60)
        finally:
            one.process.send_signal(signal.SIGCONT)
    assert sorted(result.path for result in results) == [str(path) for path in paths_in(folder)]
    assert all(len(result.faces) == 1 for result in results)


def test_a_child_daemon_that_ended_the_connection_of_an_idle_client_is_used_again(folder: Path) -> None:
    told: list[str] = []

    async def talk() -> list[Result]:
        results = []
        async with Client("local", parameters=settings(idle_timeout=1), on_event=told.append) as client:
            async for result in client.map(paths_in(folder)):
                results.append(result)
                if len(results) == 6:
                    # what the server has is answered meanwhile, and then it hears nothing
                    time.sleep(2)  # noqa: ASYNC251  to stand still is the point
        return results

    results = run(talk())
    assert all(len(result.faces) == 1 for result in results)
    assert "idle" in next(line for line in told if "lost" in line)


def test_when_the_child_daemon_is_gone_the_images_that_are_left_have_failed_at_once(folder: Path) -> None:
    async def talk() -> list[Result]:
        results = []
        before = set(psutil.Process().children())
        async with Client("local", parameters=settings()) as client:
            (child,) = set(psutil.Process().children()) - before
            async for result in client.map(paths_in(folder)):
                results.append(result)
                if len(results) == 3:
                    child.kill()
        return results

    results = run(talk(), timeout=50)  # less than the minute in which another server might still come
    assert len(results) == len(paths_in(folder))
    codes = {result.error[0] for result in results if result.error is not None}
    assert codes == {ErrorCode.SERVER_LOST}


def test_a_client_that_is_closed_at_once_leaves_no_connection(tmp_path: Path) -> None:
    with daemon(tmp_path) as server:

        async def talk() -> None:
            async with Client(f"127.0.0.1:{server.port}", parameters=settings()) as client:
                assert client.servers == 1
            deadline = time.monotonic() + 10
            while [
                connection
                for connection in psutil.Process(server.process.pid).net_connections()
                if connection.status != psutil.CONN_LISTEN
            ]:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            assert len(asyncio.all_tasks()) <= 2, "this one, and the one that bounds its time"

        run(talk())


def test_announcements_without_end_do_not_keep_a_client_from_ending(tmp_path: Path) -> None:
    port = free_udp_port()
    done = threading.Event()

    def flood(tcp: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", port))
            sock.settimeout(30)
            data, client = sock.recvfrom(2000)
            received = announcement.decode(data)
            assert received is not None
            assert isinstance(received.words, Probe)
            (key,) = keyfile.load()
            words = announcement.encode(
                Announcement(1, "flood", "flood", tcp, "x", received.words.nonce), key
            )
            deadline = time.monotonic() + 20
            while not done.is_set() and time.monotonic() < deadline:
                sock.sendto(words, client)
                time.sleep(0.0001)

    async def talk() -> None:
        for _ in range(3):
            thread = threading.Thread(target=flood, args=(server.port,))
            thread.start()
            async with Client("auto", parameters=settings(server_port_ip_disc=port)) as client:
                assert client.servers == 1
                closing = time.monotonic()
            assert time.monotonic() - closing < 8, "cancellations were lost, and repeated each second"
            done.set()
            await asyncio.to_thread(thread.join)
            done.clear()

    with daemon(tmp_path) as server:
        try:
            run(talk(), timeout=60)
        finally:
            done.set()


def test_leaving_the_loop_early_cancels_what_is_in_flight(tmp_path: Path, folder: Path) -> None:
    with daemon(tmp_path) as server:

        async def talk() -> None:
            async with Client(f"127.0.0.1:{server.port}", parameters=settings()) as client:
                await client.detect(paths_in(folder)[0])  # by then every task of the connection runs
                of_connection = len(asyncio.all_tasks())
                async with contextlib.aclosing(client.map(paths_in(folder))) as results:
                    async for _ in results:
                        break
                deadline = asyncio.get_running_loop().time() + 5
                # the server answers what was cancelled; then only the connection's own tasks are left
                while len(asyncio.all_tasks()) > of_connection:
                    assert asyncio.get_running_loop().time() < deadline, asyncio.all_tasks()
                    await asyncio.sleep(0.01)
                again = await asyncio.wait_for(client.detect(paths_in(folder)[0]), 20)
                assert len(again.faces) == 1

        run(talk())


def test_a_cancelled_detect_leaves_the_client_usable(tmp_path: Path, folder: Path) -> None:
    with daemon(tmp_path) as server:

        async def talk() -> None:
            async with Client(f"127.0.0.1:{server.port}", parameters=settings()) as client:
                tasks = [asyncio.create_task(client.detect(path)) for path in paths_in(folder)]
                await asyncio.sleep(0.2)
                for task in tasks[::2]:
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(outcome, (Result, asyncio.CancelledError)) for outcome in done)
                assert all(isinstance(outcome, Result) for outcome in done[1::2])

        run(talk())


def test_a_server_that_stands_still_keeps_no_connection_of_a_closed_client(tmp_path: Path) -> None:
    with daemon(tmp_path) as server:

        async def talk() -> None:
            async with Client(f"127.0.0.1:{server.port}", parameters=settings()) as client:
                server.process.send_signal(signal.SIGSTOP)
                unsent = [asyncio.create_task(client.detect(os.urandom(20_000_000))) for _ in range(4)]
                await asyncio.sleep(1)
                for task in unsent:
                    task.cancel()
            deadline = time.monotonic() + 10
            while [one for one in psutil.Process().net_connections() if one.raddr[1:] == (server.port,)]:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

        try:
            run(talk())
        finally:
            server.process.send_signal(signal.SIGCONT)


def test_outside_of_its_block_a_client_says_so_and_leaves_nobody_waiting(
    tmp_path: Path, folder: Path
) -> None:
    with daemon(tmp_path) as server:

        async def talk() -> None:
            path = paths_in(folder)[0]
            client = Client(f"127.0.0.1:{server.port}", parameters=settings())
            with pytest.raises(RuntimeError, match="async with"):
                await client.detect(path)
            async with client:
                tasks = [asyncio.create_task(client.detect(path)) for _ in range(12)]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            left = await asyncio.wait_for(asyncio.gather(*tasks), 5)
            assert {result.error[0] for result in left if result.error is not None} == {ErrorCode.SERVER_LOST}
            with pytest.raises(RuntimeError, match="async with"):
                await client.detect(path)
            with pytest.raises(RuntimeError, match="once"):
                async with client:
                    pytest.fail("it was closed")

        run(talk())


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", ErrorCode.NOT_AN_IMAGE),
        (b"words", ErrorCode.NOT_AN_IMAGE),
        (None, ErrorCode.UNREADABLE),
    ],
)
def test_what_fails_is_a_result_whose_faces_cannot_be_mistaken_for_none(
    tmp_path: Path, content: bytes | None, code: ErrorCode
) -> None:
    file = tmp_path / "photo.jpg"
    if content is not None:
        file.write_bytes(content)
    with daemon(tmp_path) as server:
        result = detect_faces(file, servers=f"127.0.0.1:{server.port}", parameters=settings())
    assert result.error is not None
    assert result.error[0] is code
    with pytest.raises(DetectionError, match=r"photo\.jpg") as caught:
        _ = result.faces
    assert caught.value.code is code


def test_a_file_beyond_the_frame_limit_says_which_limit(tmp_path: Path, astronaut: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(astronaut).save(stream, "BMP")
    with daemon(tmp_path, max_frame_bytes=100_000) as server:
        place = f"127.0.0.1:{server.port}"
        result = detect_faces(stream.getvalue(), servers=place, parameters=settings())
    assert result.error is not None
    assert result.error[0] is ErrorCode.FRAME_TOO_LARGE
    assert "max_frame_bytes" in result.error[1]


@pytest.fixture(scope="module")
def bitmap(astronaut: np.ndarray) -> bytes:
    """An image file of 786 KB."""
    stream = io.BytesIO()
    Image.fromarray(astronaut).save(stream, "BMP")
    return stream.getvalue()


def test_a_file_too_large_for_one_server_goes_to_another_whatever_this_machine_allows(
    tmp_path: Path, bitmap: bytes
) -> None:
    """The limits are those of the servers; some of these files come while the server with room has others."""
    small = {"max_frame_bytes": 100_000, "max_pixels": 1000}
    files = [tmp_path / f"{number}.bmp" for number in range(6)]
    for file in files:
        file.write_bytes(bitmap)
    with (
        stub_daemon(tmp_path, seconds=0.0, **small) as narrow,
        stub_daemon(tmp_path, seconds=0.2) as wide,
    ):

        async def talk() -> None:
            places = f"127.0.0.1:{narrow.port},127.0.0.1:{wide.port}"
            async with Client(places, parameters=settings(**small)) as client:
                while client.servers < 2:
                    await asyncio.sleep(0.01)
                results = [result async for result in client.map(files)]
                results.append(await client.detect(bitmap))
                with Image.open(io.BytesIO(bitmap)) as image:
                    results.append(await client.detect(image))
                assert [result.error for result in results] == [None] * 8
                assert {str(wide.port) in (result.server or "") for result in results} == {True}

        run(talk())


def test_a_file_too_large_for_every_server_is_an_error_that_names_the_limit_the_server_and_the_parameter(
    tmp_path: Path, bitmap: bytes
) -> None:
    file = tmp_path / "photo.bmp"
    file.write_bytes(bitmap)
    with (
        stub_daemon(tmp_path, seconds=0.0, max_frame_bytes=100_000) as one,
        stub_daemon(tmp_path, seconds=0.0, max_frame_bytes=200_000) as other,
    ):

        async def talk() -> None:
            places = f"127.0.0.1:{one.port},127.0.0.1:{other.port}"
            async with Client(places, parameters=settings()) as client:
                while client.servers < 2:
                    await asyncio.sleep(0.01)
                read, held = await client.detect(file), await client.detect(bitmap)
            for result in (read, held):
                assert result.error is not None
                assert result.error[0] is ErrorCode.FRAME_TOO_LARGE
                assert f"a file of {len(bitmap)} bytes; " in result.error[1]
                assert "(its params/daemon/max_frame_bytes)" in result.error[1]
            assert read.error is not None
            assert "of 2 servers, " in read.error[1]
            assert f"(127.0.0.1:{other.port}) accepts at most 200000 " in read.error[1]

        run(talk())


@pytest.mark.parametrize(
    ("servers", "says"),
    [
        ("127.0.0.1:1", "refused"),
        ("", "HOST"),
        ("host:port", "no port"),
        ("host:0", "no port"),
        ("host:70000", "no port"),
        ("[::1", "IPv6"),
        ("a b", "HOST"),
        ("no-such-host.invalid:5000", "no-such-host"),
        ("a..b", "not a valid host name"),
        ("a" * 64 + ".invalid", "not a valid host name"),
    ],
)
def test_servers_that_cannot_be_are_one_clear_error(servers: str, says: str) -> None:
    async def talk() -> None:
        with pytest.raises(ServerError, match=rf"(?i){says}"):
            async with Client(servers, parameters=settings()):
                pytest.fail("there is no server")

    run(talk())


def test_a_child_daemon_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut_jpeg: bytes
) -> None:
    package = tmp_path / "face_recognition_models"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ServerError, match="face_recognition_models"):
        detect_faces(astronaut_jpeg, servers="local", parameters=settings())


def test_a_child_daemon_for_which_there_is_no_room_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", none)
    with pytest.raises(ServerError, match="could be started on this machine: No usable temporary directory"):
        detect_faces(b"", servers="local", parameters=settings())


def test_files_that_are_skipped_go_to_no_server(tmp_path: Path, folder: Path) -> None:
    asked: list[File] = []

    def skip(file: File) -> bool:
        asked.append(file)
        return len(asked) % 2 == 0

    with stub_daemon(tmp_path, seconds=0.0) as server:

        async def talk() -> list[Result]:
            async with Client(f"127.0.0.1:{server.port}", parameters=settings()) as client:
                results = [result async for result in client.map(paths_in(folder), skip=skip)]
                assert sum(status.done for status in client.status()) == 12
                return results

        results = run(talk())
    assert sorted(file.path for file in asked) == [str(path) for path in paths_in(folder)]
    assert len(results) == 12


def test_draining_answers_what_servers_have_and_sends_nothing_more(tmp_path: Path, folder: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.3, credits=3) as server:

        async def endless() -> AsyncIterator[Path]:
            while True:
                for path in paths_in(folder):
                    yield path

        async def talk() -> tuple[list[Result], int]:
            async with Client(f"127.0.0.1:{server.port}", parameters=settings()) as client:
                alone = asyncio.create_task(client.detect(paths_in(folder)[0]))
                results = []
                async for result in client.map(endless()):
                    results.append(result)
                    if len(results) == 2:
                        client.drain()
                        before = len(results)
                assert len(await asyncio.gather(alone, return_exceptions=True)) == 1
                with pytest.raises(asyncio.CancelledError):
                    await client.detect(paths_in(folder)[0])
                return results, before

        results, before = run(talk(), timeout=60)
    assert before < len(results) <= before + 3
    assert all(result.error is None for result in results)


def test_what_is_done_is_told_while_the_next_path_is_waited_for(tmp_path: Path, folder: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.0) as server:

        async def talk() -> None:
            told = asyncio.Event()

            async def slow() -> AsyncIterator[Path]:
                yield paths_in(folder)[0]
                await told.wait()
                yield paths_in(folder)[1]

            async with Client(f"127.0.0.1:{server.port}", parameters=settings()) as client:
                results = []
                async for result in client.map(slow()):
                    results.append(result)
                    told.set()
                assert len(results) == 2

        run(talk(), timeout=60)
