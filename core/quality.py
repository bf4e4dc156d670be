"""Quality: how much a picture shows of a face, and whether the face's encoding is comparable with others.

The encoder returns an ordinary encoding even for a face of a few pixels, a completely blurred face or half a face. Such an
encoding lies somewhere between all people, too far from the same person's good pictures and too near to other bad ones. Four
measures detect it:

- the size of the face in pixels of the photograph limits the detail that can be there;
- its sharpness measures the detail that is there (a photograph that was enlarged, out of focus or smoothed has many pixels
  and little detail);
- the share of its box that lies inside the photograph tells how much of it the edge cuts off;
- the detector's confidence falls where a face is covered, seen from the side or lies on its side, and hardly where it is
  small or blurred.

docs/accuracy.md has the figures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .boxes import Boxes
from .faces import Faces
from .parameters import EncodingParameters

SIDE = 64
"""Pixels to which every face is scaled before it is measured, so that the result depends on the visible detail and not on
the number of pixels. Of the sides from 32 to 150, 64 and 48 predict best how far an encoding is from the sharp face's."""

TAPS = 9
"""Pixels of the filter that blurs again, as published."""

SAMPLES = 3
"""The most pixels of a photograph, in a row, that are sampled for each of these pixels: a face of thousands of pixels takes
no longer than a face of hundreds."""


def measured(faces: Faces, sharpness: NDArray[np.float32], parameters: EncodingParameters) -> Faces:
    """Returns the same faces with their sharpness, and whether they are comparable.

    Args:
        faces: boxes in pixels of the photograph as it came.
        sharpness: (n,) float32, as `sharpness` measures it.
    """
    comparable = (
        (faces.sizes >= parameters.least_size)
        & (sharpness >= parameters.least_sharpness)
        & (faces.inside >= parameters.least_inside)
        # where YuNet decided alone, dlib's network was far from sure; of a given box, no network had to be
        & (
            (faces.detectors == "given")
            | (faces.detectors == "cnn") & (faces.confidences >= parameters.least_confidence)
        )
    )
    return faces.with_quality(sharpness, comparable)


def sharpness(pixels: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.float32]:
    """Returns the sharpness of each face, (n,) float32: 0 for a wall, 0.2 for a blur, 0.4 and more for a face that is clear.

    It is 1 minus the perceptual blur of F. Crete, T. Dolmiere, P. Ladret, M. Nicolas: "The blur effect: perception and
    estimation with a new no-reference perceptual blur metric", SPIE 6492 (2007): a sharp picture loses much of the
    difference between neighbouring pixels when it is blurred, a blurred one has little to lose. Contrast has no
    influence. Noise and the blocks of a JPEG count as detail.

    Args:
        pixels: (height, width, 3) uint8, the upright picture.
        boxes: (n, 4), in pixels of it; rounded to whole pixels, and cut off at its edges.
    """
    return np.array([detail(_gray(pixels, box)) for box in np.rint(boxes).astype(int)], np.float32)


def detail(gray: NDArray[np.float32]) -> float:
    """Returns how sharp a gray picture is, 0 to 1. Of the two directions the blurrier one counts: a hand shakes one way."""
    return min(_lost(gray), _lost(gray.T))


def _gray(pixels: NDArray[np.uint8], box: NDArray[np.int64]) -> NDArray[np.float32]:
    """The face that a box shows, (SIDE, SIDE), gray; the pixel at its corner where the box has none."""
    height, width, _ = pixels.shape
    left, top = np.clip(box[:2], 0, [width - 1, height - 1])
    right, bottom = np.clip(box[2:], [left + 1, top + 1], [width, height])
    step = max(1, min(right - left, bottom - top) // (SIDE * SAMPLES))
    face = Image.fromarray(np.ascontiguousarray(pixels[top:bottom:step, left:right:step]))
    return np.asarray(face.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)


def _lost(gray: NDArray[np.float32]) -> float:
    """The share of the differences down each column that is lost when the column is blurred, 0 to 1."""
    padded = np.pad(gray, ((TAPS // 2 + 1, TAPS // 2), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0, dtype=np.float64)
    blurred = (sums[TAPS:] - sums[:-TAPS]) / TAPS
    differences = np.abs(np.diff(gray, axis=0))
    lost = np.maximum(0, differences - np.abs(np.diff(blurred, axis=0)))
    total = float(differences.sum())
    return float(lost.sum()) / total if total else 0.0
