"""The faces that the guided searches find in large pictures, in photographs with truth, and beside the search everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import truth
from benchmarks.metrics import Found, summarize
from pyraface.core import boxes as geometry
from pyraface.core import parameters
from pyraface.core.boxes import Boxes
from pyraface.core.images.decode import Picture
from pyraface.core.parameters import SearchName
from pyraface.core.pipeline import Pipeline
from tests.support import ROOT

LARGE = pytest.mark.parametrize("size", [(30_000, 2_000), (7_750, 7_750)], ids=["panorama", "60 megapixels"])

pytestmark = pytest.mark.usefixtures("yunet_weights")


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(parameters.parse((ROOT / "parameters.xml").read_bytes()), "onnx")


def spread(part: np.ndarray, faces: Boxes, size: tuple[int, int], times: int) -> tuple[np.ndarray, Boxes]:
    """Returns a wall of `size`, (width, height), with part of a picture on it in two rows, and its faces."""
    width, height = size
    wall = np.full((height, width, 3), 120, np.uint8)
    everywhere = []
    for number in range(times):
        row, column = divmod(number, times // 2)
        x = round((column + 0.5) * width / (times // 2) - part.shape[1] / 2)
        y = round((row + 0.5) * height / 2 - part.shape[0] / 2)
        wall[y : y + part.shape[0], x : x + part.shape[1]] = part
        everywhere.append(faces + np.array([x, y, x, y], np.float32))
    return wall, np.concatenate(everywhere)


def found_of(faces: Boxes, found: Boxes) -> int:
    return int((geometry.iou(faces, found).max(axis=1, initial=0) >= 0.4).sum())


@LARGE
def test_a_large_picture_shows_its_faces_of_90_pixels(
    pipeline: Pipeline, astronaut: np.ndarray, size: tuple[int, int]
) -> None:
    # the face of 88 px, and what surrounds it
    part = np.asarray(Image.fromarray(astronaut[:300, 80:380]).resize((307, 307)))
    face = np.array([[98, 80, 186, 168]], np.float32) * np.float32(307 / 300)
    wall, faces = spread(part, face, size, 18)
    found = pipeline.find(Picture.whole(wall), search="guided")
    assert (len(found), found_of(faces, found.boxes)) == (18, 18)


@LARGE
def test_a_large_picture_shows_the_faces_of_photographs(
    pipeline: Pipeline, photos: Path, size: tuple[int, int]
) -> None:
    pictures = truth.read(photos / "dlib_faces" / "testing.xml")
    [photograph] = [
        picture for picture in pictures if picture.name == "2008_002506.jpg"
    ]  # 3 faces, 91 to 109 px
    pixels = np.asarray(Image.open(photograph.path))
    wall, faces = spread(pixels, photograph.truth.boxes, size, 6)
    found = pipeline.find(Picture.whole(wall), search="guided")
    assert (len(faces), found_of(faces, found.boxes)) == (18, 18)


def test_every_face_of_dlib_s_photographs_is_found_once_and_no_dog_is_a_face(
    pipeline: Pipeline, photos: Path
) -> None:
    pictures = [
        picture
        for name in ("testing.xml", "training.xml")
        for picture in truth.read(photos / "dlib_faces" / name)
    ]
    pairs = []
    for picture in pictures:
        faces = pipeline.detect(picture.path, search="guided")
        pairs.append((picture.truth, Found(faces.boxes, faces.confidences)))
    total = summarize(pairs, overlap=0.4)
    assert (total.faces, total.right, total.wrong, total.duplicates) == (43, 43, 0, 0)
    assert not len(pipeline.detect(photos / "dlib_faces" / "dogs.jpg", search="guided"))


@pytest.mark.parametrize("search", ["guided", "most"])
def test_a_photograph_in_any_format_shows_each_face_once(
    pipeline: Pipeline, photos: Path, search: SearchName
) -> None:
    pictures = [
        picture
        for picture in truth.read(photos / "derived_formats" / "truth.csv")
        # of which half is missing, and whose first picture has no face
        if picture.name not in ("truncated_60pct.jpg", "anim_photo_second.webp")
    ]
    assert len(pictures) > 20
    for picture in pictures[:: 3 if search == "most" else 1]:  # files are decoded alike, whatever the search
        faces = pipeline.detect(picture.path, search=search)
        total = summarize([(picture.truth, Found(faces.boxes, faces.confidences))], overlap=0.4)
        assert (picture.name, total.right, total.wrong, total.duplicates) == (picture.name, total.faces, 0, 0)


@pytest.fixture(scope="module")
def scene(astronaut: np.ndarray) -> np.ndarray:
    """Faces of 90, 22 and 45 px, and one that the right edge cuts off, before a wall."""
    wall = np.full((900, 1400, 3), 120, np.uint8)
    for left, top, side in ((60, 60, 512), (1000, 630, 128), (1000, 100, 256)):
        wall[top : top + side, left : left + side] = np.asarray(
            Image.fromarray(astronaut).resize((side, side))
        )
    return wall


def test_the_faces_of_the_search_everywhere_are_found(pipeline: Pipeline, scene: np.ndarray) -> None:
    everywhere = pipeline.find(Picture.whole(scene), search="everywhere")
    found = pipeline.find(Picture.whole(scene), search="guided")
    assert len(everywhere) == len(found) == 3
    overlaps = geometry.iou(everywhere.boxes, found.boxes)
    assert (overlaps.max(axis=1) > 0.7).all()
    apart = np.linalg.norm(everywhere.encodings - found.encodings[overlaps.argmax(axis=1)], axis=1)
    assert (apart < [0.15, 0.15, 0.3]).all()


def test_both_engines_find_the_same_faces(pipeline: Pipeline, astronaut: np.ndarray) -> None:
    small = Picture.whole(np.asarray(Image.fromarray(astronaut).resize((200, 200))))  # a face of 36 px
    dlib = Pipeline(pipeline.parameters, "dlib")
    one, other = pipeline.find(small, search="guided"), dlib.find(small, search="guided")
    assert len(one) == len(other) == 1
    assert geometry.iou(one.boxes, other.boxes)[0, 0] > 0.85
    # the onnx engine decides on crops in 8-bit integers
    assert abs(one.confidences[0] - other.confidences[0]) < 0.2
    assert np.linalg.norm(one.encodings - other.encodings) < 0.1
    assert pipeline.fingerprint_of("guided") == dlib.fingerprint_of("guided")
