"""Reference face: a drawn face, aligned, whose encoding tells whether a device computes as others do.

It is drawn with whole numbers, so that it is the same on every machine. The encoder answers it as it does a photograph: with
weights rounded to 10, 7 and 4 bits of mantissa the encoding moves by 0.0005, 0.004 and 0.04, that of a photograph by
0.0005, 0.004 and 0.04 (`python -m benchmarks.agreement`, as all figures here).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..faces import ENCODING_LENGTH
from .base import CHIP_SIDE, Pixels

NAMED = 0.02
"""The distance from `ENCODING` above which the user is told. Engines and numbers of threads on a CPU differ by 1e-6; builds
for CUDA were reported to differ by 0.02 to 0.13 (dlib#1485, dlib#1922)."""

REFUSED = 0.2
"""The distance above which a device is not used: more than any working build is known to differ by, less than most faults.
An encoder in which the weights of a layer are zeros or in another order is 0.46 to 0.59 off, with half of a layer's filters
0.31 to 0.49. Two people are told apart at 0.6."""

_NUMBERS = """
-0.0638426 0.0730247 0.0535827 -0.0355222 -0.0766366 -0.0468026 -0.0785459 -0.0661504 0.1323673 0.0150001
0.2043639 -0.0276731 -0.2296495 0.0183497 -0.0163544 0.1284039 -0.1243309 -0.0823787 -0.1400441 -0.0030349
0.0109149 0.0251742 0.0653834 0.0924960 -0.1074692 -0.2476066 -0.1017718 -0.1338079 0.0443780 -0.1275620
-0.0740228 0.0595144 -0.1248101 -0.0333964 0.0727285 0.0154283 -0.0498592 -0.1160196 0.2057166 -0.0301652
-0.2603861 -0.0155607 0.0561858 0.2461079 0.2296972 0.0180057 0.0266562 -0.0538255 0.0449644 -0.2753194
0.0624806 0.1743162 0.0484233 0.0750785 0.0612633 -0.1698804 0.0342990 0.1033392 -0.1827829 -0.0070902
0.0514618 -0.0778613 -0.0574228 -0.0844004 0.2513711 0.1340926 -0.1434115 -0.1785579 0.1585847 -0.1508213
-0.0379481 0.1524469 -0.1703873 -0.1913967 -0.2313616 0.0227992 0.4264517 0.1241693 -0.1505710 0.1283702
-0.1291706 -0.0666294 -0.0742345 0.1014747 -0.0534785 0.0626538 -0.0465517 0.0375178 0.1958225 -0.0802002
0.0351338 0.2144211 0.0132173 -0.0514580 0.0310679 0.0381218 -0.0289763 -0.0513800 -0.1081309 -0.0286549
0.0522883 -0.0537137 0.0045915 0.1107005 -0.2295261 0.1495855 0.0200339 -0.0554357 0.0213200 -0.0193598
-0.0218685 -0.0559370 0.1792679 -0.3234686 0.1754265 0.1493588 0.1236281 0.0743719 -0.0169659 0.0876476
0.0150975 -0.0017692 -0.1607790 -0.0496685 0.0856772 -0.0411245 -0.0084040 0.0423279
"""

ENCODING: NDArray[np.float64] = np.array(_NUMBERS.split(), np.float64)
"""Of `pixels()`, by dlib 20.0.1 on a CPU."""

_SKIN, _HAIR, _WHITE, _PUPIL = (205, 165, 140), (60, 45, 35), (245, 245, 240), (50, 35, 25)

_ELLIPSES = (
    (75, 80, 48, 62, _SKIN),
    (75, 36, 50, 30, _HAIR),
    *((x, 68, 10, 5, _WHITE) for x in (55, 95)),
    *((x, 68, 5, 5, _PUPIL) for x in (55, 95)),
    *((x, 56, 13, 3, _HAIR) for x in (55, 95)),
    (75, 88, 7, 11, (180, 135, 115)),
    (75, 112, 19, 6, (160, 70, 70)),
)
"""From the back to the front: centre, half of the width and of the height, colour."""


def pixels() -> Pixels:
    """Returns the face, (150, 150, 3) uint8, as the encoder takes it."""
    y, x = np.mgrid[0:CHIP_SIDE, 0:CHIP_SIDE].astype(np.int64)
    drawn = np.empty((CHIP_SIDE, CHIP_SIDE, 3), np.int64)
    drawn[:] = (90, 100, 110)
    for left, top, across, down, colour in _ELLIPSES:
        drawn[((x - left) * down) ** 2 + ((y - top) * across) ** 2 <= (across * down) ** 2] = colour
    # light that falls off towards the sides and the chin
    shade = 256 - abs(x - CHIP_SIDE // 2) - y // 3
    face: Pixels = (drawn * shade[:, :, None] // 256).astype(np.uint8)
    return face


def deviation(encoding: NDArray[np.float32]) -> float:
    """Returns the distance of an encoding of the face from the one that it must have.

    Raises:
        EngineError: it is too far to be used, or not a number.
    """
    if encoding.shape != (ENCODING_LENGTH,) or not np.isfinite(encoding).all():
        raise EngineError(
            "it computes no numbers for the reference face: its device or one of its libraries is broken"
        )
    distance = float(np.linalg.norm(encoding - ENCODING))
    if distance > REFUSED:
        raise EngineError(too_far(distance))
    return distance


def too_far(distance: float) -> str:
    """Returns the reason for which a device with this deviation is not used."""
    return (
        f"its encoding of the reference face is {distance:.2f} from face_recognition's, and at most {REFUSED:g} is "
        "allowed: its device or one of its libraries is broken"
    )
