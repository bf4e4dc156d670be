"""core/images/profiles.py: colours far from sRGB are converted, others stay bit for bit, and no profile costs a picture."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from pyraface.core.images import profiles
from pyraface.core.images.decode import decode
from tests.core.images import icc
from tests.core.images.files import LIMITS, Pixels, encoded, exif, png, stored

PROPHOTO = icc.profile(icc.PROPHOTO)


def colours() -> Pixels:
    """(48, 64, 3) uint8: muted colours, which every space has."""
    rows, columns = np.mgrid[0:48, 0:64]
    return np.dstack([80 + columns * 2, 90 + rows * 2, 100 + columns]).astype(np.uint8)


def tiff(pixels: Pixels, profile: bytes, *, wide: bool) -> bytes:
    stream = io.BytesIO()
    values = pixels.astype(np.uint16) * 257 if wide else pixels
    tifffile.imwrite(stream, values, photometric="rgb", metadata=None, iccprofile=profile or None)
    return stream.getvalue()


FILES: dict[str, Callable[[Pixels, bytes], bytes]] = {
    "JPEG": lambda pixels, profile: encoded(pixels, "JPEG", icc_profile=profile),
    "JPEG, turned": lambda pixels, profile: encoded(
        stored(pixels, 6), "JPEG", icc_profile=profile, exif=exif(6)
    ),
    "PNG": lambda pixels, profile: encoded(pixels, "PNG", icc_profile=profile),
    "WebP": lambda pixels, profile: encoded(pixels, "WEBP", icc_profile=profile),
    "TIFF": lambda pixels, profile: tiff(pixels, profile, wide=False),
    "TIFF of 16 bits": lambda pixels, profile: tiff(pixels, profile, wide=True),
    "HEIC": lambda pixels, profile: encoded(pixels, "HEIF", icc_profile=profile, quality=95, chroma=444),
    "AVIF": lambda pixels, profile: encoded(pixels, "AVIF", icc_profile=profile, subsampling="4:4:4"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_profile_far_from_srgb_is_applied_in_each_format(kind: str) -> None:
    values = icc.in_space(colours(), icc.PROPHOTO)
    assert np.abs(values.astype(int) - colours()).mean() > 10
    pixels = decode(FILES[kind](values, PROPHOTO), LIMITS).pixels
    assert np.abs(pixels.astype(int) - colours()).mean() < 2
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("space", [icc.SRGB, icc.P3, icc.ADOBE], ids=["sRGB", "P3", "Adobe RGB"])
def test_a_picture_in_srgb_or_a_space_near_it_stays_as_it_is(kind: str, space: icc.Space) -> None:
    values = icc.in_space(colours(), space)
    with_profile = decode(FILES[kind](values, icc.profile(space)), LIMITS).pixels
    without = decode(FILES[kind](values, b""), LIMITS).pixels
    np.testing.assert_array_equal(with_profile, without)


def hdr(transfer: int) -> Pixels:
    """The colours on a screen of HDR, by the inverse of the standard's formulas."""
    light = profiles._from_srgb(colours() / 255.0)
    to_2020 = np.linalg.inv(profiles.to_xyz(profiles.PRIMARIES[profiles.BT2020]))
    light = light @ (to_2020 @ profiles.to_xyz(profiles.PRIMARIES[profiles.SRGB])).T
    if transfer == profiles.PQ:
        power = (light * profiles.WHITE / 10_000) ** 0.1593017578125
        values = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        shown = light * profiles.WHITE / profiles.HIGHEST
        luminance = shown @ np.array([0.2627, 0.6780, 0.0593])
        scene = shown * luminance[..., None] ** (1 / 1.2 - 1)
        values = np.where(
            scene <= 1 / 12,
            np.sqrt(3 * scene),
            0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
        )
    return np.round(255 * values).astype(np.uint8)


@pytest.mark.parametrize("transfer", [profiles.PQ, profiles.HLG], ids=["PQ", "HLG"])
@pytest.mark.parametrize("format", ["PNG", "AVIF", "HEIC"])
def test_code_points_of_hdr_are_applied(format: str, transfer: int) -> None:
    values = hdr(transfer)
    assert np.abs(values.astype(int) - colours()).mean() > 10
    if format == "PNG":
        rows = b"".join(b"\0" + row.tobytes() for row in values)
        data = png(64, 48, 8, 2, rows, (b"cICP", bytes([9, transfer, 0, 1])))
    elif format == "AVIF":
        data = imagecodecs.avif_encode(
            values, 100, speed=10, pixelformat="444", primaries=9, transfer=transfer, matrix=9
        )
    else:
        points: dict[str, Any] = {"color_primaries": 9, "transfer_characteristics": transfer}
        data = encoded(values, "HEIF", quality=-1, chroma=444, matrix_coefficients=0, **points)
    pixels = decode(data, LIMITS).pixels
    assert np.abs(pixels.astype(int) - colours()).mean() < 2


@pytest.mark.parametrize(
    ("primaries", "transfer"), [(1, 13), (1, 1), (12, 13), (2, 2), (9, 77), (0, 0), (65535, 65535)]
)
def test_code_points_of_srgb_and_unknown_ones_change_nothing(primaries: int, transfer: int) -> None:
    before = colours()
    after = profiles.convert(before.copy(), {"cicp": (primaries, transfer)})
    np.testing.assert_array_equal(after, before)


def test_light_beyond_white_keeps_its_shape() -> None:
    values = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    shown = profiles.convert(values.copy(), {"cicp": (profiles.BT2020, profiles.PQ)})[0, :, 0].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert shown[0] == 0
    assert 220 <= shown[148] <= 250, "white of 203 nits"
    assert shown[148] < shown[160] < 256


HOSTILE = {
    "no profile": b"not a profile",
    "cut off": PROPHOTO[:200],
    "a header alone": PROPHOTO[:128],
    "of CMYK": icc.profile(icc.PROPHOTO, colours=b"CMYK"),
    "of gray": icc.profile(icc.PROPHOTO, colours=b"GRAY"),
    "longer than the limit": PROPHOTO.ljust(profiles.MOST_BYTES + 1, b"\0"),
    "tags beyond its end": PROPHOTO[:132] + b"\xff" * (len(PROPHOTO) - 132),
    "a billion tags": PROPHOTO[:128] + b"\x3f\xff\xff\xff" + PROPHOTO[132:],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF", "TIFF of 16 bits"])
def test_a_profile_that_cannot_be_applied_costs_no_picture(kind: str, name: str) -> None:
    with_profile = decode(FILES[kind](colours(), HOSTILE[name]), LIMITS).pixels
    np.testing.assert_array_equal(with_profile, decode(FILES[kind](colours(), b""), LIMITS).pixels)


def test_any_bytes_for_a_profile_are_a_profile_or_none_and_soon() -> None:
    rng = random.Random(1)
    before = colours()
    started = time.process_time()
    for _ in range(300):
        damaged = bytearray(PROPHOTO)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(128, len(damaged))] = rng.randrange(256)
        after = profiles.convert(before.copy(), {"icc_profile": bytes(damaged)})
        assert after.shape == before.shape
    assert time.process_time() - started < 10


def test_many_profiles_take_no_memory_for_good() -> None:
    for number in range(100):
        profiles.convert(colours(), {"icc_profile": PROPHOTO + bytes([number])})
    assert profiles._by_icc.cache_info().currsize <= 16
