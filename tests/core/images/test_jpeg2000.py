"""core/images/jpeg2000.py: a JPEG 2000 of any depth gives its own pixels or is refused by name."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from pyraface.core.errors import TruncatedImageError
from pyraface.core.images.decode import decode
from pyraface.core.images.jpeg2000 import colour_depth
from tests.core.images.files import LIMITS, Pixels, encoded


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("colour", [False, True], ids=["gray", "colour"])
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
def test_each_depth_is_read_or_refused(bits: int, colour: bool, codec: str, portrait: Pixels) -> None:
    shown = portrait if colour else np.repeat(portrait[..., :1], 3, 2)
    values = (shown if colour else shown[..., 0]).astype(int) * (2**bits - 1) // 255
    data = imagecodecs.jpeg2k_encode(
        np.ascontiguousarray(values.astype(np.uint8 if bits == 8 else np.uint16)),
        level=0,
        codecformat=codec,
        bitspersample=bits,
    )
    if colour and bits > 8:
        with pytest.raises(
            TruncatedImageError, match=f"a JPEG 2000 in colour of {bits} bits a sample is not read"
        ):
            decode(data, LIMITS)
    else:
        assert np.abs(decode(data, LIMITS).pixels.astype(int) - shown).max() <= 1


def test_a_damaged_header_has_no_depth(portrait: Pixels) -> None:
    data = encoded(portrait, "JPEG2000")
    assert colour_depth(data) == 8
    assert colour_depth(data[: data.index(b"\xff\x4f") + 41]) == 0
    assert colour_depth(b"no picture") == 0
