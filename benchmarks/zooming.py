"""Zooming: the filters that shrink a photograph for the detector, by the faces found and the time taken.

    python -m benchmarks.zooming

Over the photographs of WIDER FACE, shrunk to 0.48 Mpx and searched as one tile; and the processor's time for the tiles that
the default parameters make of a photograph of 36 Mpx.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from pyraface.core import pyramid, resampling
from pyraface.core.engines import Pixels
from pyraface.core.images.decode import decode
from pyraface.core.pipeline import Pipeline

from . import truth
from .accuracy import OVERLAPS
from .common import PACKAGES, machine, packaged_parameters, photos_folder, today, versions, zoomed
from .metrics import Found, summarize

FILTERS = [
    *(("Pillow", name) for name in ("box", "bilinear", "hamming", "bicubic")),
    *(("libvips", name) for name in ("linear", "cubic", "mitchell", "lanczos3")),
]

Shrunk = Callable[[Pixels, tuple[int, int, int, int], tuple[int, int]], Pixels]


def with_pillow(sampling: Image.Resampling) -> Shrunk:
    """Returns what shrinks a part of a picture with one of Pillow's filters."""

    def shrunk(pixels: Pixels, box: tuple[int, int, int, int], size: tuple[int, int]) -> Pixels:
        left, top, right, bottom = box
        return np.asarray(Image.fromarray(pixels[top:bottom, left:right]).resize(size, sampling))

    return shrunk


def main() -> None:
    print(f"{today()}; {machine()}; {versions(*PACKAGES, 'pyvips-binary')}\n")
    parameters = packaged_parameters(search="everywhere")
    detection = dataclasses.replace(parameters.detection, upsample=1, height=300, levels=1, threshold=-0.5)
    pipeline = Pipeline(dataclasses.replace(parameters, detection=detection), "onnx")
    pictures = truth.read(photos_folder() / "wider_face_val_subset")
    large = photos_folder() / "compreface_samples" / "001_A.jpg"
    pixels = decode(large.read_bytes(), parameters.images).pixels
    levels = pyramid.levels(pixels.shape[1], pixels.shape[0], parameters.detection)
    print(
        f"| filter | AP at IoU {OVERLAPS[0]} | faces above 0 | precision above 0 | processor to zoom 36 Mpx |"
    )
    print("|---|--:|--:|--:|--:|")
    by_libvips = resampling._shrunk
    for library, name in FILTERS:
        if library == "Pillow":
            resampling._shrunk = with_pillow(Image.Resampling[name.upper()])
        else:
            resampling._shrunk, resampling.SHRINKING = by_libvips, name
        found = []
        for picture in pictures:
            faces = pipeline.detect(picture.path.read_bytes())
            found.append((picture.truth, Found(faces.boxes, faces.confidences)))
        summary = summarize(found, overlap=OVERLAPS[0], threshold=0.0)
        begin = time.process_time()
        for level in levels:
            for left, top, right, bottom in level.tiles.tolist():
                zoomed(pixels, (left, top, right, bottom), level.size)
        seconds = time.process_time() - begin
        print(
            f"| {library}'s {name} | {summary.average_precision:.4f} | {summary.right} | {summary.precision:.3f} "
            f"| {seconds:.3f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
