"""Distances become accuracies, and face_recognition's own pairs are told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.encodings import accuracy, best, by_person, distances, plain, published, shrunk
from pyraface.core.engines import Engine, start

APART = np.array([0.2, 0.4, 0.5, 0.7, 0.55])
SAME = np.array([True, True, False, False, True])


@pytest.fixture(scope="module")
def engine() -> Engine:
    return start("onnx")


@pytest.mark.parametrize(("threshold", "share"), [(0.1, 0.4), (0.45, 0.8), (0.6, 0.8), (2.0, 0.6)])
def test_pairs_nearer_than_the_threshold_count_as_one_person(threshold: float, share: float) -> None:
    assert accuracy(APART, SAME, threshold) == pytest.approx(share)


def test_the_best_threshold_is_the_one_that_tells_most_pairs_right() -> None:
    threshold, share = best(APART, SAME)
    assert 0.4 < threshold <= 0.5
    assert share == pytest.approx(0.8)


def test_the_shared_pairs_are_as_published(photos: Path) -> None:
    pairs = published(photos / "deepface_pairs")
    assert (len(pairs), sum(same for _, _, same in pairs)) == (325, 85)
    knn = by_person(photos / "face_recognition_knn")
    assert (len(knn), sum(same for _, _, same in knn)) == (66, 9)


def test_small_photographs_of_four_people_are_told_apart(photos: Path, engine: Engine) -> None:
    folder = photos / "face_recognition_knn"
    names = {
        f"train/{name}"
        for name in ("obama/obama.jpg", "obama/obama2.jpg", "biden/biden.jpg", "biden/biden2.jpg")
    }
    pairs = [pair for pair in by_person(folder) if {pair[0], pair[1]} <= names]
    assert len(pairs) == 6
    apart, same, missing = distances(folder, pairs, plain(engine))
    assert missing == 0
    assert accuracy(apart, same, 0.6) == 1
    # of a face of 20 px not much is left
    small, same, _ = distances(folder, pairs, shrunk(engine, 20))
    assert small[same].mean() > apart[same].mean() + 0.1
