"""Real photographs with known faces, at the default parameters. Skipped where the photographs are not."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyraface.client import Client, Result
from pyraface.core import boxes, parameters
from pyraface.core.errors import ErrorCode
from pyraface.core.faces import Faces
from pyraface.core.images.decode import Picture, decode
from pyraface.core.parameters import SearchName
from pyraface.core.pipeline import Pipeline
from tests.support import ROOT, DaemonProcess, run


@pytest.fixture(scope="module")
def packaged() -> parameters.Parameters:
    """The default parameters, as a user without a file of their own has them."""
    return parameters.parse((ROOT / "parameters.xml").read_bytes())


@pytest.fixture(scope="module")
def pipeline(packaged: parameters.Parameters) -> Pipeline:
    return Pipeline(packaged, "onnx")


def truth_of(file: Path) -> dict[str, np.ndarray]:
    """Boxes by file name from an imglab XML."""
    found = {}
    for image in ET.parse(file).getroot().iter("image"):
        sides = [
            [float(box.attrib[name]) for name in ("left", "top", "width", "height")]
            for box in image.iter("box")
        ]
        truth = np.array(sides, np.float32)
        truth[:, 2:] += truth[:, :2]
        found[image.attrib["file"]] = truth
    return found


def assert_each_found_once(truth: np.ndarray, faces: Faces, name: str) -> None:
    overlaps = boxes.iou(truth, faces.boxes) > 0.4
    assert (overlaps.sum(axis=1) == 1).all(), f"{name}: faces found {overlaps.sum(axis=1)} times"
    assert (overlaps.sum(axis=0) <= 1).all(), f"{name}: a box on two faces"
    areas = boxes.areas(faces.boxes)
    of_the_smaller = boxes.intersections(faces.boxes, faces.boxes) / np.minimum(areas[:, None], areas)
    doubled = np.triu(of_the_smaller > 0.4, k=1)
    assert not doubled.any(), f"{name}: two boxes on one face"


@pytest.mark.parametrize(("listing", "count"), [("testing.xml", 25), ("training.xml", 18)])
def test_every_face_that_dlibs_examples_mark_is_found_once(
    photos: Path, pipeline: Pipeline, listing: str, count: int
) -> None:
    truth = truth_of(photos / "dlib_faces" / listing)
    assert sum(len(marked) for marked in truth.values()) == count
    for name, marked in truth.items():
        faces = pipeline.detect((photos / "dlib_faces" / name).read_bytes())
        assert_each_found_once(marked, faces, name)


def test_dogs_have_no_faces(photos: Path, pipeline: Pipeline) -> None:
    assert len(pipeline.detect((photos / "dlib_faces" / "dogs.jpg").read_bytes())) == 0


def test_the_24_faces_of_a_collage_are_four_people(photos: Path, pipeline: Pipeline) -> None:
    faces = pipeline.detect((photos / "dlib_faces" / "bald_guys.jpg").read_bytes())
    assert len(faces) == 24
    # as dlib's own example does, at the distance of 0.6: who is linked to whom is one person
    near = np.linalg.norm(faces.encodings[:, None] - faces.encodings[None], axis=2) < 0.6
    people = list(range(24))
    for a, b in zip(*np.nonzero(near), strict=True):
        people = [people[b] if person == people[a] else person for person in people]
    assert len(set(people)) == 4


SAME_PHOTOGRAPH = (
    [f"orient_{number}.jpg" for number in range(1, 9)]
    + ["cmyk.jpg", "gray.jpg", "progressive.jpg", "rgb16.png", "gray16.png", "palette.png", "rgba.png"]
    + ["anim_photo_first.gif", "anim_photo_first.webp", "photo.webp", "photo.heic", "photo.avif"]
    + ["photo_lzw.tif", "irot_and_exif6.heic", "png_named.jpg"]
)


@pytest.fixture(scope="module", params=[("everywhere", 0.03), ("guided", 0.04)], ids=lambda param: param[0])
def same_photograph(
    request: pytest.FixtureRequest, photos: Path, pipeline: Pipeline
) -> tuple[SearchName, float, Faces]:
    """A search, how far its boxes may move in another format, in widths of the face, and its faces in the photograph.

    The guided search looks at fewer scales of a face, and in 8-bit integers alone: without colours, its boxes move by 3.2%.
    """
    search, furthest = request.param
    photograph = (photos / "dlib_faces" / "2008_002506.jpg").read_bytes()
    return search, furthest, pipeline.detect(photograph, search=search)


@pytest.mark.parametrize("name", SAME_PHOTOGRAPH)
def test_the_three_faces_are_found_in_every_format_and_orientation(
    photos: Path, pipeline: Pipeline, same_photograph: tuple[SearchName, float, Faces], name: str
) -> None:
    search, furthest, plain = same_photograph
    folder = photos / "derived_formats"
    picture = pipeline.decode((folder / name).read_bytes(), search=search)
    faces = pipeline.find(picture, search=search)
    assert len(faces) == len(plain) == 3
    assert (picture.width, picture.height) == (500, 375)
    nearest = boxes.iou(plain.boxes, faces.boxes).argmax(axis=1)
    assert sorted(nearest) == [0, 1, 2]
    widths = plain.boxes[:, 2] - plain.boxes[:, 0]
    apart = np.abs(plain.boxes - faces.boxes[nearest]).max(axis=1) / widths
    assert apart.max() <= furthest, f"{apart.max():.1%} of the face's width"
    with (folder / "truth.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"] == name]
    assert len(rows) == 3
    for row in rows:
        x, y = (float(row["x"]) + float(row["w"]) / 2, float(row["y"]) + float(row["h"]) / 2)
        left, top, right, bottom = faces.boxes.T
        assert ((left < x) & (x < right) & (top < y) & (y < bottom)).sum() == 1


ERRORS = {
    "zero_bytes.jpg": ErrorCode.NOT_AN_IMAGE,
    "text_named.jpg": ErrorCode.NOT_AN_IMAGE,
    "truncated_60pct.jpg": ErrorCode.IMAGE_TRUNCATED,
    "truncated_header.jpg": ErrorCode.IMAGE_TRUNCATED,
    "huge_30000x30000_1bit.png": ErrorCode.IMAGE_TOO_LARGE,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with the packaged parameters, on loopback."""
    process = DaemonProcess(
        tmp_path_factory.mktemp("photos"),
        ["--parameters", str(ROOT / "parameters.xml"), "--host", "127.0.0.1", "--port", "0", "--no-beacon"],
    )
    yield process
    assert process.stop() == 0


