"""Boxes from elsewhere: what they may be, and the faces that a pipeline encodes in them."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pyraface.core import engines, parameters
from pyraface.core.engines import EngineOptions
from pyraface.core.errors import BadBoxError, ErrorCode, NotAnImageError, TruncatedImageError
from pyraface.core.faces import Faces
from pyraface.core.given_boxes import FARTHEST, MOST_BOXES, UNKNOWN_TURN, GivenBoxes
from pyraface.core.pipeline import Pipeline
from pyraface.core.results import faces_as_json
from tests.support import ROOT

INSIDE = [0.0, 0.0, 5.0, 5.0]

REFUSED: dict[str, tuple[Any, Any, int, str]] = {
    "three numbers": ([[1, 2, 3]], None, 0, "shape (n, 4): left, top, right, bottom"),
    "one row without brackets": ([1, 2, 3, 4], None, 0, "shape (n, 4)"),
    "rows of different lengths": (
        [INSIDE, [1, 2]],
        None,
        0,
        "must be numbers, in rows of left, top, right, bottom",
    ),
    "text": ("x", None, 0, "must be numbers, in rows"),
    "nothing": (None, None, 0, "shape (n, 4)"),
    "not a number": (
        [INSIDE, [1, 2, float("nan"), 4]],
        None,
        0,
        "box 2: right must be a number from -16777216",
    ),
    "infinite": ([[1, 2, 3, float("inf")]], None, 0, "box 1: bottom must be a number"),
    "beyond a float": ([[-1e300, 2, 3, 4]], None, 0, "box 1: left must be a number"),
    "too far away": ([[0, 2 * FARTHEST, 3, 3 * FARTHEST]], None, 0, "box 1: top must be a number"),
    "without width": ([INSIDE, INSIDE, [7, 0, 7, 5]], None, 0, "box 3 is empty: left and right are 7 and 7"),
    "without height": ([[0, 9, 7, 5]], None, 0, "box 1 is empty: top and bottom are 9 and 5"),
    "too many": ([INSIDE] * (MOST_BOXES + 1), None, 0, f"{MOST_BOXES + 1} boxes, and at most {MOST_BOXES}"),
    "turned by 45": ([INSIDE, INSIDE], [0, 45], 0, "box 2: turned must be of 0, 90, 180, 270, not 45"),
    "turned too often": ([INSIDE], [0, 0], 0, "turned must be int32 of shape (1,)"),
    "turned by a fraction": ([INSIDE], [0.5], 0, "turned must be int32"),
    "page -1": ([INSIDE], None, -1, "page must be 0 to 2147483647, not -1"),
    "page 2^31": ([INSIDE], None, 2**31, "page must be 0 to 2147483647"),
}


@pytest.mark.parametrize(("boxes", "turned", "page", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_box_is_named_with_what_is_allowed(boxes: Any, turned: Any, page: int, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        GivenBoxes.of(boxes, turned, page)


def test_boxes_may_have_any_form_that_numpy_reads_and_the_largest_number_of_them_is_allowed() -> None:
    for boxes in ([], np.zeros((0, 4)), np.zeros((0, 4), np.float32)):
        assert GivenBoxes.of(boxes).boxes.shape == (0, 4)
        assert GivenBoxes.of(boxes, []).turned.tolist() == []
    rows = np.array([INSIDE] * MOST_BOXES, np.float64)
    given = GivenBoxes.of(rows)
    assert given.boxes.dtype == np.float32
    assert given.turned.tolist() == [UNKNOWN_TURN] * MOST_BOXES
    rows[:] = 0  # they are a copy
    assert given.boxes[0].tolist() == INSIDE
    assert GivenBoxes.of([(-FARTHEST, 0, FARTHEST, 1)], np.array([270])).turned.dtype == np.int32


# ---------------------------------------------------------------------------------------------------- as a pipeline encodes


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(parameters.parse((ROOT / "parameters.xml").read_bytes()), "onnx")


def recorded(faces: Faces) -> list[list[float]]:
    """The boxes as a line of the output has them."""
    lines = json.loads(json.dumps(faces_as_json(faces)))
    return [[face["box"][edge] for edge in ("left", "top", "right", "bottom")] for face in lines]


def stored(pixels: np.ndarray, format: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def on_all_sides(astronaut: np.ndarray) -> np.ndarray:
    """Four portraits, cut off at the top: one upright, and one on each other side."""
    return np.concatenate([np.rot90(astronaut[90:], -turn)[:400, :400] for turn in range(4)], axis=1)


@pytest.mark.usefixtures("yunet_weights")
@pytest.mark.parametrize(
    ("search", "reduced"), [("everywhere", False), ("everywhere", True), ("guided", False), ("most", False)]
)
def test_the_recorded_boxes_of_faces_that_were_found_have_their_encodings_again(
    search: str, reduced: bool, astronaut: np.ndarray, pipeline: Pipeline
) -> None:
    exif = Image.Exif()
    exif[274] = 8
    large = np.kron(astronaut, np.ones((7, 7, 1), np.uint8)) if reduced else astronaut
    files = [stored(large, exif=exif), stored(np.rot90(large)), stored(on_all_sides(astronaut))]
    detection = pipeline.parameters.detection
    if reduced:
        detection = replace(detection, height=500, width=500, upsample=0, levels=1, reduced_decoding=True)
    other = Pipeline(replace(pipeline.parameters, detection=detection), pipeline.engine)
    if reduced:
        decoded = other.decode(files[0], search=search)
        assert decoded.pixels.shape[1] < decoded.width
    turned: set[int] = set()
    for file in files:
        found = other.detect(file, search=search)
        assert len(found) or search == "everywhere"
        for given_turns in (None, found.turned):
            again = other.encode(file, recorded(found), turned=given_turns, search=search)
            for name in ("turned", "encodings", "sharpness", "pages"):
                np.testing.assert_array_equal(getattr(again, name), getattr(found, name), name)
            assert recorded(again) == recorded(found)
            np.testing.assert_allclose(again.sizes, found.sizes, atol=0.011)
        assert set(again.detectors.tolist()) <= {"given"}
        assert not again.confidences.any()
        assert not again.levels.any()
        turned |= set(found.turned.tolist())
    assert (len(turned) > 1) == (search != "everywhere")


def test_an_edge_whose_hundredths_would_be_another_whole_pixel_is_recorded_beside_it(
    astronaut: np.ndarray, pipeline: Pipeline
) -> None:
    """A box is cut out in whole pixels: 11.496 is 11, and 11.5, as which it would be recorded, is 12."""
    edges = [175.496, 71.504, 267.504, 163.496]

    class Finds:
        def candidates(self, image: np.ndarray, *, faces_from: float = 0) -> Faces:
            del image, faces_from
            return Faces.detected(np.array([edges], np.float32), np.ones(1, np.float32), level=0)

    other = Pipeline(pipeline.parameters, pipeline.engine)
    other._searches["everywhere"] = Finds()  # type: ignore[assignment]
    found = other.detect(astronaut, search="everywhere")
    # 71.5 and 163.5 would be 72 and 164, 175.5 would be 176; 267.5 is 268, as 267.504 is, and yet on no side
    assert recorded(found) == [[175.49, 71.51, 267.51, 163.49]]
    again = pipeline.encode(astronaut, recorded(found), search="everywhere")
    np.testing.assert_array_equal(again.encodings, found.encodings)
    exact = pipeline.engine.encode(astronaut, np.array([edges], np.float32))
    np.testing.assert_array_equal(found.encodings, exact)


def test_another_engine_gives_the_same_encodings_but_for_the_last_digits(
    astronaut: np.ndarray, pipeline: Pipeline
) -> None:
    dlib = Pipeline(pipeline.parameters, engines.start("dlib", EngineOptions()))
    found = pipeline.detect(astronaut)
    again = dlib.encode(astronaut, recorded(found), turned=found.turned)
    np.testing.assert_allclose(again.encodings, found.encodings, atol=1e-5)


def test_faces_keep_the_order_of_their_boxes_and_those_that_leave_the_picture_end_at_its_edge(
    astronaut: np.ndarray, pipeline: Pipeline
) -> None:
    boxes = [[400, 400, 600, 600], [175, 71, 268, 163], [-100, -50, 100, 50], [175, 71, 268, 163]]
    faces = pipeline.encode(astronaut, boxes)
    assert faces.boxes.tolist() == [[400, 400, 512, 512], boxes[1], [0, 0, 100, 50], boxes[1]]
    np.testing.assert_allclose(faces.inside, [(112 / 200) ** 2, 1, 0.25, 1])
    assert faces.comparable.tolist()[1:] == [True, False, True]
    np.testing.assert_array_equal(faces.encodings[1], faces.encodings[3])
    assert np.linalg.norm(faces.encodings[1] - pipeline.detect(astronaut).encodings[0]) < 0.2
    assert len(pipeline.encode(astronaut, [])) == 0


@pytest.mark.parametrize(
    "box",
    [[512, 0, 600, 90], [-90, 0, 0, 90], [0, 511.5, 90, 600], [10, 10, 10.5, 90], [0, -FARTHEST, 9, -9]],
)
def test_a_box_that_shows_nothing_is_named_with_the_size_of_the_picture(
    box: list[float], astronaut: np.ndarray, pipeline: Pipeline
) -> None:
    with pytest.raises(BadBoxError, match="box 2 shows nothing of the picture of 512 x 512 pixels") as error:
        pipeline.encode(astronaut, [INSIDE, box])
    assert error.value.code is ErrorCode.BAD_BOX
    assert not error.value.elsewhere


def test_a_box_of_any_shape_is_encoded(pipeline: Pipeline) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    boxes = [[0, 0, 1, 1], [399, 299, 400, 300], [0, 0, 400, 1], [10.4, 0, 11.4, 300], [0, 0, 400, 300]]
    whole = [[-FARTHEST, -FARTHEST, FARTHEST, FARTHEST]]
    for turned in (None, [0, 90, 180, 270, 90, 90]):
        faces = pipeline.encode(noise, boxes + whole, turned=turned, search="guided")
        assert np.isfinite(faces.encodings).all()
        assert np.isfinite(faces.sharpness).all()
        assert faces.inside.tolist()[:5] == [1] * 5


@pytest.mark.usefixtures("yunet_weights")
def test_boxes_are_in_the_picture_that_is_named(astronaut: np.ndarray, pipeline: Pipeline) -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        options: dict[str, Any] = {"photometric": "rgb", "metadata": None}
        file.write(astronaut[:9].astype(np.float64), **options)
        file.write(astronaut, **options)
        file.write(np.ascontiguousarray(astronaut[:, ::-1]), **options)
    tiff = stream.getvalue()
    found = pipeline.detect(tiff)
    assert found.pages.tolist() == [1, 2]
    for face in found:
        again = pipeline.encode(tiff, [face.box], page=face.page)
        np.testing.assert_array_equal(again.encodings[0], face.encoding)
        assert again.pages.tolist() == [face.page]
    with pytest.raises(
        TruncatedImageError, match=r"picture 0, which the boxes are in, cannot be read: .*64 bits"
    ):
        pipeline.encode(tiff, found.boxes[:1])
    with pytest.raises(BadBoxError, match=r"picture 3, which the boxes are in, was not decoded: .* 1, 2"):
        pipeline.encode(tiff, found.boxes[:1], page=3)
    black, shown = (Image.fromarray(one) for one in (np.zeros_like(astronaut), astronaut))
    stream = io.BytesIO()
    black.save(stream, "GIF", save_all=True, append_images=[shown, black])
    for page in (0, 1):
        assert pipeline.encode(stream.getvalue(), [INSIDE], page=page).pages.tolist() == [1]


def test_what_is_no_image_is_an_error_as_of_a_search(pipeline: Pipeline) -> None:
    with pytest.raises(NotAnImageError):
        pipeline.encode(b"x" * 99, [INSIDE])
    with pytest.raises(TypeError, match="must have the shape"):
        pipeline.encode(np.zeros((5, 5), np.uint8), [INSIDE])
    with pytest.raises(ValueError, match="box 1 is empty"):
        pipeline.encode(b"x", [[1, 1, 1, 1]])
