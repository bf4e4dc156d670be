"""How much of a face is seen: the portrait, shrunk, blurred, shaken, cut by the edge; and the same whatever the engine."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage.measure import blur_effect

from pyraface.core import parameters, quality
from pyraface.core.faces import Faces
from pyraface.core.images.decode import Picture
from pyraface.core.parameters import EncodingParameters
from pyraface.core.pipeline import Pipeline
from tests.support import ROOT

FACE = np.array([[176, 71, 266, 161]], np.float32)
"""The box of the portrait's face, 90 px."""


def sharpness(pixels: np.ndarray, boxes: np.ndarray = FACE) -> float:
    (measured,) = quality.sharpness(np.ascontiguousarray(pixels), boxes.astype(np.float32))
    return float(measured)


def resized(astronaut: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """The portrait at a size at which its face has so many pixels, and the face's box there."""
    factor = side / 90
    picture = Image.fromarray(astronaut).resize((round(512 * factor),) * 2, Image.Resampling.LANCZOS)
    return np.asarray(picture), FACE * factor


def blurred(astronaut: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(radius)))


def test_a_face_is_the_less_sharp_the_more_it_is_blurred(astronaut: np.ndarray) -> None:
    falling = [sharpness(blurred(astronaut, radius)) for radius in (0, 0.5, 1, 2, 3, 4, 6, 8)]
    assert all(one > next for one, next in pairwise(falling)), falling
    assert falling[0] > 0.5
    assert falling[-1] < 0.2


def test_a_face_is_the_less_sharp_the_fewer_pixels_there_are(astronaut: np.ndarray) -> None:
    falling = [sharpness(*resized(astronaut, side)) for side in (90, 60, 40, 30, 25, 20, 15, 10)]
    assert all(one > next for one, next in pairwise(falling)), falling
    assert falling[0] - falling[-1] > 0.2


def test_enlarging_a_face_does_not_make_it_sharper(astronaut: np.ndarray) -> None:
    small, _ = resized(astronaut, 20)
    enlarged = np.asarray(Image.fromarray(small).resize((512, 512), Image.Resampling.BICUBIC))
    assert sharpness(enlarged) < sharpness(*resized(astronaut, 20)) + 0.02


def test_a_large_face_is_as_sharp_as_it_is_at_a_sixth_of_the_size(astronaut: np.ndarray) -> None:
    # looked at in every pixel, in every second, in every fourth
    sides = [sharpness(*resized(astronaut, side)) for side in (150, 400, 900)]
    assert max(sides) - min(sides) < 0.02


@pytest.mark.parametrize("axis", [0, 1], ids=["up and down", "to the side"])
def test_a_hand_that_shook_blurs_a_face_though_one_direction_stays_sharp(
    axis: int, astronaut: np.ndarray
) -> None:
    moved = np.mean([np.roll(astronaut, step, axis) for step in range(12)], axis=0).astype(np.uint8)
    assert sharpness(moved) < 0.35 < sharpness(astronaut) - 0.2


def test_contrast_has_no_say(astronaut: np.ndarray) -> None:
    pale = (128 + (astronaut.astype(float) - 128) * 0.3).astype(np.uint8)
    assert sharpness(pale) == pytest.approx(sharpness(astronaut), abs=0.03)


def test_it_ranks_faces_as_another_implementation_of_the_same_measure(astronaut: np.ndarray) -> None:
    """scikit-image's, which takes the differences by a Sobel filter: other numbers, the same order."""
    pictures = [(blurred(astronaut, radius), FACE) for radius in (0, 1, 2, 3, 5)]
    pictures += [resized(astronaut, side) for side in (60, 35, 20, 12)]
    ours, theirs = [], []
    for pixels, box in pictures:
        left, top, right, bottom = np.rint(box[0]).astype(int)
        face = Image.fromarray(pixels[top:bottom, left:right]).convert("L")
        gray = face.resize((quality.SIDE, quality.SIDE), Image.Resampling.BILINEAR)
        ours.append(sharpness(pixels, box))
        theirs.append(1 - blur_effect(np.asarray(gray, float), h_size=quality.TAPS))
    assert np.argsort(ours).tolist() == np.argsort(theirs).tolist()
    np.testing.assert_allclose(ours, theirs, atol=0.1)


