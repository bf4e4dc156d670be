"""Executor: the daemon's side of its worker, with a real worker."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from pyraface.core import parameters
from pyraface.core.errors import EngineError, ErrorCode
from pyraface.core.host.memory import Memory
from pyraface.core.images.memory import USUAL
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import Cancel, Detect, Failed, Found, Message
from pyraface.daemon import executor as executor_module
from pyraface.daemon.executor import Executor
from pyraface.daemon.low_memory import Scarcity
from pyraface.daemon.worker.decode_window import PICTURE_BYTES
from pyraface.daemon.worker_process import Child, Job
from tests.stub_daemon import stub_daemon
from tests.support import Peer, parameters_xml, run


def new_executor(memory: Memory | None = None) -> Executor:
    xml = parameters_xml().encode()
    found = parameters.parse(xml)
    return Executor(
        "onnx",
        xml,
        queue=found.daemon.queue,
        images_ahead=found.daemon.images_ahead,
        image_timeout=found.timeouts.image,
        scarcity=Scarcity(memory or Memory(), found.detection),
    )


@contextlib.asynccontextmanager
async def started(memory: Memory | None = None) -> AsyncIterator[Executor]:
    executor = new_executor(memory)
    await executor.start()
    try:
        yield executor
    finally:
        await executor.close()


def test_more_large_pictures_than_are_decoded_ahead_are_all_answered() -> None:
    """Each takes its room and gives it back: one that is searched, one that is cut off, one that nobody wants."""
    stream = io.BytesIO()
    Image.new("1", (7000, 5000)).save(stream, "PNG")
    whole = stream.getvalue()
    assert 7000 * 5000 * USUAL <= PICTURE_BYTES < 2 * 7000 * 5000 * USUAL

    async def talk() -> None:
        async with started() as executor:
            jobs = [
                executor.submit(Detect(0, data))
                for data in (whole, whole[:-40], whole, whole, whole[:-40], whole)
            ]
            executor.cancel(jobs[3])
            answers = [await asyncio.wait_for(job.answer, 60) for job in jobs]
        codes = [answer.code if isinstance(answer, Failed) else None for answer in answers]
        cut_off, cancelled = ErrorCode.IMAGE_TRUNCATED, ErrorCode.CANCELLED
        assert codes == [None, cut_off, None, cancelled, cut_off, None]

    run(talk(), timeout=180)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "cancelled"])
def test_images_of_a_worker_that_is_just_ending_are_answered(astronaut_jpeg: bytes, closed: bool) -> None:
    async def talk() -> None:
        async with started() as executor:
            jobs = [executor.submit(Detect(0, astronaut_jpeg)) for _ in range(3)]
            worker = executor._worker
            assert worker is not None
            worker.writer.transport.abort()  # as if it had died, with its end still to come
            while executor._worker is not None:
                await asyncio.sleep(0)
            assert worker.process.returncode is None, "the worker has ended too soon to prove anything"
            assert executor.pending == 3
            if closed:
                await executor.close()
            else:
                for job in jobs:
                    executor.cancel(job)
            answers = [await asyncio.wait_for(job.answer, 1) for job in jobs]
            await worker.process.wait()
        code = ErrorCode.DRAINING if closed else ErrorCode.CANCELLED
        assert [answer.code for answer in answers if isinstance(answer, Failed)] == [code] * 3

    run(talk())


def test_the_worker_hears_once_that_an_image_is_cancelled(astronaut_jpeg: bytes) -> None:
    """What waits to be sent to a worker that is busy is bounded, however often a client says so."""

    async def talk() -> None:
        async with started() as executor:
            worker = executor._worker
            assert worker is not None
            sent: list[Message] = []
            send = worker.send

            def noted(message: Message) -> None:
                sent.append(message)
                send(message)

            worker.send = noted  # type: ignore[method-assign]
            job = executor.submit(Detect(0, astronaut_jpeg))
            for _ in range(1000):
                executor.cancel(job)
            await asyncio.wait_for(job.answer, 60)
            assert sum(isinstance(message, Cancel) for message in sent) == 1

    run(talk())


class SimulatedMemory(Memory):
    """The files of a system with memory enough, and a number of kills that a test increases: none runs out of memory."""

    def __init__(self, root: Path) -> None:
        (root / "proc").mkdir()
        (root / "proc/meminfo").write_text(f"MemTotal: {8 << 20} kB\nMemAvailable: {8 << 20} kB\n")
        self._vmstat = root / "proc/vmstat"
        self._vmstat.write_text("oom_kill 0\n")
        super().__init__(root)

    def kill(self, executor: Executor) -> None:
        """Kills the worker as the system does where memory runs out."""
        worker = executor._worker
        assert worker is not None
        self._vmstat.write_text(f"oom_kill {self.kills()[-1] + 1}\n")
        worker.process.kill()


async def another_worker(executor: Executor, than: object) -> Child:
    """Waits until the executor has another worker."""
    while executor._worker is None or executor._worker is than:
        await asyncio.sleep(0.01)
    return executor._worker


def keeping_busy(executor: Executor) -> Job:
    """Submits an image that keeps a worker busy for seconds: a new worker is seen before it has an answer."""
    stream = io.BytesIO()
    Image.new("RGB", (4000, 4000), (90, 120, 60)).save(stream, "JPEG")
    return executor.submit(Detect(0, stream.getvalue(), search="everywhere"))


def test_images_of_a_worker_killed_for_want_of_memory_are_done_by_a_frugal_one_and_then_as_before(
    astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    memory = SimulatedMemory(tmp_path)

    async def talk() -> None:
        async with started(memory) as executor:
            first = executor._worker
            assert first is not None
            assert not first.frugal
            first.process.send_signal(signal.SIGSTOP)  # it has no time to answer
            jobs = [keeping_busy(executor), *(executor.submit(Detect(0, astronaut_jpeg)) for _ in range(4))]
            assert executor.working == 3
            memory.kill(executor)
            second = await another_worker(executor, first)
            assert second.frugal
            assert executor.working == 1
            answers = [await asyncio.wait_for(job.answer, 60) for job in jobs]
            assert all(isinstance(answer, Found) for answer in answers)
            assert not (await another_worker(executor, second)).frugal

    run(talk())


def test_an_image_for_which_even_a_frugal_worker_has_too_little_memory_fails_alone(
    astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    memory = SimulatedMemory(tmp_path)

    async def talk() -> None:
        async with started(memory) as executor:
            worker: Child | None = None
            jobs: list[Job] = []
            for frugal in (False, True):
                worker = await another_worker(executor, worker)
                assert worker.frugal == frugal
                worker.process.send_signal(signal.SIGSTOP)
                jobs = jobs or [keeping_busy(executor)]
                assert executor.working == 1
                memory.kill(executor)
            failed = await asyncio.wait_for(jobs[0].answer, 60)
            assert isinstance(failed, Failed)
            assert (failed.code, failed.elsewhere) == (ErrorCode.OUT_OF_MEMORY, True)
            assert "there are 8192 MiB, all that this machine has" in failed.message
            assert not (await another_worker(executor, worker)).frugal
            assert isinstance(
                await asyncio.wait_for(executor.submit(Detect(0, astronaut_jpeg)).answer, 60), Found
            )

    run(talk())


def test_a_worker_that_another_program_kills_is_none_that_had_too_little_memory(tmp_path: Path) -> None:
    memory = SimulatedMemory(tmp_path)

    async def talk() -> None:
        async with started(memory) as executor:
            worker: Child | None = None
            jobs: list[Job] = []
            for _ in range(2):
                worker = await another_worker(executor, worker)
                assert not worker.frugal
                worker.process.send_signal(signal.SIGSTOP)
                jobs = jobs or [keeping_busy(executor)]
                worker.process.kill()
            failed = await asyncio.wait_for(jobs[0].answer, 60)
            assert isinstance(failed, Failed)
            assert failed.code is ErrorCode.EXECUTOR_LOST

    run(talk())


def large_picture() -> bytes:
    """The bytes of a PNG of 36 Mpx, whose decoder takes 7 bytes for each."""
    stream = io.BytesIO()
    Image.new("RGB", (6000, 6000), (90, 120, 60)).save(stream, "PNG")
    return stream.getvalue()


def test_an_image_at_which_an_allocation_fails_is_tried_again_and_then_named() -> None:
    """The limit is one of the system on the worker's address space: a decoder of it gets no more memory."""
    large = large_picture()

    async def talk() -> None:
        async with started() as executor:
            worker = executor._worker
            assert worker is not None
            for last in (False, True):
                confine(worker)
                job = executor.submit(Detect(0, large))
                second = await another_worker(executor, worker)
                assert second.frugal
                if last:
                    confine(second)  # it has hardly begun to decode
                answer = await asyncio.wait_for(job.answer, 60)
                assert isinstance(answer, Failed) == last
                if isinstance(answer, Failed):
                    assert answer.code is ErrorCode.OUT_OF_MEMORY
                    assert "takes more memory than there is" in answer.message
                    assert "params/tiled_detect_params/upsample" in answer.message
                worker = await another_worker(executor, second)

    run(talk())


