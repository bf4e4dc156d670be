from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyraface.core.engines.network import weights
from pyraface.core.errors import EngineError

DETECTOR = weights.model_path(weights.DETECTOR_FILE).read_bytes()
ENCODER = weights.model_path(weights.ENCODER_FILE).read_bytes()
PREAMBLE = DETECTOR.index(b"con_4")
FIRST_WEIGHT = PREAMBLE + len("con_4") + 11
"""Behind the name stand a tensor's version and four dimensions, of which one takes three bytes."""


def test_the_detector_is_read_with_its_options() -> None:
    detector = weights.load_detector()
    assert [c.weights.shape for c in detector.convolutions] == [
        (16, 3, 5, 5),
        (32, 16, 5, 5),
        (32, 32, 5, 5),
        (45, 32, 5, 5),
        (45, 45, 5, 5),
        (45, 45, 5, 5),
        (1, 45, 9, 9),
    ]
    assert [(c.stride, c.padding) for c in detector.convolutions] == [(2, 0)] * 3 + [(1, 2)] * 3 + [(1, 4)]
    assert detector.window == 80
    assert detector.overlap == pytest.approx(0.338276, abs=1e-6)
    assert detector.covered == 1
    assert detector.means == pytest.approx((122.782, 117.001, 104.298), abs=1e-4)


@pytest.mark.parametrize("threshold", [0.0, -0.5, 0.25])
def test_to_answer_everything_nothing_but_limits_and_scores_of_the_detector_change(threshold: float) -> None:
    detector = weights.load_detector()
    changed = weights.parse_detector(weights.detector_answering_everything(threshold))
    assert (changed.overlap, changed.covered) == (1, 1)
    assert (changed.window, changed.means) == (detector.window, detector.means)
    for one, other in zip(detector.convolutions, changed.convolutions, strict=True):
        assert np.array_equal(one.weights, other.weights)
        raised = threshold if one is detector.convolutions[-1] else 0
        assert np.array_equal(one.bias - np.float32(raised), other.bias)


def test_the_encoder_is_read_with_its_projection() -> None:
    encoder = weights.load_encoder()
    assert len(encoder.convolutions) == 29
    assert encoder.convolutions[0].weights.shape == (32, 3, 7, 7)
    assert encoder.convolutions[-1].weights.shape == (256, 256, 3, 3)
    assert encoder.projection.shape == (256, 128)
    assert all(c.bias.shape == c.weights.shape[:1] for c in encoder.convolutions)


@pytest.mark.parametrize("kept", [0, 1, 3, 14, 60, 100, 137, 200, 5104, 5300, 400_000, len(DETECTOR) - 1])
def test_a_detector_cut_off_anywhere_is_refused(kept: int) -> None:
    with pytest.raises(EngineError, match="the file ends in the middle of"):
        weights.parse_detector(DETECTOR[:kept])


@pytest.mark.parametrize("kept", [0, 20, 300, 336, 19_000, 10_000_000, len(ENCODER) - 1])
def test_an_encoder_cut_off_anywhere_is_refused(kept: int) -> None:
    with pytest.raises(EngineError, match="the file ends in the middle of"):
        weights.parse_encoder(ENCODER[:kept])


def test_bytes_after_the_network_are_refused() -> None:
    with pytest.raises(EngineError, match="1 byte after the end of the network"):
        weights.parse_detector(DETECTOR + b"\0")


def test_another_network_is_refused_by_the_name_it_gives() -> None:
    with pytest.raises(EngineError, match=re.escape("the loss is 'loss_metric_2' instead of 'loss_mmod_'")):
        weights.parse_detector(ENCODER)


def test_numbers_that_are_not_finite_are_refused() -> None:
    damaged = bytearray(DETECTOR)
    damaged[FIRST_WEIGHT : FIRST_WEIGHT + 4] = np.array(np.nan, "<f4").tobytes()
    with pytest.raises(EngineError, match="not finite"):
        weights.parse_detector(bytes(damaged))


@given(at=st.integers(0, PREAMBLE - 1), value=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_preamble_is_refused_or_still_describes_the_network(at: int, value: int) -> None:
    damaged = bytearray(DETECTOR)
    damaged[at] = value
    try:
        detector = weights.parse_detector(bytes(damaged))
    except EngineError:
        return
    assert len(detector.convolutions) == 7


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_arbitrary_bytes_are_refused_with_an_engine_error(data: bytes) -> None:
    for parse in (weights.parse_detector, weights.parse_encoder):
        with pytest.raises(EngineError):
            parse(data)


def test_normalization_is_folded_into_the_convolution() -> None:
    """The folded weights must be the file's own, times gamma / sqrt(variance + epsilon), filter by filter."""
    first = weights.load_detector().convolutions[0]
    raw = np.frombuffer(DETECTOR, "<f4", 16 * 75, FIRST_WEIGHT).reshape(16, 75)
    factors = first.weights.reshape(16, 75) / raw
    assert np.allclose(factors, factors[:, :1], rtol=1e-5)
    assert np.ptp(factors[:, 0]) > 0


@pytest.mark.parametrize("name", weights.SHA256)
def test_the_files_of_face_recognition_models_are_the_known_ones(name: str) -> None:
    path = weights.checked_path(name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.SHA256[name]


def test_a_file_changed_in_one_bit_is_refused_by_every_reader(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (weights.DETECTOR_FILE, weights.ENCODER_FILE, weights.LANDMARKS_FILE):
        data = bytearray(weights.model_path(name).read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(weights, "models_folder", lambda: tmp_path)
    weights.checked_path.cache_clear()
    for read in (
        weights.load_detector,
        weights.load_encoder,
        lambda: weights.detector_answering_everything(0.0),
        lambda: weights.checked_path(weights.LANDMARKS_FILE),
    ):
        with pytest.raises(
            EngineError, match=r"has the SHA-256 [0-9a-f]{64}, not .*: it is damaged or another"
        ):
            read()


@pytest.mark.parametrize(("points", "name"), [(5, weights.LANDMARKS_FILE), (68, weights.MORE_LANDMARKS_FILE)])
def test_the_file_of_the_landmarks_is_the_one_of_their_number(points: int, name: str) -> None:
    assert weights.landmarks_file(points) == name


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match="pip install face_recognition_models"):
        weights.load_detector()


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "models_folder", lambda: tmp_path)
    with pytest.raises(EngineError, match=f"{weights.ENCODER_FILE} is missing"):
        weights.load_encoder()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "model_path", lambda _: tmp_path)  # a folder where a file should be
    with pytest.raises(EngineError, match="cannot be read"):
        weights.load_detector()