def test_a_wall_has_no_sharpness() -> None:
    assert sharpness(np.full((200, 300, 3), 90, np.uint8)) == 0


ODD_BOXES = {
    "half outside": [-50, -50, 100, 100],
    "outside": [600, 600, 700, 700],
    "before the first pixel": [-90, -80, -10, -5],
    "of no width": [100, 100, 100, 150],
    "of no pixel": [100.2, 100.2, 100.3, 100.3],
    "a line": [0, 511, 512, 512],
    "all there is": [0, 0, 512, 512],
}


@pytest.mark.parametrize("box", ODD_BOXES.values(), ids=ODD_BOXES)
def test_every_box_has_a_measure(box: list[float], astronaut: np.ndarray) -> None:
    assert 0 <= sharpness(astronaut, np.array([box])) <= 1


def test_no_faces_have_no_measures(astronaut: np.ndarray) -> None:
    measures = quality.sharpness(astronaut, np.zeros((0, 4), np.float32))
    assert (measures.shape, measures.dtype) == ((0,), np.float32)
    assert len(quality.measured(Faces.empty(), measures, EncodingParameters())) == 0


GOOD = {"size": 25.0, "sharpness": 0.5, "inside": 0.75, "confidence": 0.5}
"""Just enough of everything, for the thresholds of the next test."""


@pytest.mark.parametrize(
    ("changes", "comparable"),
    [
        ({}, True),
        ({"size": 300, "sharpness": 1, "inside": 1, "confidence": 1.5}, True),
        ({"size": 24.9}, False),
        ({"sharpness": 0.49}, False),
        ({"inside": 0.74}, False),
        ({"confidence": 0.49}, False),
        ({"size": 10, "sharpness": 0.1, "inside": 0.1, "confidence": -0.5}, False),
    ],
    ids=str,
)
def test_a_face_is_comparable_if_it_has_enough_of_everything(
    changes: dict[str, float], comparable: bool
) -> None:
    of = GOOD | changes
    boxes = np.array([[0, 0, of["size"], of["size"] + 5]], np.float32)
    inside, sharp = np.array([of["inside"]], np.float32), np.array([of["sharpness"]], np.float32)
    faces = Faces.detected(boxes, np.array([of["confidence"]], np.float32), level=0, inside=inside)
    thresholds = EncodingParameters(
        least_size=25, least_sharpness=0.5, least_inside=0.75, least_confidence=0.5
    )
    found = quality.measured(faces, sharp, thresholds)
    assert found.comparable.tolist() == [comparable]
    assert (found.sharpness.tolist(), found.inside.tolist()) == (sharp.tolist(), inside.tolist())
    none = EncodingParameters(least_size=0, least_sharpness=0, least_inside=0, least_confidence=-1)
    assert quality.measured(faces, sharp, none).comparable.all()


def test_a_face_that_yunet_alone_found_is_not_comparable_and_one_whose_box_was_given_may_be() -> None:
    boxes, one = np.array([[0, 0, 90, 90]], np.float32), np.ones(1, np.float32)
    for detector, comparable in (("cnn", True), ("yunet", False), ("given", True)):
        faces = Faces.detected(boxes, one, level=0, detector=detector)  # type: ignore[arg-type]
        assert quality.measured(faces, one, EncodingParameters()).comparable.tolist() == [comparable]


def test_the_thresholds_are_parameters_and_outputs_made_with_others_are_done_again(
    astronaut: np.ndarray,
) -> None:
    packaged = parameters.parse((ROOT / "parameters.xml").read_bytes())
    small = replace(
        packaged, detection=replace(packaged.detection, search="everywhere", upsample=0, levels=1)
    )
    pipeline = Pipeline(small, "onnx")
    picture = Picture.whole(np.ascontiguousarray(astronaut[20:240, 100:320]))
    assert pipeline.find(picture).comparable.tolist() == [True]
    for changes in (
        {"least_size": 110},
        {"least_sharpness": 0.9},
        {"least_confidence": 1.5},
    ):
        stricter = replace(small, encoding=replace(small.encoding, **changes))
        other = Pipeline(stricter, pipeline.engine)
        assert other.find(picture).comparable.tolist() == [False]
        assert other.fingerprint != pipeline.fingerprint
