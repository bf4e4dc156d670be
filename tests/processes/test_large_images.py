"""Large images: what telephones make goes through a daemon as it is installed, in bounded memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from pyraface.client import Client, Result
from pyraface.core import parameters as parameters_file
from pyraface.core.errors import ErrorCode
from tests.support import ROOT, YUNET, DaemonProcess, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not YUNET.is_file(), reason="the figures are those of the guided search"),
]

GIB, MIB = 1 << 30, 1 << 20

SIDES = 16320, 12240
"""199.8 Mpx: what a telephone's sensor of 200 Mpx gives."""

FACE = 1500
PLACES = (500, 500), (9000, 6000), (14500, 10500)
"""Left and top of a portrait of this many pixels: two far from a corner of the picture, one in the middle."""


def composed(
    astronaut: np.ndarray, size: tuple[int, int], places: tuple[tuple[int, int], ...]
) -> Image.Image:
    """A gray wall with portraits."""
    picture = Image.new("RGB", size, (120, 118, 115))
    portrait = Image.fromarray(astronaut).resize((FACE, FACE))
    for place in places:
        picture.paste(portrait, place)
    return picture


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("large")
    found = {
        name: folder / name
        for name in ("upright.jpg", "turned.jpg", "photo.png", "photo.tif", "photo36.jpg", "photo.webp")
    }
    picture = composed(astronaut, SIDES, PLACES)
    picture.save(found["upright.jpg"], quality=80)
    exif = Image.Exif()
    exif[274] = 6
    picture.save(found["turned.jpg"], quality=80, exif=exif)
    picture.save(found["photo.png"], compress_level=1)
    picture.resize((16000, 12000), Image.Resampling.NEAREST).save(found["photo.webp"], quality=1, method=0)
    small = composed(astronaut, (6000, 4000), PLACES[:1])
    tifffile.imwrite(found["photo.tif"], np.asarray(small).astype(np.uint16) * 257, photometric="rgb")
    composed(astronaut, (7360, 4912), PLACES[:1]).save(found["photo36.jpg"], quality=80)
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """With the packaged parameters."""
    process = DaemonProcess(
        tmp_path_factory.mktemp("daemon"),
        ["--parameters", str(ROOT / "parameters.xml"), "--host", "127.0.0.1", "--port", "0", "--no-beacon"],
    )
    yield process
    process.process.kill()
    process.process.wait()


def peak(process: int) -> int:
    """Bytes: the most memory that a process has had (VmHWM of proc(5))."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def detected(server: DaemonProcess, *paths: Path) -> list[Result]:
    async def talk() -> list[Result]:
        packaged = parameters_file.load(str(ROOT / "parameters.xml"))
        async with Client(f"127.0.0.1:{server.port}", parameters=packaged) as client:
            return await asyncio.gather(*[client.detect(path) for path in paths])

    return run(talk(), timeout=500)


def centres(result: Result) -> list[tuple[int, int]]:
    """Of the faces, from left to right."""
    assert result.error is None, result.error
    return sorted((round((f.box[0] + f.box[2]) / 2), round((f.box[1] + f.box[3]) / 2)) for f in result.faces)


def expected(places: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """The middle of the face in each portrait, which is at 0.44 of its width and 0.22 of its height."""
    return sorted((left + round(0.436 * FACE), top + round(0.224 * FACE)) for left, top in places)


def are_at(found: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> bool:
    return len(found) == len(wanted) and bool(np.abs(np.subtract(found, wanted)).max() < 60)


@pytest.mark.parametrize("name", ["upright.jpg", "turned.jpg", "photo.png"])
def test_a_photograph_of_200_megapixels_is_searched_in_less_than_one_and_a_half_gib(
    server: DaemonProcess, files: dict[str, Path], name: str
) -> None:
    [result] = detected(server, files[name])
    wanted = expected(PLACES)
    if name == "turned.jpg":
        wanted = sorted((SIDES[1] - y, x) for x, y in wanted)
    assert are_at(centres(result), wanted), centres(result)
    assert peak(server.worker.pid) < 1.5 * GIB, f"{peak(server.worker.pid) / MIB:.0f} MiB"


def test_several_at_once_take_no_more(server: DaemonProcess, files: dict[str, Path]) -> None:
    results = detected(server, *[files[name] for name in ("upright.jpg", "photo.png", "turned.jpg")])
    assert [len(centres(result)) for result in results] == [3] * 3
    assert peak(server.worker.pid) < 1.5 * GIB, f"{peak(server.worker.pid) / MIB:.0f} MiB"


def test_a_tiff_of_16_bits_is_held_once_by_the_daemon(server: DaemonProcess, files: dict[str, Path]) -> None:
    """It is a file of 144 MB, and was beyond the limit of a message."""
    size = files["photo.tif"].stat().st_size
    assert size > 128 * MIB
    idle = psutil.Process(server.process.pid).memory_info().rss
    results = detected(server, *[files["photo.tif"]] * 3)
    for result in results:
        assert are_at(centres(result), expected(PLACES[:1])), centres(result)
    assert peak(server.process.pid) < idle + 512 * MIB
    assert peak(server.worker.pid) < 1.5 * GIB, f"{peak(server.worker.pid) / MIB:.0f} MiB"


def test_photographs_of_36_megapixels_take_less_than_1_2_gib(tmp_path: Path, files: dict[str, Path]) -> None:
    process = DaemonProcess(
        tmp_path,
        ["--parameters", str(ROOT / "parameters.xml"), "--host", "127.0.0.1", "--port", "0", "--no-beacon"],
    )
    try:
        for result in detected(process, *[files["photo36.jpg"]] * 6):
            assert are_at(centres(result), expected(PLACES[:1])), centres(result)
        assert peak(process.worker.pid) < 1.2 * GIB, f"{peak(process.worker.pid) / MIB:.0f} MiB"
    finally:
        process.stop()


def test_a_format_whose_decoder_takes_too_much_is_an_error_and_no_killed_worker(
    server: DaemonProcess, files: dict[str, Path]
) -> None:
    worker = server.worker.pid
    [result] = detected(server, files["photo.webp"])
    assert result.error is not None
    assert result.error[0] is ErrorCode.IMAGE_TOO_LARGE
    assert "decoding a WebP takes 16 bytes for each: at most 150000000 are allowed" in result.error[1]
    assert "raise params/images/max_pixels" in result.error[1]
    assert server.worker.pid == worker
    assert peak(worker) < 1.5 * GIB


def test_a_damaged_photograph_of_this_size_is_an_error_that_says_how_much_there_is(
    server: DaemonProcess, files: dict[str, Path], tmp_path: Path
) -> None:
    data = files["turned.jpg"].read_bytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(data[: len(data) // 2])
    [result] = detected(server, cut)
    assert result.error is not None
    assert result.error[0] is ErrorCode.IMAGE_TRUNCATED
    assert re.search(r"about \d+% of the picture is there", result.error[1])
    # Pillow, which takes 4 bytes a pixel, is asked what is wrong
    assert peak(server.worker.pid) < 1.8 * GIB, f"{peak(server.worker.pid) / MIB:.0f} MiB"
