"""A real daemon process, and clients that behave, misbehave and disappear."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import TypeVar

import msgpack
import numpy as np
import psutil
import pytest
from PIL import Image

from pyraface.core import parameters
from pyraface.core.errors import ErrorCode
from pyraface.core.pipeline import Pipeline
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import (
    Cancel,
    Challenge,
    Closing,
    Detect,
    Draining,
    Failed,
    Found,
    Hello,
    Message,
    Ping,
    Pong,
    Welcome,
)
from pyraface.daemon.__main__ import main
from tests.stub_daemon import SECONDS, WITHOUT_PROPOSER, stub_daemon
from tests.support import (
    NONCE,
    ROOT,
    DaemonProcess,
    Peer,
    daemon,
    environment,
    greeted,
    parameters_xml,
    run,
    still_running,
)

T = TypeVar("T")

SLOW = {"height": 500, "width": 700, "search": "everywhere"}
"""With the dlib engine on a CPU without a BLAS, such a tile takes three seconds."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for all tests that leave it as they found it."""
    with daemon(
        tmp_path_factory.mktemp("server"),
        "--engine",
        "onnx",
        max_frame_bytes=1 << 20,
        max_pixels=4_000_000,
    ) as process:
        yield process


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One that does not wait long, but for longer than a greeting takes on a busy machine."""
    folder = tmp_path_factory.mktemp("impatient")
    with stub_daemon(folder, seconds=0.0, handshake_timeout=1.5, frame_timeout=1.5) as process:
        yield process


async def has_received_everything(peer: Peer) -> None:
    """Returns when the server has taken what was sent so far: it handles messages in their order."""
    peer.send(Ping(1000))
    while not isinstance(await peer.next(), Pong):
        pass


async def detects(peer: Peer, image: bytes, id: int = 1) -> Message | None:
    peer.send(Detect(id, image))
    return await peer.next()


def good_client_is_served(server: DaemonProcess, image: bytes) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(server.port)
        answer = await detects(peer, image)
        assert isinstance(answer, Found)
        assert len(answer.faces) == 1
        await peer.close()

    run(talk())


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def packed(**fields: object) -> bytes:
    return framed(msgpack.packb(fields))


HELLO = wire.encode(Hello((1,), "test", NONCE))


def test_image_libraries_and_engines_are_in_the_worker_alone(
    server: DaemonProcess, astronaut_jpeg: bytes
) -> None:
    good_client_is_served(server, astronaut_jpeg)
    libraries = ("libvips", "libheif", "simplejpeg", "PIL", "onnxruntime", "dlib")
    loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert not [name for name in libraries if name in loaded]
    loaded = Path(f"/proc/{server.worker.pid}/maps").read_text()
    assert "libvips" in loaded
    assert "onnxruntime" in loaded


def test_a_client_that_wants_smaller_faces_gets_them(server: DaemonProcess, astronaut: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(astronaut).resize((128, 128)).save(stream, "PNG")  # a face of 22 px

    async def talk() -> list[int]:
        peer, _ = await Peer.welcomed(server.port)
        found = []
        for wanted in (0, 20, 60):
            peer.send(Detect(1, stream.getvalue(), faces_from=wanted))
            answer = await peer.next()
            assert isinstance(answer, Found)
            found.append(len(answer.faces))
        await peer.close()
        return found

    assert run(talk()) == [0, 1, 0]


def test_the_faces_are_those_the_pipeline_finds(server: DaemonProcess, astronaut_jpeg: bytes) -> None:
    expected = Pipeline(parameters.parse(parameters_xml().encode()), "onnx").detect(astronaut_jpeg)

    async def talk() -> Found:
        peer, welcome = await Peer.welcomed(server.port)
        assert welcome.engine == "onnx"
        assert welcome.credits == 4
        answer = await detects(peer, astronaut_jpeg)
        await peer.close()
        assert isinstance(answer, Found)
        return answer

    answer = run(talk())
    assert (answer.pages, answer.pictures) == (((0, 512, 512, 1),), 1)
    assert len(expected) == 1
    np.testing.assert_array_equal(answer.faces.boxes, expected.boxes)
    np.testing.assert_allclose(answer.faces.encodings, expected.encodings, atol=1e-5)
    np.testing.assert_array_equal(answer.faces.sharpness, expected.sharpness)
    assert answer.faces.comparable.tolist() == expected.comparable.tolist() == [True]
    left, top, right, bottom = answer.faces.boxes[0]
    assert left < 225 < right  # her nose is at (225, 125)
    assert top < 125 < bottom


def _png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("1", (width, height)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"", ErrorCode.NOT_AN_IMAGE),
        (b"\x00" * 100, ErrorCode.NOT_AN_IMAGE),
        (b"this is no photograph", ErrorCode.NOT_AN_IMAGE),
        (_png(4000, 4000), ErrorCode.IMAGE_TOO_LARGE),
    ],
)
def test_what_is_no_image_gets_a_code_and_the_connection_goes_on(
    server: DaemonProcess, astronaut_jpeg: bytes, image: bytes, code: ErrorCode
) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(server.port)
        answer = await detects(peer, image, id=7)
        assert isinstance(answer, Failed)
        assert (answer.id, answer.code) == (7, code)
        assert answer.message
        truncated = await detects(peer, astronaut_jpeg[: len(astronaut_jpeg) // 2], id=8)
        assert isinstance(truncated, Failed)
        assert truncated.code is ErrorCode.IMAGE_TRUNCATED
        assert isinstance(await detects(peer, astronaut_jpeg, id=9), Found)
        await peer.close()

    run(talk())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\xff\xff\xff\xff", ErrorCode.FRAME_TOO_LARGE, id="a length of 4 GiB"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", ErrorCode.FRAME_TOO_LARGE, id="HTTP"),
        pytest.param(framed(b"\xc1garbage"), ErrorCode.MALFORMED_FRAME, id="garbage"),
        pytest.param(framed(b""), ErrorCode.MALFORMED_FRAME, id="an empty frame"),
        pytest.param(framed(b"\x91" * 5000 + b"\x90"), ErrorCode.MALFORMED_FRAME, id="deep nesting"),
        pytest.param(packed(type="nonsense"), ErrorCode.UNKNOWN_MESSAGE, id="an unknown message"),
        pytest.param(packed(type="hello", versions=[1]), ErrorCode.BAD_FIELD, id="a missing field"),
        pytest.param(
            packed(type="hello", versions=[1], client="x", nonce=NONCE, more=1),
            ErrorCode.BAD_FIELD,
            id="an extra field",
        ),
        pytest.param(HELLO[:9], ErrorCode.TIMED_OUT, id="half a hello"),
        pytest.param(b"", ErrorCode.TIMED_OUT, id="nothing"),
        pytest.param(HELLO, ErrorCode.TIMED_OUT, id="no proof"),
    ],
)
def test_a_broken_greeting_ends_that_connection_with_its_code_and_no_other(
    server: DaemonProcess, impatient: DaemonProcess, astronaut_jpeg: bytes, data: bytes, code: ErrorCode
) -> None:
    one = impatient if code is ErrorCode.TIMED_OUT else server
    ends_with_its_code_and_no_other(one, astronaut_jpeg, data, code, welcomed=False)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(packed(type="detect", id=-1, image=b""), ErrorCode.BAD_FIELD, id="negative id"),
        pytest.param(b"\x00\x00", ErrorCode.FRAME_TIMED_OUT, id="half a length"),
    ],
)
def test_a_broken_protocol_ends_that_connection_with_its_code_and_no_other(
    server: DaemonProcess, impatient: DaemonProcess, astronaut_jpeg: bytes, data: bytes, code: ErrorCode
) -> None:
    one = impatient if code is ErrorCode.FRAME_TIMED_OUT else server
    ends_with_its_code_and_no_other(one, astronaut_jpeg, data, code, welcomed=True)


def ends_with_its_code_and_no_other(
    server: DaemonProcess, image: bytes, data: bytes, code: ErrorCode, *, welcomed: bool
) -> None:
    async def talk() -> None:
        good, _ = await Peer.welcomed(server.port)
        bad = (await Peer.welcomed(server.port))[0] if welcomed else await Peer.connect(server.port)
        bad.writer.write(data)
        words = await bad.next()
        if isinstance(words, Challenge):
            words = await bad.next()
        assert isinstance(words, Closing)
        assert words.code is code
        assert words.message
        assert await bad.next() is None
        await bad.close()
        assert isinstance(await detects(good, image), Found)
        await good.close()

    run(talk())


def test_an_image_sent_byte_by_byte_is_an_image(server: DaemonProcess) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(server.port)
        for byte in wire.encode(Detect(1, _png(10, 10))):
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
        answer = await peer.next()
        assert isinstance(answer, Found)
        assert len(answer.faces) == 0
        await peer.close()

    run(talk())


def test_more_requests_than_credits_are_answered_as_busy(
    server: DaemonProcess, astronaut_jpeg: bytes
) -> None:
    async def talk() -> None:
        peer, welcome = await Peer.welcomed(server.port)
        with server.standing_still():
            for id in range(welcome.credits + 2):
                peer.send(Detect(id, astronaut_jpeg))
            busy = [await peer.next() for _ in range(2)]
        for answer, id in zip(busy, (4, 5), strict=True):
            assert isinstance(answer, Failed)
            assert (answer.id, answer.code, answer.elsewhere) == (id, ErrorCode.BUSY, True)
        found = [await peer.next() for _ in range(welcome.credits)]
        assert sorted(answer.id for answer in found if isinstance(answer, Found)) == [0, 1, 2, 3]
        await peer.close()

    run(talk())


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.0, max_connections=8) as full:

        async def talk() -> None:
            peers = [(await Peer.welcomed(full.port))[0] for _ in range(8)]
            late = await Peer.connect(full.port)
            words = await late.next()
            assert isinstance(words, Closing)
            assert words.code is ErrorCode.TOO_MANY_CONNECTIONS
            for peer in peers:
                peer.send(Ping(1))
                assert isinstance(await peer.next(), Pong)
            for peer in [late, *peers]:
                await peer.close()
            while True:  # the server may not have heard yet that they are gone
                again = await Peer.connect(full.port)
                again.send(Hello((1,), "again", NONCE))
                if isinstance(await again.next(), Challenge):
                    break
                await again.close()
            await again.close()

        run(talk())


def test_a_client_that_leaves_without_its_answers_disturbs_nobody(
    server: DaemonProcess, astronaut_jpeg: bytes
) -> None:
    async def talk() -> None:
        for _ in range(5):
            peer, _ = await Peer.welcomed(server.port)
            for id in range(4):
                peer.send(Detect(id, astronaut_jpeg))
            peer.writer.transport.abort()

    run(talk())
    good_client_is_served(server, astronaut_jpeg)
    assert "Traceback" not in server.said


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One that takes several seconds an image, holding its own interpreter's lock all the while."""
    with daemon(tmp_path_factory.mktemp("slow"), "--engine", "dlib", **SLOW) as process:
        yield process


