"""Album: many small pictures, no two alike, made from one portrait: with one face, several or none, and broken files."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

PORTRAIT = (146, 20, 306, 190)
"""The face in scikit-image's astronaut: left, top, right, bottom."""

WITHOUT_FACES = ((330, 0, 512, 180), (0, 0, 140, 200), (0, 330, 180, 512))
"""The shuttle, the flag, the suit."""

BROKEN = 1 / 40
"""Share of the files that are no whole image."""


def make(folder: Path, astronaut: np.ndarray, count: int, seed: int) -> list[Path]:
    """Writes so many images into a new folder and returns their paths; a seed always makes the same ones."""
    chance = random.Random(seed)
    source = Image.fromarray(astronaut)
    folder.mkdir()
    paths = []
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        data = _jpeg(_picture(source, chance), quality=chance.randrange(85, 96), comment=f"{number}")
        if chance.random() < BROKEN:
            data = chance.choice([data[: len(data) // 2], b"", f"no image {number}".encode()])
        path.write_bytes(data)
        paths.append(path)
    return paths


def _picture(source: Image.Image, chance: random.Random) -> Image.Image:
    faces = chance.choices([0, 1, 2, 3], [2, 5, 2, 1])[0]
    if not faces:
        picture = source.crop(chance.choice(WITHOUT_FACES))
    else:
        picture = Image.new("RGB", (faces * 220, 240), tuple(chance.randrange(60, 180) for _ in range(3)))
        for place in range(faces):
            portrait, side = source.crop(_shaken(chance)), chance.randrange(130, 200)
            picture.paste(
                portrait.resize((side, side)),
                (place * 220 + chance.randrange(220 - side), chance.randrange(240 - side)),
            )
    brightness = chance.uniform(0.8, 1.15)
    picture = picture.point([min(255, int(level * brightness)) for level in range(256)] * 3)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if chance.random() < 0.5 else picture


def _shaken(chance: random.Random) -> tuple[int, ...]:
    return tuple(edge + chance.randrange(-8, 9) for edge in PORTRAIT)


def _jpeg(picture: Image.Image, *, quality: int, comment: str) -> bytes:
    """The comment makes no two files the same, even where the pictures are."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, comment=comment)
    return stream.getvalue()
