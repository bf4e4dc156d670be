"""Faces are cut and covered as it is said, and what is told of them and their pairs is counted right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.common import packaged_parameters
from benchmarks.encodings import published
from benchmarks.occlusion import (
    COVERED,
    CUT,
    SIDES,
    Face,
    Set,
    View,
    by_side,
    by_thresholds,
    hidden,
    looked_at,
)
from pyraface.core.faces import Faces
from pyraface.core.parameters import DetectionParameters
from pyraface.core.pipeline import Pipeline

FACE = Face(
    np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8),
    np.array([100, 60, 200, 160], np.float32),
)


def test_a_share_of_the_box_is_missing_or_covered_at_each_side() -> None:
    views = {(way, side, share): (pixels, box) for way, side, share, pixels, box in hidden(FACE, CUT)}
    assert len(views) == 1 + len(SIDES) * (len(CUT) + len(COVERED))
    assert views["whole", "", 0.0][0] is FACE.pixels
    expected = {
        "left": (FACE.pixels[:, 130:], [0, 60, 70, 160]),
        "top": (FACE.pixels[90:], [100, 0, 200, 70]),
        "right": (FACE.pixels[:, :170], [100, 60, 170, 160]),
        "bottom": (FACE.pixels[:130], [100, 60, 200, 130]),
    }
    for side, (pixels, box) in expected.items():
        found = views["cut", side, 0.3]
        np.testing.assert_array_equal(found[0], pixels)
        assert found[1].tolist() == box
    covered = {
        "left": (slice(60, 160), slice(100, 130)),
        "top": (slice(60, 90), slice(100, 200)),
        "right": (slice(60, 160), slice(170, 200)),
        "bottom": (slice(130, 160), slice(100, 200)),
    }
    for side, part in covered.items():
        pixels, box = views["covered", side, 0.3]
        differs = (pixels != FACE.pixels).any(axis=2)
        assert differs[part].mean() > 0.99
        assert differs.sum() == differs[part].sum()
        assert box is FACE.box


def seen(name: str, way: str, place: float, *, inside: float = 1.0, confidence: float = 1.0) -> View:
    """A view, at the left if it is hidden, whose encoding lies at a place on a line."""
    encoding = np.zeros((1, 128), np.float32)
    encoding[0, 0] = place
    one = np.ones(1, np.float32)
    found = Faces.detected(
        np.array([[0, 0, 90, 90]], np.float32),
        np.array([confidence], np.float32),
        level=0,
        inside=np.array([inside], np.float32),
    )
    found = found.with_encodings(encoding).with_quality(
        one * np.float32(0.5), np.array([inside >= 0.7 and confidence >= 0.6])
    )
    side, share = ("", 0.0) if way == "whole" else ("left", 0.5)
    return View(way, side, share, name, odd=name == "ben2", found=found)


LOOKED = Set(
    [
        seen("ann", "whole", 0),
        seen("ann2", "whole", 0.1),
        seen("ben", "whole", 1),
        seen("ann", "cut", 0.75, inside=0.6),
        seen("ann2", "cut", 0.2),
        seen("ben", "cut", 0.75, confidence=0.5),
        View("cut", "top", 0.5, "ben", odd=False, found=Faces.empty()),
    ],
    [("ann", "ann2", True), ("ann", "ben", False), ("ann2", "ben", False)],
)


def test_the_table_of_sides_counts_faces_and_the_strangers_among_them() -> None:
    whole, left, top = list(by_side(LOOKED))[2:]
    assert whole == "| whole | 3 of 3 | 1.00 | 1.00 | 0.00 | 100% | 0 of 2 | 0 of 2 |"
    # ann and ben, and ann2 and ben, are nearer than 0.6; ann2 alone is comparable
    assert left == "| cut, 50% at the left | 3 of 3 | 1.00 | 1.00 | 0.25 | 33% | 2 of 2 | 0 of 0 |"
    assert top == "| cut, 50% at the top | 0 of 1 | - | - | - | 0% | - | - |"


def test_the_table_of_thresholds_counts_what_is_comparable_and_told_right() -> None:
    rows = {
        line.split(" | ")[0]: line.split(" | ")[1:] for line in by_thresholds([LOOKED]) if "choosing" in line
    }
    every, strict = rows["| 0, -1"], rows["| 0.7, 0.6"]
    # whole, cut by 10 to 60%: of the halves, one was not found
    assert every[1:8] == ["100.0%", "-", "-", "-", "-", "75.0%", "-"]
    assert strict[1:8] == ["100.0%", "-", "-", "-", "-", "25.0%", "-"]
    # with whole ones: ann and ann2 (0.65) missed, ann and ben (0.25) taken; ann2 and ben right twice
    assert every[12:15] == ["66.67%", "50.0%", "25.00%"]
    # two such: ann and ann2 (0.55) right, ann and ben (0) and ann2 and ben (0.55) taken
    assert every[15:] == ["33.33%", "0.0%", "100.00% |"]
    assert strict[12:] == ["100.00%", "0.0%", "0.00%", "-", "-", "- |"]


def test_half_of_a_real_face_is_not_comparable_and_a_face_without_a_fifth_is(
    photos: Path, yunet_weights: bytes
) -> None:
    del yunet_weights
    guided = replace(packaged_parameters(), detection=DetectionParameters(search="guided"))
    folder = photos / "deepface_pairs"
    looked = looked_at(Pipeline(guided, "onnx"), folder, published(folder), 12, [0.2, 0.5])
    comparable: dict[tuple[str, float], list[bool]] = {}
    for view in looked.views:
        comparable.setdefault((view.way, view.share), []).append(bool(view.found.comparable.any()))
    assert {key: len(flags) for key, flags in comparable.items() if key[0] != "covered"} == {
        ("whole", 0.0): 4,
        ("cut", 0.2): 16,
        ("cut", 0.5): 16,
    }
    assert all(comparable["whole", 0.0])
    assert np.mean(comparable["cut", 0.2]) >= 0.9
    assert not any(comparable["cut", 0.5])
