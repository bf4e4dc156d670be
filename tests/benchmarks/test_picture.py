"""The README's picture shows what it says, and is what the code draws."""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmarks import picture
from pyraface.core import boxes
from pyraface.core.images.decode import Picture
from tests.support import ROOT


def test_the_picture_of_the_readme_shows_what_the_pipeline_finds() -> None:
    pipeline = picture.pipeline()
    scene = picture.scene()
    candidates = pipeline.search().candidates(scene)
    assert [int((candidates.levels == level).sum()) for level in (0, 1)] == [7, 18]
    assert len(pipeline.find(Picture.whole(scene))) == len(picture.PLACES) == 13
    # what all of level 1 is fused to: the 7 of level 0 among them
    seen = boxes.iou(candidates.boxes[candidates.levels == 0], candidates.boxes[candidates.levels == 1])
    assert (seen.max(axis=1) > 0.5).all()

    file = ROOT / "docs" / "pyramid.png"
    assert "](docs/pyramid.png)" in (ROOT / "README.md").read_text()
    assert file.stat().st_size < 300_000
    with Image.open(file) as kept:
        drawn = picture.draw(scene, pipeline)
        assert kept.size == drawn.size
        apart = np.abs(np.asarray(kept.convert("RGB"), int) - np.asarray(drawn, int))
    # fewer colours, and another font or another pixel of a line on another machine
    assert (apart.max(axis=2) > 60).mean() < 0.01
