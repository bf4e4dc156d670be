"""Parts of the portrait at which an engine may fail: of odd shapes, zoomed, with the face at an edge, with three faces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

Crop = Callable[[np.ndarray], np.ndarray]

CROPS: dict[str, Crop] = {
    "the portrait": lambda a: a,
    "very wide": lambda a: a[45:175],
    "very tall": lambda a: a[:, 160:271],
    "odd sides": lambda a: a[3:228, 101:334],
    "a face that fills the picture": lambda a: a[62:171, 160:270],
    "a face cut off by the edge": lambda a: a[30:140, 120:250],
    "narrower than a face": lambda a: a[50:190, 185:243],
    "a large face, found at a small size": lambda a: resized(a[35:195, 135:295], 3.1),
    "a larger one, found in the second column": lambda a: resized(a[55:180, 150:275], 5.0),
    "three faces, each of another size": lambda a: three_faces(a),
    "in the middle of nothing": lambda a: np.pad(a[60:175, 155:275], ((90, 70), (250, 40), (0, 0))),
}


def resized(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    size = (round(width * factor), round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def three_faces(astronaut: np.ndarray) -> np.ndarray:
    face = astronaut[40:190, 140:290]
    canvas = np.full((340, 640, 3), 128, np.uint8)
    canvas[:150, :150] = face
    canvas[10:235, 160:385] = resized(face, 1.5)
    canvas[20:335, 325:640] = resized(face, 2.1)[:, ::-1]
    return canvas
