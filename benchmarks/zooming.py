"""Which filter shrinks a photograph for the detector: what each finds, and what it takes.

    python -m benchmarks.zooming

Over the photographs of WIDER FACE, shrunk to 0.48 Mpx and searched as one tile; and the processor's time for the tiles that
the default parameters make of a photograph of 36 Mpx.
"""

from __future__ import annotations

import dataclasses
import time

from PIL import Image

from pyraface.core import images, pyramid, scaling
from pyraface.core.pipeline import Pipeline

from . import truth
from .accuracy import OVERLAPS
from .common import PACKAGES, machine, packaged_parameters, photos_folder, today, versions
from .metrics import Found, summarize

REACHES = {
    Image.Resampling.BOX: 0.5,
    Image.Resampling.BILINEAR: 1.0,
    Image.Resampling.HAMMING: 1.0,
    Image.Resampling.BICUBIC: 2.0,
    Image.Resampling.LANCZOS: 3.0,
}
"""How many pixels of the result each filter sees to a side (Pillow's Resample.c)."""


def main() -> None:
    print(f"{today()}; {machine()}; {versions(*PACKAGES)}\n")
    parameters = packaged_parameters()
    detection = dataclasses.replace(parameters.detection, upsample=1, height=300, levels=1, threshold=-0.5)
    pipeline = Pipeline(dataclasses.replace(parameters, detection=detection), "onnx")
    pictures = truth.read(photos_folder() / "wider_face_val_subset")
    large = photos_folder() / "compreface_samples" / "001_A.jpg"
    pixels = images.decode(large.read_bytes(), parameters.images).pixels
    levels = pyramid.levels(pixels.shape[1], pixels.shape[0], parameters.detection)
    print(
        f"| filter | AP at IoU {OVERLAPS[0]} | faces above 0 | precision above 0 | seconds to zoom 36 Mpx |"
    )
    print("|---|--:|--:|--:|--:|")
    for sampling, reach in REACHES.items():
        scaling.SHRINKING = (sampling, reach)
        found = []
        for picture in pictures:
            faces = pipeline.detect(picture.path.read_bytes())
            found.append((picture.truth, Found(faces.boxes, faces.confidences)))
        summary = summarize(found, overlap=OVERLAPS[0], threshold=0.0)
        begin = time.process_time()
        for level in levels:
            for left, top, right, bottom in level.tiles.tolist():
                scaling.resample(pixels, (left, top, right, bottom), level.size)
        seconds = time.process_time() - begin
        print(
            f"| {sampling.name.lower()} | {summary.average_precision:.4f} | {summary.right} | {summary.precision:.3f} "
            f"| {seconds:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