def through(server: DaemonProcess, paths: list[Path], settings: parameters.Parameters) -> dict[str, Result]:
    async def talk() -> dict[str, Result]:
        async with Client(f"127.0.0.1:{server.port}", parameters=settings) as client:
            return {Path(result.path).name: result async for result in client.map(paths)}

    return run(talk(), timeout=600)


def peak_bytes(process: psutil.Process) -> int:
    """The most memory the process ever had resident (VmHWM in proc(5))."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_awkward_files_give_faces_none_or_one_clear_error_in_bounded_memory(
    photos: Path, server: DaemonProcess, packaged: parameters.Parameters
) -> None:
    odd = sorted((photos / "odd_formats").iterdir())
    derived = [photos / "derived_formats" / name for name in ERRORS]
    worker = server.worker
    results = through(server, odd + derived, packaged)
    assert len(results) == len(odd) + len(derived)
    for name, code in ERRORS.items():
        error = results[name].error
        assert error is not None, name
        assert error[0] is code, name
    image_errors = {
        ErrorCode.NOT_AN_IMAGE,
        ErrorCode.FORMAT_NOT_READ,
        ErrorCode.IMAGE_TRUNCATED,
        ErrorCode.IMAGE_TOO_LARGE,
    }
    for name, result in results.items():
        if result.error is not None:
            assert result.error[0] in image_errors, (name, result.error)
            assert 10 < len(result.error[1]) < 300, (name, result.error)
            assert "\n" not in result.error[1]
        assert result.seconds < 60, name
    hoppers = [
        name for name in results if name.startswith(("einstein", "pillow_hopper.", "kodak", "canon", "sony"))
    ]
    assert len(hoppers) >= 10
    for name in hoppers:
        assert len(results[name].faces) >= 1, name
    assert server.worker.pid == worker.pid, "the worker did not survive it"
    assert peak_bytes(worker) < 1.5 * 2**30, f"{peak_bytes(worker) / 2**20:.0f} MiB"
    assert "Traceback" not in server.said


def test_a_face_in_a_96_megapixel_photograph_is_found_where_it_is(
    photos: Path, server: DaemonProcess, packaged: parameters.Parameters
) -> None:
    name = "huge_12000x8000_photo_at_9000_6000.jpg"
    result = through(server, [photos / "derived_formats" / name], packaged)[name]
    # its faces are 100 px of 12000: too small for two levels, so only the frame can be checked
    assert (result.width, result.height) == (12000, 8000)
    for left, top, right, bottom in result.faces.boxes:
        assert 9000 <= left < right <= 9500
        assert 6000 <= top < bottom <= 6375


def test_the_upright_frame_of_large_photographs_is_the_one_that_is_reported(photos: Path) -> None:
    limits = parameters.ImageLimits()
    for name, size in [("001_A.jpg", (4912, 7360)), ("003_A.jpg", (6988, 4664)), ("004_A.jpg", (3024, 4032))]:
        file = photos / "compreface_samples" / name
        picture = decode(file.read_bytes(), limits)
        assert sorted((picture.width, picture.height)) == sorted(size)


def test_the_noses_of_large_and_small_photographs_lie_in_faces(photos: Path, pipeline: Pipeline) -> None:
    folder = photos / "compreface_samples"
    with (folder / "noses.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = 0
    for name in sorted({row["file"] for row in rows}):
        faces = pipeline.detect((folder / name).read_bytes())
        left, top, right, bottom = faces.boxes.T
        for row in rows:
            if row["file"] == name:
                x, y = float(row["x"]), float(row["y"])
                held = ((left < x) & (x < right) & (top < y) & (y < bottom)).sum()
                assert held <= 1, f"{name}: a face twice at {x}, {y}"
                found += int(held)
    assert found == len(rows) == 43


@pytest.fixture(scope="module")
def seamed(packaged: parameters.Parameters) -> Pipeline:
    """Small tiles: the whole, and quadrants that zoom twice as far, with seams through the middle of a picture."""
    detection = replace(packaged.detection, height=300, width=250, upsample=1, levels=2)
    return Pipeline(replace(packaged, detection=detection), "onnx")


@settings(max_examples=15)
@given(st.sampled_from(SAME_PHOTOGRAPH), st.integers(0, 300), st.integers(0, 225))
# where boxes that end at the seam are two of one face
@example("orient_1.jpg", 75, 110)
@example("orient_1.jpg", 75, 220)
def test_wherever_seams_run_through_the_three_faces_each_is_found_once(
    photos: Path, seamed: Pipeline, name: str, left: int, top: int
) -> None:
    photograph = seamed.decode((photos / "derived_formats" / name).read_bytes()).pixels
    canvas = np.full((600, 800, 3), 128, np.uint8)
    canvas[top : top + 375, left : left + 500] = photograph
    with (photos / "derived_formats" / "truth.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"] == name]
    truth = np.array([[float(row[key]) for key in "xywh"] for row in rows], np.float32)
    truth[:, 2:] += truth[:, :2]
    shift = np.array([left, top] * 2, np.float32)
    assert_each_found_once(truth + shift, seamed.find(Picture.whole(canvas)), f"{name} at {left}, {top}")
