"""The composed couples and the table of benchmarks.fusion, and what the default rule makes of real encodings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import fusion as benchmark
from benchmarks.fusion import Scene, chips, couples, lost, same_face_pairs
from benchmarks.metrics import Truth
from pyraface.core import fusion
from pyraface.core.engines import Engine, start
from pyraface.core.faces import Faces
from pyraface.core.parameters import FusionParameters
from tests.support import ROOT, environment


@pytest.fixture(scope="module")
def engine() -> Engine:
    return start("onnx")


@pytest.fixture(scope="module")
def people(photos: Path, engine: Engine) -> list[benchmark.Chip]:
    found = chips(engine, photos / "dlib_johns")
    assert len(found) == 55
    return found


def test_couples_overlap_as_much_as_was_asked_for(people: list[benchmark.Chip]) -> None:
    made = list(couples(people, 60, 0.5))
    overlaps = [couple.overlap for couple in made]
    assert min(overlaps) < 0.05
    assert 0.45 < max(overlaps) <= 0.501
    for couple in made:
        height, width, _ = couple.pixels.shape
        assert (couple.boxes >= 0).all()
        assert (couple.boxes <= [width, height] * 2).all()


def test_two_people_one_half_behind_the_other_stay_two(people: list[benchmark.Chip], engine: Engine) -> None:
    stayed = []
    for couple in couples(people, 600, 0.5):
        pair = Faces.detected(couple.boxes, np.array([1.0, 0.9], np.float32), level=0)
        if fusion.doubtful(pair, FusionParameters()).any():
            pair = pair.with_encodings(engine.encode(couple.pixels, couple.boxes))
        stayed.append(len(fusion.fuse(pair, FusionParameters())) == 2)
    assert np.mean(stayed) >= 0.95


def test_two_people_as_they_are_by_themselves_stay_two_in_every_doubt(
    people: list[benchmark.Chip], engine: Engine
) -> None:
    encodings = np.concatenate([engine.encode(pixels, box[None]) for _, pixels, box in people])
    half_on = np.array([(0, 0, 100, 100), (40, 0, 140, 100)], np.float32)  # intersection over union 0.43
    pair = Faces.detected(half_on, np.array([1.0, 0.9], np.float32), level=0)
    for one, (who, _, _) in enumerate(people):
        for other, (whom, _, _) in enumerate(people[:one]):
            if who != whom:
                both = pair.with_encodings(encodings[[one, other]])
                assert len(fusion.fuse(both, FusionParameters())) == 2, (one, other)


def scene() -> Scene:
    """A face seen in two places, one seen once, and one that is false."""
    boxes = [(0, 0, 100, 100), (5, 0, 105, 100), (300, 0, 400, 100), (600, 0, 700, 100)]
    found = Faces.detected(np.array(boxes, np.float32), np.array([0.9, 0.8, 0.7, 0.6], np.float32), level=0)
    truth = np.array([(0, 0, 100, 100), (300, 0, 400, 100)], np.float32)
    return Scene(found, Truth(truth, np.zeros(2, np.bool_)))


def test_pairs_on_one_face_are_told_from_others() -> None:
    [pair] = same_face_pairs(scene())
    assert pair.boxes[:, 0].tolist() == [0, 5]


def test_a_face_is_lost_when_nothing_of_it_is_kept() -> None:
    one = scene()
    assert lost(one, one.candidates[:1]) == 1
    assert lost(one, one.candidates[1:3]) == 0


def test_the_program_prints_a_row_a_rule(photos: Path, tmp_path: Path, astronaut: np.ndarray) -> None:
    # twice as large: in both levels
    Image.fromarray(astronaut).resize((1024, 1024)).save(tmp_path / "one.png")
    (tmp_path / "truth.csv").write_text("file,x,y,w,h\none.png,352,142,180,180\n")
    command = [
        sys.executable,
        "-m",
        "benchmarks.fusion",
        str(tmp_path),
        "--couples",
        "8",
        "--thresholds=0,-0.2",
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(PYRAFACE_PHOTOS=str(photos)),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "1 pictures; 8 pairs of two people" in done.stdout
    for threshold in ("0", "-0.2"):
        assert re.search(rf"Threshold {threshold}: 1 true faces, [1-9]\d* pairs", done.stdout)
    rows = [
        line for line in done.stdout.splitlines() if line.startswith("| boxes and encodings (the default)")
    ]
    assert len(rows) == 2
    for row in rows:
        assert [cell.strip() for cell in row.split("|")[2:6]] == ["1.000", "1.000", "0", "0"]
