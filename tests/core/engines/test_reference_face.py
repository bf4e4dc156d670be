"""Reference face: what each engine makes of it, and what a device makes of it that computes less exactly, or nonsense."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pyraface.core.engines import Engine, EngineOptions, reference_face
from pyraface.core.engines.dlib import DlibEngine
from pyraface.core.engines.network import weights
from pyraface.core.engines.onnx import encoder as onnx_encoder
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.errors import EngineError


def encoding(engine: Engine) -> NDArray[np.float32]:
    [found] = engine.encode_chips([reference_face.pixels()])
    return found


def with_weights(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The encoding of the onnx engine whose encoder has other weights in its sixth layer, or in all of them."""
    encoder = weights.load_encoder()
    changed = replace(
        encoder,
        convolutions=tuple(replace(one, weights=change(one.weights)) for one in encoder.convolutions),
    )
    monkeypatch.setattr(weights, "load_encoder", lambda: changed)
    return encoding(OnnxEngine(EngineOptions(threads=1)))


def rounded_to(bits: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Rounds to so many bits of mantissa, as devices do that compute less exactly."""

    def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = np.ascontiguousarray(values, np.float32).view(np.uint32)
        drop = 23 - bits
        return ((whole + (1 << (drop - 1)) >> drop) << drop).astype(np.uint32).view(np.float32)

    return rounded


def test_the_face_is_the_same_on_every_machine() -> None:
    face = reference_face.pixels()
    assert (face.shape, face.dtype) == ((150, 150, 3), np.uint8)
    assert hashlib.sha256(face.tobytes()).hexdigest()[:16] == "07575882904125b3"


def test_both_engines_agree_within_a_hundredth_of_a_thousandth(
    onnx_engine: OnnxEngine, dlib_engine: DlibEngine
) -> None:
    for engine in (onnx_engine, dlib_engine, OnnxEngine(EngineOptions(threads=2, screened=False))):
        assert engine.gpu or reference_face.deviation(encoding(engine)) < 1e-5


def test_several_faces_are_encoded_at_once(onnx_engine: OnnxEngine, dlib_engine: DlibEngine) -> None:
    face = reference_face.pixels()
    for engine in (onnx_engine, dlib_engine):
        found = engine.encode_chips([face, np.ascontiguousarray(face[::-1]), face])
        assert found.shape == (3, 128)
        assert reference_face.deviation(found[2]) < 1e-5
        assert np.linalg.norm(found[1] - found[0]) > 0.1


@pytest.mark.parametrize("bits", [10, 7])
def test_a_device_that_computes_in_fewer_digits_is_used_and_not_named(
    monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    distance = reference_face.deviation(with_weights(monkeypatch, rounded_to(bits)))
    assert 1e-4 < distance < reference_face.NAMED


def test_a_device_that_computes_in_very_few_digits_is_used_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    distance = reference_face.deviation(with_weights(monkeypatch, rounded_to(4)))
    assert reference_face.NAMED < distance < reference_face.REFUSED


def test_an_encoder_whose_filters_are_in_another_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_encoder.Encoder, "try_out", lambda _: None)
    with pytest.raises(EngineError, match=r"is \d\.\d\d from face_recognition's, and at most 0.2 is allowed"):
        reference_face.deviation(with_weights(monkeypatch, lambda one: np.ascontiguousarray(one[::-1])))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_encoding_with_anything_but_numbers_is_refused(value: float) -> None:
    found = reference_face.ENCODING.astype(np.float32)
    found[77] = value
    with pytest.raises(
        EngineError, match="computes no numbers for the reference face: its device or one of its"
    ):
        reference_face.deviation(found)


def test_the_limit_is_the_largest_distance_that_is_used() -> None:
    for distance, used in ((0.0, True), (0.19, True), (0.21, False)):
        found = reference_face.ENCODING.copy()
        found[0] += distance
        if used:
            assert reference_face.deviation(found.astype(np.float32)) == pytest.approx(distance, abs=1e-6)
        else:
            with pytest.raises(EngineError, match=r"is 0\.21 from"):
                reference_face.deviation(found.astype(np.float32))
