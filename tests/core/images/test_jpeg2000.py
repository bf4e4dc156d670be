"""core/images/jpeg2000.py: a JPEG 2000 of any depth gives its own pixels or is refused by name."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pyraface.core.errors import FormatNotReadError
from pyraface.core.images.decode import decode
from pyraface.core.images.jpeg2000 import MAX_TILES, check
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
            FormatNotReadError, match=f"a JPEG 2000 in colour of {bits} bits a sample is not read"
        ):
            decode(data, LIMITS)
    else:
        assert np.abs(decode(data, LIMITS).pixels.astype(int) - shown).max() <= 1


def test_a_damaged_header_is_for_the_decoder_to_judge(portrait: Pixels) -> None:
    data = encoded(portrait, "JPEG2000")
    check(data)
    check(data[: data.index(b"\xff\x4f") + 41])
    check(b"no picture")


@pytest.mark.parametrize("tile", [1, 15, 16, 256])
def test_tiles_are_read_up_to_a_limit(tile: int) -> None:
    side = 2400
    picture = Image.fromarray(np.zeros((side, side, 3), np.uint8))
    data = bytearray(encoded(picture, "JPEG2000", tile_size=(256, 256)))
    struct.pack_into(">II", data, data.index(b"\xff\x4f\xff\x51") + 24, tile, tile)
    if (side / tile) ** 2 > MAX_TILES:
        with pytest.raises(
            FormatNotReadError, match=r"a JPEG 2000 of \d+ tiles is not read, 16384 are allowed"
        ):
            check(bytes(data))
    else:
        check(bytes(data))
    if tile == 256:
        assert decode(bytes(data), LIMITS).height == side


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_of_few_bits_go_from_black_to_white(bits: int, channels: int) -> None:
    most = 2**bits - 1
    samples = (np.arange(40 * 40 * channels) % (most + 1)).astype(np.uint8).reshape(40, 40, channels)
    data = imagecodecs.jpeg2k_encode(samples.squeeze(), level=0, bitspersample=bits, reversible=True)
    right = np.round(samples * 255.0 / most)
    assert np.array_equal(decode(data, LIMITS).pixels, np.broadcast_to(right, (40, 40, 3)))
