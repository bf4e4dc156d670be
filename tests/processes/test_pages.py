"""Files with several pictures, through a daemon and its worker: the same as in one process, within the same limits."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pyraface.core import parameters
from pyraface.core.errors import ErrorCode
from pyraface.core.images.memory import DECODING
from pyraface.core.pipeline import Pipeline
from pyraface.core.protocol.messages import Cancel, Detect, Failed, Found
from pyraface.daemon.worker.decode_window import PICTURE_BYTES
from tests.stub_daemon import stub_daemon
from tests.support import Peer, daemon, parameters_xml, pyraface, run


def pages_of(astronaut: np.ndarray) -> bytes:
    """A black page, a thumbnail, the portrait in 16 bits, one that cannot be read, and the portrait on its side."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        options: dict[str, Any] = {"photometric": "rgb", "metadata": None}
        file.write(np.zeros_like(astronaut), **options)
        file.write(astronaut[::4, ::4], subfiletype=1, **options)
        file.write(astronaut.astype(np.uint16) * 257, **options)
        file.write(astronaut[:9].astype(np.float64), **options)
        on_its_side = np.ascontiguousarray(np.rot90(astronaut[:400]))
        file.write(on_its_side, extratags=[(274, "H", 1, 6, True)], **options)
    return stream.getvalue()


def blank_pages(count: int, width: int = 64, height: int = 48) -> bytes:
    stream = io.BytesIO()
    pictures = [Image.new("1", (width, height)) for _ in range(count)]
    pictures[0].save(stream, "TIFF", save_all=True, append_images=pictures[1:], compression="group4")
    return stream.getvalue()


def animation(astronaut: np.ndarray, format: str) -> bytes:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (512, 512), (60 * number, 0, 0)) for number in range(3)]
    shown = Image.fromarray(astronaut)
    frames[0].save(stream, format, save_all=True, append_images=[*frames[1:], shown, frames[1]], duration=50)
    return stream.getvalue()