@pytest.fixture(scope="module")
def large_jpeg(astronaut: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(astronaut).resize((1000, 1000)).save(stream, "JPEG")
    return stream.getvalue()


ECHO = """
import asyncio, sys

async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)

async def main():
    there = await asyncio.start_server(echo, "127.0.0.1", 0)
    print(there.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""
"""The least that can be between a question and its answer: how quick this machine is just now."""


def test_pings_are_answered_at_once_while_a_detection_takes_seconds(
    slow_server: DaemonProcess, large_jpeg: bytes
) -> None:
    """At once: much as an echo is, which is asked in turn with it, on a machine that may be busy with other things."""

    async def talk(port: int) -> None:
        async def measured(work: Awaitable[T]) -> tuple[float, T]:
            sent = time.perf_counter()
            answer = await work
            return time.perf_counter() - sent, answer

        peer, _ = await Peer.welcomed(slow_server.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        started = time.perf_counter()
        peer.send(Detect(1000, large_jpeg))
        delays: list[float] = []
        echoes: list[float] = []
        while True:
            peer.send(Ping(len(delays)))
            delay, answer = await measured(peer.next())
            if isinstance(answer, Found):
                break
            assert isinstance(answer, Pong)
            delays.append(delay)
            writer.write(b"?")
            echoes.append((await measured(reader.readexactly(1)))[0])
            await asyncio.sleep(0.05)
        took = time.perf_counter() - started
        assert took > 1, "the detection was too quick to prove anything"
        assert len(delays) > 20
        nine_of_ten, echo = (statistics.quantiles(values, n=10)[-1] for values in (delays, echoes))
        assert nine_of_ten < 0.05 + 3 * echo, f"{nine_of_ten:.3f} s; an echo {echo:.3f} s"
        assert max(delays) < took / 4 + 3 * max(echoes), f"slowest: {max(delays):.3f} s of {took:.3f} s"
        assert len(answer.faces) == 1
        await peer.close()
        writer.close()

    with subprocess.Popen(
        [sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        run(talk(int(process.stdout.readline())))


def test_a_cancelled_request_is_answered_as_cancelled_without_the_work(
    slow_server: DaemonProcess, large_jpeg: bytes
) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(slow_server.port)
        for id in range(4):
            peer.send(Detect(id, large_jpeg))
        await has_received_everything(peer)
        started = time.perf_counter()
        for id in (1, 2, 3):
            peer.send(Cancel(id))
        answers = {answer.id: answer for answer in [await peer.next() for _ in range(4)]}  # type: ignore[union-attr]
        assert time.perf_counter() - started < 15
        assert isinstance(answers[0], Found)
        for id in (1, 2, 3):
            answer = answers[id]
            assert isinstance(answer, Failed)
            assert answer.code is ErrorCode.CANCELLED
        await peer.close()

    run(talk())


def test_a_killed_executor_is_replaced_and_its_image_done_after_all(
    slow_server: DaemonProcess, large_jpeg: bytes
) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(slow_server.port)
        peer.send(Detect(1, large_jpeg))
        await works(slow_server.worker)
        slow_server.worker.kill()
        answer = await peer.next()
        assert isinstance(answer, Found)
        assert len(answer.faces) == 1
        await peer.close()

    run(talk())


def test_an_image_that_takes_two_executors_with_it_is_an_error_and_the_others_are_done(
    slow_server: DaemonProcess, large_jpeg: bytes, astronaut_jpeg: bytes
) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(slow_server.port)
        peer.send(Detect(1, large_jpeg))
        peer.send(Detect(2, astronaut_jpeg))
        before = slow_server.said.count("runs again")
        for kills in range(2):
            while slow_server.said.count("runs again") < before + kills:
                await asyncio.sleep(0.05)
            worker = slow_server.worker
            await works(worker)
            worker.kill()
            assert not still_running([worker])
        answers = {answer.id: answer for answer in [await peer.next(), await peer.next()]}  # type: ignore[union-attr]
        lost = answers[1]
        assert isinstance(lost, Failed)
        assert lost.code is ErrorCode.EXECUTOR_LOST
        assert isinstance(answers[2], Found)
        await peer.close()

    run(talk())


async def works(worker: psutil.Process) -> None:
    """Returns when a worker that is ready works on an image: its processor time grows."""
    before = sum(worker.cpu_times()[:2])
    while sum(worker.cpu_times()[:2]) - before < 0.5:
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One that gives a large image less time than it takes."""
    with daemon(
        tmp_path_factory.mktemp("hasty"),
        "--engine",
        "dlib",
        image_timeout=1.5,
        height=700,
        width=1000,
        search="everywhere",
    ) as process:
        yield process


def test_an_image_over_the_time_limit_is_answered_and_the_next_one_done(
    hasty: DaemonProcess, large_jpeg: bytes
) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(hasty.port)
        peer.send(Detect(1, large_jpeg))
        peer.send(Detect(2, _png(100, 80)))
        first = await peer.next()
        assert isinstance(first, Failed)
        assert (first.id, first.code) == (1, ErrorCode.TOO_SLOW)
        assert "image_timeout" in first.message
        second = await peer.next()
        assert isinstance(second, Found)
        await peer.close()

    run(talk())


def test_a_cancelled_image_is_not_begun_again_after_one_that_was_too_slow(
    hasty: DaemonProcess, large_jpeg: bytes
) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(hasty.port)
        for id in (1, 2, 3):
            peer.send(Detect(id, large_jpeg))
        await has_received_everything(peer)
        peer.send(Cancel(2))
        peer.send(Cancel(3))
        answers = {answer.id: answer for answer in [await peer.next() for _ in range(3)]}  # type: ignore[union-attr]
        codes = {id: answer.code for id, answer in answers.items() if isinstance(answer, Failed)}
        assert codes == {1: ErrorCode.TOO_SLOW, 2: ErrorCode.CANCELLED, 3: ErrorCode.CANCELLED}
        await peer.close()

    run(talk())


def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=1.0) as server:

        async def talk() -> None:
            peer, _ = await Peer.welcomed(server.port)
            peer.send(Detect(1, _png(30, 30)))
            peer.send(Detect(2, _png(30, 31)))
            await has_received_everything(peer)
            server.process.terminate()
            assert isinstance(await peer.next(), Draining)
            peer.send(Detect(3, _png(30, 30)))
            refused = await peer.next()
            assert isinstance(refused, Failed)
            assert (refused.id, refused.code, refused.elsewhere) == (3, ErrorCode.DRAINING, True)
            with pytest.raises(ConnectionError):
                await Peer.connect(server.port)
            answers = [await peer.next(), await peer.next()]
            assert all(isinstance(answer, Found) for answer in answers)
            assert await peer.next() is None
            await peer.close()

        run(talk())
        assert server.ended() == 0
        assert "Traceback" not in server.said


