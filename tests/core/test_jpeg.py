"""Scans of a JPEG: counted as a decoder would go over them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pyraface.core.errors import TruncatedImage
from pyraface.core.images import decode
from pyraface.core.jpeg import MAX_SCANS, scans
from pyraface.core.parameters import ImageLimits
from tests import bombs


def saved(astronaut: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(astronaut).save(stream, "JPEG", **options)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_sequential_picture_has_one_scan_whatever_follows(astronaut: np.ndarray) -> None:
    jpeg = saved(astronaut, restart_marker_rows=1)
    assert scans(jpeg) == 1
    assert scans(jpeg + jpeg[2:] * 200) == 1


def test_a_progressive_picture_has_those_of_its_script(astronaut: np.ndarray) -> None:
    jpeg = saved(astronaut, progressive=True)
    assert scans(jpeg) == 10  # libjpeg's script for three components
    assert scans(jpeg + jpeg[2:] * 200) == 10
    # what looks like a scan in a comment is none
    assert scans(bombs.with_segment(jpeg, 0xFE, b"\xff\xda\0\2" * 1000)) == 10


@pytest.mark.parametrize("more", [89, 90, 91, 500])
def test_counting_stops_beyond_the_most(more: int) -> None:
    jpeg = bombs.many_scans(more, side=64)
    base = scans(bombs.many_scans(0, side=64))
    assert scans(jpeg) == min(base + more, MAX_SCANS + 1)


def test_a_picture_of_too_many_scans_is_refused_before_they_are_decoded(astronaut: np.ndarray) -> None:
    limits = ImageLimits()
    with pytest.raises(TruncatedImage, match="more than 100 scans"):
        decode(bombs.many_scans(101, side=64), limits)
    assert decode(bombs.many_scans(50, side=64), limits).width == 64
    assert decode(saved(astronaut, progressive=True), limits).width == 512


@given(st.binary(max_size=300), st.integers(0, 3000))
def test_whatever_the_bytes_are_there_is_a_count(noise: bytes, at: int) -> None:
    jpeg = bombs.many_scans(3, side=64)
    assert 0 <= scans(jpeg[:at] + noise + jpeg[at:]) <= MAX_SCANS + 1
    assert 0 <= scans(noise) <= MAX_SCANS + 1
    assert 0 <= scans(jpeg[:at]) <= MAX_SCANS + 1
