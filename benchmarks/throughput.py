"""Whole photographs, bytes in and faces out, through the pyramid at the default parameters, with both engines.

    python -m benchmarks.throughput [PHOTO ...] [--height 600 --width 400 --upsample 2 --levels 2]

The engines take turns on every photograph, so that what else the machine does meets both. Prints Markdown.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import platform
import statistics
import sys
from functools import partial
from pathlib import Path

from pyraface.core import parameters
from pyraface.core.pipeline import Pipeline

from .parity import machine, timed, versions


def main() -> None:
    here = Path(__file__).resolve().parent.parent
    default = here.parent / "shared" / "photos" / "deepface_pairs"
    defaults = parameters.DetectionParameters()
    parser = argparse.ArgumentParser(description="Time whole photographs with both engines.")
    parser.add_argument("photos", nargs="*", type=Path, help=f"default: four of {default}")
    for field in dataclasses.fields(defaults):
        parser.add_argument(f"--{field.name}", type=int, default=getattr(defaults, field.name))
    options = parser.parse_args()
    paths = options.photos or sorted(default.rglob("*.jpg"))[:4]
    if not paths:
        parser.error("no photographs")

    detection = parameters.DetectionParameters(
        options.height, options.width, options.upsample, options.levels
    )
    settings = dataclasses.replace(parameters.load(), detection=detection)
    pipelines = {name: Pipeline(settings, name) for name in ("dlib", "onnx")}
    print(f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}; {machine()}\n")
    for pipeline in pipelines.values():
        print(f"- {pipeline.engine.name}: {pipeline.engine.device}; {pipeline.engine.fingerprint}")
    print(f"- {versions('face_recognition', 'numpy', 'Pillow')}; Python {platform.python_version()}")
    print(
        f"- height {detection.height}, width {detection.width}, upsample {detection.upsample}, levels {detection.levels}\n"
    )
    print(
        "| photograph | Mpx | faces dlib / onnx | s dlib | s onnx | ratio |\n|---|--:|--:|--:|--:|--:|",
        flush=True,
    )
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for path in paths:
        image = path.read_bytes()
        faces = {}
        for name, pipeline in pipelines.items():
            duration, faces[name] = timed(partial(pipeline.detect, image))
            seconds[name].append(duration)
        picture = pipelines["onnx"].decode(image)
        counts = f"{len(faces['dlib'])} / {len(faces['onnx'])}"
        slow, fast = seconds["dlib"][-1], seconds["onnx"][-1]
        megapixels = picture.width * picture.height / 1e6
        print(
            f"| {path.name} | {megapixels:.2f} | {counts} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f}x |",
            flush=True,
        )
    rates = {name: len(times) / sum(times) for name, times in seconds.items()}
    ratio = statistics.median(
        slow / fast for slow, fast in zip(seconds["dlib"], seconds["onnx"], strict=True)
    )
    print(f"\nimages/s: dlib {rates['dlib']:.4f}, onnx {rates['onnx']:.3f}; median ratio {ratio:.1f}x")


if __name__ == "__main__":
    sys.exit(main())