def test_a_client_that_leaves_while_it_stops_is_not_waited_for(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=30.0) as server:

        async def talk() -> None:
            peer, _ = await Peer.welcomed(server.port)
            peer.send(Detect(1, _png(30, 30)))
            await has_received_everything(peer)
            server.process.terminate()
            assert isinstance(await peer.next(), Draining)
            peer.writer.transport.abort()

        run(talk())
        # not stop(), whose second signal would force it
        assert server.process.wait(15) == 0


def test_a_client_that_the_system_gives_up_is_no_error_of_ours(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, "--verbose", seconds=0.0, read_timeout=1) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", server.port))
            client.settimeout(15)
            pings = wire.encode(Ping(1)) * 1_000_000
            # it takes no answers, so the daemon stops reading it
            with greeted(client) as secure, pytest.raises((ConnectionError, ssl.SSLEOFError)):
                secure.sendall(pings)
        deadline = time.monotonic() + 30
        while ": gone" not in server.said:
            assert time.monotonic() < deadline, server.said[-2000:]
            time.sleep(0.05)
        assert server.stop() == 0
        assert "Traceback" not in server.said


def test_a_second_signal_ends_it_without_waiting(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=30.0) as server:

        async def talk() -> None:
            peer, _ = await Peer.welcomed(server.port)
            peer.send(Detect(1, _png(30, 30)))
            await has_received_everything(peer)
            server.process.send_signal(signal.SIGINT)
            assert isinstance(await peer.next(), Draining)
            server.process.send_signal(signal.SIGINT)
            started = time.monotonic()
            words = await peer.next()
            assert isinstance(words, Failed)
            assert words.code is ErrorCode.DRAINING
            assert await peer.next() is None
            assert time.monotonic() - started < 15
            await peer.close()

        run(talk())
        assert server.ended() == 0


