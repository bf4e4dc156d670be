"""Profiles: colours far from sRGB converted to it, from an ICC profile or from the code points of ITU-T H.273.

Networks were trained on sRGB. In a picture of another space that is taken for sRGB, fewer faces are found, and their
encodings are off: with P3 and Adobe RGB no more than after the picture was saved once more as a JPEG, with ProPhoto RGB, PQ
and HLG by more (docs/formats.md). So these are converted, and pictures in sRGB, P3 and Adobe RGB stay as they are. A profile
that is damaged, too large or not one of RGB is ignored: it costs no picture.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]
Values = NDArray[Any]

Conversion = Callable[[Pixels], Pixels]
"""From colours, (n, m, 3) uint8, to the same in sRGB."""

MOST_BYTES = 1 << 16
"""Limit on an ICC profile. Those of cameras and programs have 500 bytes to 60 KB; a longer one may hold so many curves that
a thread would be busy for minutes."""

FAR = 10.0
"""Mean difference from sRGB, of 255, of muted colours in a space that is converted. P3 has 5, Adobe RGB 8, ProPhoto 21."""

STRIP_PIXELS = 1 << 18
"""Pixels converted at a time: some 15 MB."""

SRGB, BT2020, P3 = 1, 9, 12
"""Code points of primaries (ITU-T H.273, table 2)."""

PRIMARIES = {
    SRGB: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
D65 = (0.3127, 0.3290)

PQ, HLG = 16, 18
_LIKE_SRGB = (1, 6, 13, 14, 15)
"""Code points of transfer characteristics (table 3). Programs show those of television as if they were that of sRGB."""

WHITE = 203.0
"""Candelas per square metre of white paper in HDR (ITU-R BT.2408): white in sRGB."""

HIGHEST = 1000.0
"""Candelas per square metre of the brightest light on the screen that HLG is meant for (ITU-R BT.2100)."""

KNEE = 0.8
"""Share of white above which light is compressed, so that what is brighter than white keeps its shape."""

_BRIGHTEST, _STEPS = 2.0, 1 << 15
"""Range and length of the table from light to sRGB; light of twice white is white there."""


def convert(pixels: Pixels, info: Mapping[str | tuple[int, int], object]) -> Pixels:
    """Returns the pixels, (height, width, 3) uint8, converted where they have to be, by strips; in place if allowed.

    Args:
        info: `icc_profile`, an ICC profile; where there is none, `cicp`, its (primaries, transfer) as code points.
    """
    profile, points = info.get("icc_profile"), info.get("cicp")
    to_srgb = None
    if isinstance(profile, bytes) and profile:
        to_srgb = _by_icc(profile)
    elif isinstance(points, tuple):
        to_srgb = _by_code_points(*points)
    if to_srgb is not None:
        if not pixels.flags.writeable:  # a decoder's own
            pixels = pixels.copy()
        rows = max(1, STRIP_PIXELS // pixels.shape[1])
        for top in range(0, len(pixels), rows):
            pixels[top : top + rows] = to_srgb(pixels[top : top + rows])
    return pixels


def code_points(data: bytes) -> tuple[int, int] | None:
    """Returns (primaries, transfer) from the container of a HEIC or an AVIF (ISO 14496-12, 12.1.5); None if it has none."""
    at = data.find(b"colrnclx", 0, MOST_BYTES)
    if at < 0 or len(data) < at + 12:
        return None
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    return primaries, transfer


@functools.lru_cache(maxsize=16)
def _by_icc(profile: bytes) -> Conversion | None:
    if len(profile) > MOST_BYTES or profile[16:20] != b"RGB " or profile[36:40] != b"acsp":
        return None
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            *("RGB", "RGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )

        def to_srgb(pixels: Pixels) -> Pixels:
            return np.array(ImageCms.applyTransform(Image.fromarray(pixels), transform), np.uint8)

        return to_srgb if _is_far(to_srgb) else None
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):  # damaged
        return None


@functools.lru_cache(maxsize=16)
def _by_code_points(primaries: int, transfer: int) -> Conversion | None:
    if transfer not in (*_LIKE_SRGB, PQ, HLG) or primaries not in PRIMARIES:
        return None
    values = np.linspace(0, 1, 256)
    decode = {PQ: _from_pq, HLG: _from_hlg}.get(transfer, _from_srgb)
    light_of = decode(values).astype(np.float32)
    matrix = np.linalg.inv(to_xyz(PRIMARIES[SRGB])) @ to_xyz(PRIMARIES[primaries])
    matrix = matrix.T.astype(np.float32)
    light = np.linspace(0, _BRIGHTEST, _STEPS)
    if transfer in (PQ, HLG):
        room = 1 - KNEE
        light = np.where(light > KNEE, KNEE + room * (1 - np.exp((KNEE - light) / room)), light)
    shown = np.round(255 * _srgb(np.clip(light, 0, 1))).astype(np.uint8)
    luminance = to_xyz(PRIMARIES[primaries])[1].astype(np.float32)

    def to_srgb(pixels: Pixels) -> Pixels:
        light = light_of[pixels]
        if transfer == HLG:  # the screen's own contrast (BT.2100, table 5)
            light *= HIGHEST / WHITE * (light @ luminance)[..., None] ** 0.2
        steps = (light @ matrix) * ((_STEPS - 1) / _BRIGHTEST) + 0.5
        return np.asarray(shown[np.clip(steps, 0, _STEPS - 1).astype(np.uint16)])

    return to_srgb if _is_far(to_srgb) else None


def _is_far(to_srgb: Conversion) -> bool:
    """Returns whether a conversion changes muted colours so much that faces are lost without it."""
    steps = [np.arange(0, 256, 17, dtype=np.uint8)] * 3
    colours = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 3)
    muted = colours[np.ptp(colours, axis=1) <= 85][None]
    return float(np.abs(to_srgb(muted).astype(int) - muted).mean()) > FAR


def to_xyz(primaries: tuple[tuple[float, float], ...], white: tuple[float, float] = D65) -> Values:
    """Returns the (3, 3) matrix from the light of three primaries, which make white, all as (x, y), to CIE XYZ."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in (*primaries, white)]).T
    return np.asarray(columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3]))


def _srgb(light: Values) -> Values:
    """IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-4) ** (1 / 2.4) - 0.055)


def _from_srgb(values: Values) -> Values:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _from_pq(values: Values) -> Values:
    """SMPTE ST 2084; 1 is white."""
    power = values ** (1 / 78.84375)
    light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return np.asarray(10_000 / WHITE * light)


def _from_hlg(values: Values) -> Values:
    """ITU-R BT.2100, table 5: light of the scene, at most 1."""
    bright = (np.exp((values - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(values <= 0.5, values**2 / 3, bright)
