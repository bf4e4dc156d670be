"""ICC profiles of colour spaces, written here: small ones of version 2 with three primaries and one curve."""

from __future__ import annotations

import struct

import numpy as np

from pyraface.core.images import profiles

D50 = (0.3457, 0.3585)
SRGB = (profiles.PRIMARIES[profiles.SRGB], 2.2, profiles.D65)
P3 = (profiles.PRIMARIES[profiles.P3], 2.2, profiles.D65)
ADOBE = (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256, profiles.D65)
PROPHOTO = (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), 1.8, D50)

Space = tuple[tuple[tuple[float, float], ...], float, tuple[float, float]]
"""Primaries, the exponent of the curve, and the white point."""


def profile(space: Space, *, colours: bytes = b"RGB ") -> bytes:
    """Returns the profile of a colour space (ICC.1:2001-04)."""
    primaries, gamma, white = space
    matrix = _to_d50(white) @ profiles.to_xyz(primaries, white)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = [(name, _xyz(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)]
    tags += [(b"wtpt", _xyz(np.array([0.9642, 1.0, 0.8249])))]
    tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags:
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    header = struct.pack(">I", start + len(body)) + bytes(4) + struct.pack(">I", 0x02400000)
    header += b"mntr" + colours + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3I", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + body


def in_space(srgb: np.ndarray, space: Space) -> np.ndarray:
    """Returns sRGB colours, uint8, with the values that they have in another space."""
    primaries, gamma, white = space
    values = srgb / 255.0
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_pcs = _to_d50(profiles.D65) @ profiles.to_xyz(profiles.PRIMARIES[profiles.SRGB])
    light = light @ (np.linalg.inv(_to_d50(white) @ profiles.to_xyz(primaries, white)) @ to_pcs).T
    return np.round(255 * np.clip(light, 0, 1) ** (1 / gamma)).astype(np.uint8)


def _to_d50(white: tuple[float, float]) -> np.ndarray:
    """Returns the matrix that adapts CIE XYZ to the white of profiles (ICC.1:2001-04, annex E; Bradford)."""
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    one, other = (cone @ [x / y, 1, (1 - x - y) / y] for x, y in (D50, white))
    return np.asarray(np.linalg.inv(cone) @ np.diag(one / other) @ cone)


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))
