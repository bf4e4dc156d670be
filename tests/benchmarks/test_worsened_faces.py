"""Faces are made worse as it is said, and what is told of their pairs is counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.quality import (
    SIZES,
    Face,
    Sample,
    against_sharp,
    alike,
    by_sharpness,
    by_way,
    chips,
    flagged,
    labelled,
    largest,
    samples,
    worsened,
)
from benchmarks.sharpness import MEASURES, correlation, gray
from pyraface.core import quality
from pyraface.core.engines import Engine, start


@pytest.fixture(scope="module")
def engine() -> Engine:
    return start("onnx")


@pytest.fixture(scope="module")
def portrait(astronaut: np.ndarray, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Face:
    file = tmp_path_factory.mktemp("portrait") / "a.png"
    Image.fromarray(astronaut).save(file)
    face = largest(engine, file, "a.png")
    assert face is not None
    return face


def sample(way: str, name: str, place: float, *, size: float = 100, sharpness: float = 0.6) -> Sample:
    encoding = np.zeros(128, np.float32)
    encoding[0] = place
    return Sample(way, name, size, sharpness, encoding)


SAMPLES = [
    *(sample("as they are", name, place) for name, place in (("ann", 0.0), ("ann2", 0.2), ("ben", 1.0))),
    # ann has moved away from herself, and ben to where she is
    *(sample("bad", name, place, size=20) for name, place in (("ann", 0.7), ("ann2", 0.3))),
    sample("bad", "ben", 0.75, sharpness=0.2),
]
PAIRS = [("ann", "ann2", True), ("ann", "ben", False), ("ann2", "ben", False)]


def test_a_worsened_face_is_told_from_the_sharp_ones_it_has_pairs_with() -> None:
    own = {one.name: one for one in SAMPLES[:3]}
    told = against_sharp(SAMPLES[3:], own, PAIRS)
    # ann to ann2 and ben, ann2 to ann and ben, ben to both
    np.testing.assert_allclose(told.apart, [0.5, 0.3, 0.3, 0.7, 0.75, 0.55], atol=1e-6)
    assert told.same.tolist() == [True, False, True, False, False, False]
    assert told.right.tolist() == [True, False, True, True, True, False]
    assert told.comparable(0, 0.3).tolist() == [True] * 4 + [False] * 2
    assert told.comparable(25, 0).tolist() == [False] * 4 + [True] * 2
    assert not told.comparable(25, 0.3).any()


def test_two_faces_worsened_alike_count_as_the_worse_of_them() -> None:
    told = alike(SAMPLES[3:], PAIRS)
    np.testing.assert_allclose(told.apart, [0.4, 0.05, 0.45], atol=1e-6)
    assert told.right.tolist() == [True, False, False]
    assert told.sizes.tolist() == [20, 20, 20]
    assert told.sharpness.tolist() == [0.6, 0.2, 0.2]


def test_the_table_of_thresholds_counts_what_is_kept_and_dropped() -> None:
    rows = [line for line in flagged({"set": (SAMPLES, PAIRS)}) if line.startswith("| 0, 0")]
    # of 12 pairs with a sharp one, 2 wrong; of 6 pairs worsened alike, 2 wrong
    assert rows[0] == "| 0, 0 | set | 100% | 83.33% | 0% | 0% | 100% | 66.67% | 0% | 0% |"
    # dropped by sharpness: ben's two, one of them wrong; both wrong ones of two such
    assert rows[1] == "| 0, 0.35 | set | 83% | 90.00% | 50% | 10% | 67% | 100.00% | 100% | 0% |"


def test_a_face_is_shrunk_to_the_size_it_is_named_for(portrait: Face) -> None:
    ways = {way: (pixels, box) for way, pixels, box in worsened(portrait)}
    assert len(ways) == len(list(worsened(portrait)))
    for side in SIZES:
        pixels, box = ways[f"of {side} px"]
        assert box[2] - box[0] == pytest.approx(side, abs=0.01)
        assert box[2] <= pixels.shape[1] + 1
    own = ways.pop("as they are")
    assert own[0] is portrait.pixels
    measures = {way: quality.sharpness(pixels, box[None])[0] for way, (pixels, box) in ways.items()}
    sharp = quality.sharpness(portrait.pixels, portrait.box[None])[0]
    # 90 px: what is asked to be larger stays as it is
    assert all(measure < sharp + 0.01 for way, measure in measures.items() if "noise" not in way), measures
    assert measures["shaken by 20%"] < measures["shaken by 5%"]


def test_measures_are_compared_on_the_picture_that_pyraface_measures(portrait: Face) -> None:
    ours = MEASURES["Crete's blur, as pyraface has it"](gray(portrait.pixels, portrait.box, quality.SIDE))
    assert ours == pytest.approx(quality.sharpness(portrait.pixels, portrait.box[None])[0], abs=1e-6)


@pytest.mark.parametrize(
    ("other", "expected"), [([1, 4, 9, 100], 1), ([5, 0, -2, -7], -1), ([1, 3, 2, 4], 0.8)]
)
def test_a_rank_correlation_is_1_if_the_order_is_the_same(other: list[int], expected: float) -> None:
    assert correlation(np.array([1.0, 2, 3, 4]), np.array(other, float)) == pytest.approx(expected)


def test_the_tables_are_made_of_real_photographs(photos: Path, engine: Engine) -> None:
    every = chips(photos / "dlib_johns")
    assert (len(every), sum(same for _, _, same in every)) == (1485, 275)
    people = sorted({Path(name).parent.name for pair in every for name in pair[:2]})[:2]
    few = {
        sorted(name for pair in every for name in pair[:2] if Path(name).parent.name == one)[0]
        for one in people
    }
    few |= {
        sorted(name for pair in every for name in pair[:2] if Path(name).parent.name == one)[-1]
        for one in people
    }
    pairs = [pair for pair in every if {pair[0], pair[1]} <= few]
    assert len(pairs) == 6
    found = samples(engine, photos / "dlib_johns", pairs)
    rows = [line.split(" | ") for line in by_way(found, pairs)][2:]
    assert rows[0][0] == "| as they are"
    assert rows[0][3:5] == ["0.00", "100.0%"]
    drifts = [float(row[3]) for row in rows if row[0].startswith("| of ") and "," not in row[0]]
    assert drifts[0] > drifts[4] > drifts[-1]
    assert sum(int(line.split(" | ")[1]) for line in [*by_sharpness(found, pairs)][2:]) <= len(found) * 3


def test_people_who_looked_at_wider_face_agree_with_the_measure(photos: Path) -> None:
    head, _, *rows = labelled(photos / "wider_face_val_subset")
    assert "heavily blurred" in head
    assert len(rows) == 6
    for row in rows[2:5]:
        clear, _, heavy = map(float, row.split(" | ")[2].split(", "))
        assert clear > heavy
