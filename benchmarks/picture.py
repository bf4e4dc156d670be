"""Picture: a drawing for the README of the faces that each level of the pyramid finds, and of their fusion.

    python -m benchmarks.picture [FILE.png]

The scene is made of scikit-image's astronaut: Eileen Collins, a portrait by NASA in the public domain. The boxes are the
pipeline's results, at a small budget.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from pyraface.core import pyramid
from pyraface.core.faces import Faces
from pyraface.core.images.decode import Picture
from pyraface.core.pipeline import Pipeline

from .common import searching

WIDTH, HEIGHT = 1500, 1000
HEAD = (85, 0, 365, 280)
"""Head and shoulders in the portrait; the face is a third of that."""
PLACES = (
    *((30 + 245 * column, 60 + 20 * (column % 2), 195) for column in range(6)),
    *((120 + 345 * column, 345 + 25 * (column % 2), 260) for column in range(4)),
    *((150 + 440 * column, 660, 330) for column in range(3)),
)
"""left, top and side of each head in the scene: three rows of a group."""
PANEL = (500, 333)
LEVELS = ("#ffb000", "#00c2ff")
FUSED = "#34d058"
COLOURS = 192


def scene() -> NDArray[np.uint8]:
    """Returns the heads before a plain wall, (HEIGHT, WIDTH, 3)."""
    portrait = Image.fromarray(data.astronaut()).crop(HEAD)
    wall = Image.new("RGB", (WIDTH, HEIGHT), (96, 98, 104))
    for left, top, side in PLACES:
        wall.paste(portrait.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    return np.asarray(wall)


def pipeline() -> Pipeline:
    """Returns the one that draws: a third of the default budget, so that level 0 does not find the small ones."""
    return searching("everywhere", height=600, width=500, upsample=1, levels=2)


def draw(pixels: NDArray[np.uint8], pipeline: Pipeline) -> Image.Image:
    """Returns the three panels side by side: level 0, level 1, all of it fused."""
    candidates = pipeline.search().candidates(pixels)
    levels = pyramid.levels(WIDTH, HEIGHT, pipeline.parameters.detection)
    sheet = Image.new("RGB", (3 * PANEL[0] + 20, PANEL[1] + 34), "white")
    for index, level in enumerate(levels[:2]):
        found = candidates[candidates.levels == level.index]
        where = f"{len(level.tiles)} tiles that overlap" if index else "the whole"
        title = f"level {level.index}: {where}, faces from {pyramid.DETECTOR_WINDOW / min(level.zoom):.0f} px"
        panel = _panel(pixels, level.tiles.astype(np.float32) if index else None, found, LEVELS[index])
        _place(sheet, index, panel, f"{title}: {len(found)} boxes")
    faces = pipeline.find(Picture.whole(pixels))
    _place(sheet, 2, _panel(pixels, None, faces, FUSED), f"fused: {len(faces)} faces, each once")
    return sheet


def _panel(
    pixels: NDArray[np.uint8], tiles: NDArray[np.float32] | None, faces: Faces, colour: str
) -> Image.Image:
    panel = Image.fromarray(pixels).resize(PANEL, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(panel, "RGBA")
    scale = PANEL[0] / WIDTH
    for left, top, right, bottom in [] if tiles is None else (tiles * scale).tolist():
        pen.rectangle(
            (left, top, right - 1, bottom - 1),
            fill=(255, 255, 255, 26),
            outline=(255, 255, 255, 200),
            width=1,
        )
    for box in (faces.boxes * scale).tolist():
        pen.rectangle(tuple(box), outline=colour, width=3)
    return panel


def _place(sheet: Image.Image, index: int, panel: Image.Image, title: str) -> None:
    left = index * (PANEL[0] + 10)
    sheet.paste(panel, (left, 34))
    ImageDraw.Draw(sheet).text((left, 8), title, "black", ImageFont.load_default(16))


def main() -> None:
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pyramid.png")
    sheet = draw(scene(), pipeline())
    sheet.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