def test_the_executor_ends_with_a_killed_daemon(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.0) as server:
        worker = server.worker
        server.stop(signal.SIGKILL)
        assert not still_running([worker])


def test_a_ctrl_c_while_the_executor_starts_is_the_daemons_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyraface.daemon", "--host", "127.0.0.1", "--port", "0", "--no-beacon"]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, stderr=stderr, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not psutil.Process(process.pid).children():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)  # it imports
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()


def test_closed_standard_streams_do_no_harm(astronaut_jpeg: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = (
        f"exec '{sys.executable}' -m pyraface.daemon --host 127.0.0.1 --port {port} --no-beacon <&- >&- 2>&-"
    )
    process = subprocess.Popen(["sh", "-c", command], cwd=ROOT)

    async def talk() -> None:
        while True:
            assert process.poll() is None
            try:
                peer, _ = await Peer.welcomed(port)
                break
            except ConnectionError:
                await asyncio.sleep(0.1)
        assert isinstance(await detects(peer, astronaut_jpeg), Found)
        await peer.close()

    try:
        run(talk(), timeout=60)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_the_end_of_standard_input_stops_it_where_that_was_asked_for(
    tmp_path: Path, *, terminal: bool
) -> None:
    """A terminal whose other side is gone ends with an error of the system's."""
    file = tmp_path / "parameters.xml"
    file.write_text(parameters_xml())
    command = [sys.executable, "-m", "pyraface.daemon", "--parameters", str(file), "--host", "127.0.0.1"]
    theirs, ours = os.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [*command, "--port", "0", "--no-beacon", "--stop-at-eof"],
        cwd=ROOT,
        stdin=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert process.stderr is not None
    try:
        while b"ready on" not in process.stderr.readline():
            assert process.poll() is None
        os.close(ours)
        said = process.communicate(timeout=20)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert b"Traceback" not in said


def fails(
    *arguments: str, inherits: int | None = None, module: str = "pyraface.daemon", **variables: str
) -> str:
    """The one line of a daemon that cannot start."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--host", "127.0.0.1", "--no-beacon", *arguments],
        cwd=ROOT,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        pass_fds=[] if inherits is None else [inherits],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if "WARNING" not in line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_an_input_that_cannot_be_waited_for_is_one_clear_line() -> None:
    assert "--stop-at-eof" in fails("--port", "0", "--stop-at-eof")


@pytest.mark.parametrize("number", ["-1", "x", str(1 << 31)])
def test_what_is_no_number_of_a_descriptor_is_bad_usage(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--fd", "--key-fd"):
        with pytest.raises(SystemExit) as ended:
            main([option, number])
        assert ended.value.code == 2
        assert "is no descriptor" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "99"])
def test_what_is_no_inherited_socket_and_no_key_is_one_clear_line(number: str) -> None:
    assert f"--fd {number} is no socket" in fails("--fd", number)
    assert f"--key-fd {number} " in fails("--port", "0", "--key-fd", number)


@pytest.mark.parametrize(
    ("family", "kind", "says"),
    [
        (socket.AF_INET, socket.SOCK_DGRAM, "is no TCP socket"),
        (socket.AF_UNIX, socket.SOCK_STREAM, "is no TCP socket"),
        (socket.AF_INET, socket.SOCK_STREAM, "is not bound to a port"),
    ],
)
def test_an_inherited_socket_that_clients_cannot_reach_is_one_clear_line(
    family: int, kind: int, says: str
) -> None:
    with socket.socket(family, kind) as sock:
        if kind == socket.SOCK_DGRAM:
            sock.bind(("127.0.0.1", 0))
        assert f"--fd {sock.fileno()} {says}" in fails("--fd", str(sock.fileno()), inherits=sock.fileno())


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fails("--port", str(port))
    assert str(port) in line
    assert "--port" in line


def test_wrong_parameters_are_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.xml"
    file.write_text(parameters_xml(height=-3))
    line = fails("--parameters", str(file), "--port", "0")
    assert "mine.xml" in line
    assert "height" in line
    assert "-3" in line


def test_the_search_of_the_command_line_takes_the_place_of_the_one_in_parameters_xml(tmp_path: Path) -> None:
    async def welcomed(port: int) -> Welcome:
        peer, welcome = await Peer.welcomed(port)
        await peer.close()
        return welcome

    welcomes = []
    for named, *arguments in (
        ("guided",),
        ("everywhere", "--search", "guided"),
        ("guided", "--search", "everywhere"),
    ):
        with stub_daemon(tmp_path, *arguments, seconds=0.0, search=named) as server:
            welcomes.append(run(welcomed(server.port)))
    assert [welcome.searches[0] for welcome in welcomes] == ["guided", "guided", "everywhere"]
    assert welcomes[0].fingerprint == welcomes[1].fingerprint != welcomes[2].fingerprint
    for search in ("everywhere", "guided"):
        assert len({welcome.fingerprint_of(search) for welcome in welcomes}) == 1


def test_a_search_that_the_server_cannot_do_is_refused_and_the_connection_goes_on(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    with stub_daemon(tmp_path, seconds=0.0, proposer=False, search="everywhere") as server:

        async def talk() -> None:
            peer, welcome = await Peer.welcomed(server.port)
            assert welcome.searches == ("everywhere",)
            for search in ("guided", "nowhere"):
                peer.send(Detect(1, astronaut_jpeg, search=search))
                answer = await peer.next()
                assert isinstance(answer, Failed)
                assert answer.code is ErrorCode.SEARCH_UNAVAILABLE
                assert answer.message == f"this server cannot search {search!r}: it can everywhere"
            peer.send(Detect(1, astronaut_jpeg, search="everywhere"))
            assert isinstance(await peer.next(), Found)
            await peer.close()

        run(talk())
        assert "no client can ask for the search guided or most: the stub has no proposer" in server.said


@pytest.mark.parametrize("named", ["parameters.xml", "command line"])
def test_a_search_that_was_named_and_cannot_run_is_one_clear_line(tmp_path: Path, named: str) -> None:
    file = tmp_path / "parameters.xml"
    file.write_text(parameters_xml(**({"search": "guided"} if named == "parameters.xml" else {})))
    arguments = ["--parameters", str(file), "--port", "0"]
    if named == "command line":
        arguments += ["--search", "guided"]
    stub = {SECONDS: "0", WITHOUT_PROPOSER: "1"}
    line = fails(*arguments, module="tests.stub_daemon", **stub)
    assert line == "pyraface-daemon: the stub has no proposer"


def test_missing_weights_are_one_clear_line(tmp_path: Path) -> None:
    package = tmp_path / "face_recognition_models"
    package.mkdir()
    (package / "__init__.py").touch()
    variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    line = fails("--port", "0", "--engine", "onnx", **variables)
    assert "face_recognition_models" in line
