"""What a daemon says of itself to whoever inquires, with a real one."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pyraface
from pyraface.core.protocol.messages import Cancel, Detect, Draining, Failed, Found, Inquire, Status
from tests.support import Peer, daemon, run


async def inquire(peer: Peer) -> Status:
    peer.send(Inquire(77))
    answer = await peer.next()
    assert isinstance(answer, Status)
    assert answer.id == 77
    return answer


def test_a_server_tells_how_busy_it_is_at_once_whatever_it_is_busy_with(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(server.port)
        other, _ = await Peer.welcomed(server.port)
        idle = await inquire(peer)
        assert idle.software == f"pyraface {pyraface.__version__}"
        assert (idle.waiting, idle.working, idle.connections, idle.answered, idle.rate) == (0, 0, 2, 0, 0.0)

        # nothing gets done, so that there is no doubt about who answers
        worker = server.worker
        worker.send_signal(signal.SIGSTOP)
        try:
            for id in range(4):
                other.send(Detect(id, astronaut_jpeg))
            other.send(Detect(4, b"beyond the credits"))
            refused = await other.next()
            assert isinstance(refused, Failed)
            busy = await inquire(peer)
            assert busy.waiting + busy.working == 4
            assert busy.working >= 1
            assert busy.waiting >= 1
            other.send(Cancel(3))
            assert isinstance(await other.next(), Failed)
            assert (await inquire(peer)).waiting == busy.waiting - 1
        finally:
            worker.send_signal(signal.SIGCONT)

        found = [await other.next() for _ in range(3)]
        megapixels = 0.0
        for answer in found:
            assert isinstance(answer, Found)
            megapixels = answer.pages[0].width * answer.pages[0].height / 1e6
        other.send(Detect(5, b"no image"))
        assert isinstance(await other.next(), Failed)
        await other.close()
        done = await inquire(peer)
        assert (done.waiting, done.working) == (0, 0)
        assert done.answered == 4, "three with faces and one without an image; none refused or cancelled"
        assert done.uptime > busy.uptime > idle.uptime
        assert idle.speed == busy.speed == 0
        # three images of the same size, one after the other, in less than the time since the start
        assert done.speed > 3 * megapixels / done.uptime
        assert abs(done.rate - 4 / max(1.0, done.uptime)) < 0.01
        while (await inquire(peer)).connections > 1:
            await asyncio.sleep(0.01)
        await peer.close()

    with daemon(tmp_path, "--engine", "onnx") as server:
        run(talk(), timeout=60)


def test_a_server_that_is_stopping_still_tells(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(server.port)
        worker = server.worker
        worker.send_signal(signal.SIGSTOP)
        try:
            peer.send(Detect(1, astronaut_jpeg))
            assert (await inquire(peer)).working == 1
            server.process.send_signal(signal.SIGTERM)
            assert isinstance(await peer.next(), Draining)
            assert (await inquire(peer)).working == 1
        finally:
            worker.send_signal(signal.SIGCONT)
        assert isinstance(await peer.next(), Found)
        await peer.close()

    with daemon(tmp_path, "--engine", "onnx") as server:
        run(talk(), timeout=60)
        assert server.ended() == 0