@pytest.mark.usefixtures("yunet_weights")
def test_each_page_is_searched_and_a_daemon_finds_what_a_pipeline_finds(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    files = [pages_of(astronaut), *(animation(astronaut, kind) for kind in ("GIF", "PNG", "WEBP", "AVIF"))]
    pipeline = Pipeline(parameters.parse(parameters_xml().encode()), "onnx")

    async def talk(port: int) -> None:
        peer, _ = await Peer.welcomed(port)
        for search in ("everywhere", "guided", "most"):
            for number, data in enumerate(files):
                peer.send(Detect(1, data, search=search))
                answer = await peer.next()
                assert isinstance(answer, Found), answer
                expected = pipeline.find_all(pipeline.pictures(data, search=search), search=search)
                assert (answer.pages, answer.pictures) == (expected.pages, expected.pictures)
                assert list(zip(answer.unread, answer.reasons, strict=True)) == list(expected.unread)
                np.testing.assert_array_equal(answer.faces.boxes, expected.faces.boxes)
                np.testing.assert_array_equal(answer.faces.pages, expected.faces.pages)
                np.testing.assert_allclose(answer.faces.encodings, expected.faces.encodings, atol=1e-5)
                np.testing.assert_array_equal(pipeline.detect(data, search=search).pages, answer.faces.pages)
                if number:
                    assert answer.pages == ((3, 512, 512, 1),)
                    assert (answer.faces.pages.tolist(), answer.pictures, answer.unread) == ([3], 5, ())
                else:
                    assert answer.pages == ((0, 512, 512, 1), (1, 512, 512, 1), (3, 512, 400, 6))
                    assert (answer.faces.pages.tolist(), answer.pictures, answer.unread) == ([1, 3], 4, (2,))
                    assert "64 bits" in answer.reasons[0]
                    np.testing.assert_allclose(answer.faces.boxes[0], answer.faces.boxes[1], atol=8)
        await peer.close()

    with daemon(tmp_path, "--engine", "onnx") as server:
        run(talk(server.port))


def test_pages_that_take_too_long_together_cost_no_face_of_the_others(tmp_path: Path) -> None:
    async def talk(port: int) -> Found:
        peer, _ = await Peer.welcomed(port)
        peer.send(Detect(1, blank_pages(40), search="guided"))
        answer = await peer.next()
        assert isinstance(answer, Found), answer
        peer.send(Detect(2, blank_pages(1)))
        assert isinstance(await peer.next(), Found)
        await peer.close()
        return answer

    with stub_daemon(tmp_path, seconds=0.3, image_timeout=6) as server:
        before = server.worker.pid
        answer = run(talk(server.port))
        assert server.worker.pid == before
    assert answer.pictures == 40
    assert answer.unread == ()
    numbers = [page.page for page in answer.pages]
    assert numbers == list(range(len(numbers)))
    assert 2 <= len(numbers) < 30
    assert answer.seconds < 6


def test_a_file_is_cancelled_between_its_pages(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        peer, _ = await Peer.welcomed(port)
        peer.send(Detect(1, blank_pages(90)))
        await asyncio.sleep(1)
        peer.send(Cancel(1))
        started = time.monotonic()
        answer = await peer.next()
        assert isinstance(answer, Failed)
        assert answer.code is ErrorCode.CANCELLED
        assert time.monotonic() - started < 10
        await peer.close()

    with stub_daemon(tmp_path, seconds=0.5) as server:
        run(talk(server.port))


def test_large_pages_wait_for_no_picture_that_waits_for_them(tmp_path: Path) -> None:
    width, height = 5200, 5000
    size = DECODING["TIFF"] * width * height
    assert size <= PICTURE_BYTES < 2 * size
    several, one = blank_pages(3, width, height), blank_pages(1, width, height)

    async def talk(port: int) -> None:
        peer, _ = await Peer.welcomed(port)
        files = [several, one, several, one]
        for number, data in enumerate(files):
            peer.send(Detect(number, data))
        for _ in files:
            answer = await peer.next()
            assert isinstance(answer, Found), answer
            assert len(answer.pages) == answer.pictures == (1 if answer.id % 2 else 3)
        await peer.close()

    with stub_daemon(tmp_path, seconds=0.0) as server:
        run(talk(server.port))


def test_many_pages_take_no_more_memory_than_one(tmp_path: Path) -> None:
    def peak(data: bytes) -> int:
        async def talk(port: int) -> None:
            peer, _ = await Peer.welcomed(port)
            peer.send(Detect(1, data))
            answer = await peer.next()
            assert isinstance(answer, Found), answer
            await peer.close()

        folder = tmp_path / str(len(data))
        folder.mkdir()
        with stub_daemon(folder, seconds=0.0) as server:
            run(talk(server.port))
            status = Path(f"/proc/{server.worker.pid}/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) >> 10

    one, six = (peak(blank_pages(count, 5000, 5000)) for count in (1, 6))
    assert six < one + 60, (one, six)  # MiB; a page has 75 in RGB


def test_lines_name_the_pages_and_the_summary_counts_the_files(tmp_path: Path, astronaut: np.ndarray) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "pages.tif").write_bytes(pages_of(astronaut))
    (folder / "moving.gif").write_bytes(animation(astronaut, "GIF"))
    (folder / "two.tif").write_bytes(blank_pages(2))
    Image.fromarray(astronaut).save(folder / "one.jpg")
    output = tmp_path / "faces.jsonl"
    with daemon(tmp_path, "--engine", "onnx") as server:
        done = pyraface(folder, "--servers", f"127.0.0.1:{server.port}", "--output", output)
        assert done.returncode == 0, done.stderr
        again = pyraface(folder, "--servers", f"127.0.0.1:{server.port}", "--output", output)
    lines = {Path(line["path"]).name: line for line in map(json.loads, output.read_text().splitlines())}
    assert [face["page"] for face in lines["pages.tif"]["faces"]] == [1, 3]
    assert lines["pages.tif"]["pictures"] == 4
    assert lines["pages.tif"]["pages"] == [
        {"page": 0, "width": 512, "height": 512, "orientation": 1},
        {"page": 1, "width": 512, "height": 512, "orientation": 1},
        {"page": 3, "width": 512, "height": 400, "orientation": 6},
    ]
    ((unread),) = lines["pages.tif"]["unread"]
    assert unread["page"] == 2
    assert "64 bits" in unread["reason"]
    assert [face["page"] for face in lines["moving.gif"]["faces"]] == [3]
    assert (lines["moving.gif"]["pictures"], lines["moving.gif"]["pages"][0]["page"]) == (5, 3)
    assert (lines["two.tif"]["pictures"], len(lines["two.tif"]["pages"])) == (2, 2)
    assert (lines["one.jpg"]["pictures"], lines["one.jpg"]["unread"]) == (1, [])
    assert lines["one.jpg"]["pages"] == [{"page": 0, "width": 512, "height": 512, "orientation": 1}]
    summary = done.stderr.splitlines()[-1]
    assert "2 files with more pictures than were searched" in summary
    assert any(
        "pages.tif: page 2, of pages 0 to 3, could not be read: " in line for line in done.stderr.splitlines()
    )
    assert "4 images done" in again.stderr