def confine(worker: Child) -> None:
    """Leaves a worker 64 MiB of address space."""
    pid = worker.process.pid
    most = psutil.Process(pid).memory_info().vms + (64 << 20)
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))


def test_a_worker_that_comes_back_as_something_else_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients were told an engine and its software, and write these beside the faces."""
    monkeypatch.setattr(executor_module, "MOST_FAILED_STARTS", 2)

    async def talk() -> None:
        executor = new_executor()
        welcome = await executor.start()
        try:
            worker = executor._worker
            assert worker is not None
            executor._engine = "dlib"  # as where a GPU is gone, and another engine is the best that is left
            worker.process.kill()
            with pytest.raises(
                EngineError, match=r"is dlib on .*, and was onnx on .*: the server must be restarted"
            ) as lost:
                await asyncio.wait_for(executor.lost, 60)
            assert welcome.software in str(lost.value)
            assert executor.working == 0
        finally:
            await executor.close()

    run(talk())


def test_a_worker_that_announces_more_than_an_answer_can_be_is_replaced(astronaut_jpeg: bytes) -> None:
    """What an image may have made of it cannot fill the daemon's memory."""

    async def talk() -> None:
        async with started() as executor:
            worker = executor._worker
            assert worker is not None
            worker.reader.feed_data(wire.PREFIX.pack(1 << 30))  # as if it had sent it
            job = executor.submit(Detect(0, astronaut_jpeg))
            assert isinstance(await asyncio.wait_for(job.answer, 60), Found)
            assert executor._worker is not worker

    run(talk())


def test_an_image_that_fails_as_nobody_thought_of_takes_no_other_with_it(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    with stub_daemon(tmp_path, seconds=math.nan, search="everywhere") as server:
        worker = server.worker

        async def talk() -> None:
            peer, _ = await Peer.welcomed(server.port)
            for image, code in ((astronaut_jpeg, ErrorCode.ENGINE_FAILED), (b"", ErrorCode.NOT_AN_IMAGE)) * 2:
                peer.send(Detect(1, image))
                answer = await peer.next()
                assert isinstance(answer, Failed)
                assert answer.code is code
            await peer.close()

        run(talk())
        assert server.worker.pid == worker.pid
        said = server.said
    assert "with an unexpected exception: IndexError" in said
    assert "in detect" in said, "where it happened is not in the log"
    assert "the image in words" not in said
