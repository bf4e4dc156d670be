"""Accuracy: the true faces that are found in photographs, and the false ones, by pyraface and other detectors in one run.

    python -m benchmarks.accuracy [TRUTH] [--every N] [--peers everywhere,full,...] [--parameters FILE.xml ...]
                                  [--python mediapipe=PYTHON ...] [--cache FOLDER] [--markdown FILE] [--plot FILE.png]

TRUTH is a file, or a folder with one: WIDER FACE's text, imglab's XML or a CSV (`benchmarks.truth`). `benchmarks.metrics`
defines a right detection, `benchmarks.detectors` the detectors; a detector whose package is not installed is marked absent
(`pip install -e '.[accuracy]'`). MediaPipe needs a separate virtual environment, because it requires an older numpy:

    python3 -m venv MEDIAPIPE && MEDIAPIPE/bin/pip install mediapipe==0.10.21

With --cache, detections are kept in one file per detector; only missing detections, and those by other code, are
computed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from pyraface.core import parameters
from pyraface.core.engines import EngineOptions, start
from pyraface.core.errors import ImageError, ParametersError
from pyraface.core.images.decode import Picture as Pixels
from pyraface.core.images.decode import decode

from . import drawings
from . import truth as truths
from .common import PACKAGES, machine, timed, today, versions
from .detectors import Absent, Detector, Offer, Ours, Outside, offers
from .metrics import SIZES, SMALLEST_FACE, Found, Summary, summarize
from .truth import Picture, TruthError

OVERLAPS = (0.4, 0.5)
"""Intersections over union. WIDER FACE asks for 0.5. Its true boxes are a quarter higher than wide and dlib's are squares,
so 0.4 is nearer to the question whether the face was found."""


@dataclass
class Results:
    """The detections of one peer by the picture's name, and the time they took."""

    name: str
    note: str
    threshold: float
    found: dict[str, Found] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Cache:
    """Detections of one peer in a file: a line that names the peer, then a line an image."""

    def __init__(self, file: Path, fingerprint: str) -> None:
        self._file = file
        self._whose = {"fingerprint": fingerprint}
        self.lines: dict[str, dict[str, object]] = {}
        if file.is_file():
            whose, *lines = file.read_text().splitlines() or ["{}"]
            if json.loads(whose) == self._whose:
                self.lines = {line["image"]: line for line in map(json.loads, lines)}
                return
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self._whose) + "\n")

    def get(self, image: str) -> tuple[Found, float] | None:
        line = self.lines.get(image)
        if line is None:
            return None
        boxes = np.array(line["boxes"], np.float32).reshape(-1, 4)
        return Found(boxes, np.array(line["scores"], np.float32)), float(str(line["seconds"]))

    def put(self, image: str, found: Found, seconds: float) -> None:
        line = {"image": image, "seconds": seconds}
        line |= {"boxes": found.boxes.tolist(), "scores": found.scores.tolist()}
        with self._file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def run(
    pictures: list[Picture], peers: list[tuple[Offer, Detector]], cache: Path | None
) -> tuple[list[Results], list[str]]:
    """Returns every peer's detections, and the pictures that cannot be read. The peers take turns, picture by picture."""
    results = [Results(peer.name, offer.note, peer.threshold) for offer, peer in peers]
    caches = [
        Cache(cache / f"{offer.key}.jsonl", f"{peer.name}: {peer.fingerprint}") if cache else None
        for offer, peer in peers
    ]
    unreadable: list[str] = []
    warm = set[str]()
    for number, picture in enumerate(pictures, 1):
        print(f"\r\x1b[K{number}/{len(pictures)} {picture.name}", end="", file=sys.stderr, flush=True)
        pixels: Pixels | None = None
        for (_, peer), result, kept in zip(peers, results, caches, strict=True):
            known = kept.get(picture.name) if kept else None
            if known is None:
                try:
                    pixels = pixels or decode(picture.path.read_bytes(), parameters.ImageLimits())
                except ImageError as error:
                    unreadable.append(f"{picture.name}: {error}")
                    break
                if peer.name not in warm:
                    peer.detect(pixels)  # work that happens only once is not measured
                    warm.add(peer.name)
                seconds, found = timed(partial(peer.detect, pixels))
                known = found, seconds
                if kept:
                    kept.put(picture.name, found, seconds)
            result.found[picture.name], result.seconds[picture.name] = known
    print(file=sys.stderr)
    return results, unreadable


def overall(pictures: list[Picture], results: list[Results]) -> Iterator[str]:
    """Yields the table of all sizes together."""
    low, high = OVERLAPS
    yield (
        f"| | AP at IoU {low} | AP at {high} | recall at {low} | at {high} | precision at {low} | at {high} | duplicates an "
        "image | false positives an image | seconds an image |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for result in results:
        at = [_summary(pictures, result, overlap) for overlap in OVERLAPS]
        cells = [
            *(_figure(each.average_precision) for each in at),
            *(_figure(each.recall) for each in at),
            *(_figure(each.precision) for each in at),
            f"{at[0].duplicates / at[0].images:.2f}",
            f"{at[0].wrong / at[0].images:.2f}",
            f"{np.median(list(result.seconds.values())):.2f}",
        ]
        yield f"| {result.name} | {' | '.join(cells)} |"


def by_size(pictures: list[Picture], results: list[Results], overlap: float) -> Iterator[str]:
    """Yields the table of recall and average precision by the size of the true face."""
    names = [f"{low:g} px and more" if np.isinf(high) else f"{low:g} to {high:g} px" for low, high in SIZES]
    counts = [_summary(pictures, results[0], overlap, span).faces for span in SIZES]
    heads = [f"{name} ({count} faces)" for name, count in zip(names, counts, strict=True)]
    yield f"| recall / AP at IoU {overlap} | {' | '.join(heads)} |"
    yield f"|---|{'--:|' * len(SIZES)}"
    for result in results:
        cells = [
            f"{_figure(each.recall)} / {_figure(each.average_precision)}"
            for each in (_summary(pictures, result, overlap, span) for span in SIZES)
        ]
        yield f"| {result.name} | {' | '.join(cells)} |"


def report(
    pictures: list[Picture], results: list[Results], unreadable: list[str], absent: list[str], head: str
) -> Iterator[str]:
    """Yields the lines of the report, as Markdown."""
    faces = _summary(pictures, results[0], OVERLAPS[0]).faces
    yield head
    yield ""
    yield (
        f"{len(pictures)} pictures with {faces} faces of {SMALLEST_FACE} px and more; a size is a box's shorter side. "
        "Smaller and invalid ones are ignored. Recall, precision, duplicates and false positives are at each detector's own "
        "default threshold. Seconds are the median, without decoding; other projects' hold the way to their process, too."
    )
    yield ""
    yield from overall(pictures, results)
    for overlap in OVERLAPS:
        yield ""
        yield from by_size(pictures, results, overlap)
    yield ""
    for result in results:
        yield f"- {result.name}: {result.note}"
    yield from (f"- absent: {line}" for line in absent)
    yield from (f"- not read: {line}" for line in unreadable)


def drawn(pictures: list[Picture], results: list[Results]) -> Iterator[drawings.Series]:
    """Yields the curve of each detector."""
    for result in results:
        summary = _summary(pictures, result, OVERLAPS[0])
        name = f"{result.name} ({_figure(summary.average_precision)})"
        yield drawings.Series(name, summary.curve, (summary.recall, summary.precision))


def _summary(
    pictures: list[Picture],
    result: Results,
    overlap: float,
    span: tuple[float, float] = (SMALLEST_FACE, np.inf),
) -> Summary:
    pairs = [(picture.truth, result.found[picture.name]) for picture in pictures]
    return summarize(pairs, overlap=overlap, threshold=result.threshold, span=span)


def _figure(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=(__doc__ or "").partition("\n")[0]
    )
    truths.add_arguments(parser)
    parser.add_argument("--peers", help="the detectors, separated by commas (default: all)")
    parser.add_argument(
        "--parameters", type=Path, action="append", default=[], help="add pyraface with this parameters.xml"
    )
    parser.add_argument(
        "--engine", choices=["onnx", "dlib"], default="onnx", help="the engine for dlib's networks"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the onnx engine; 0: one for each core"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PACKAGE=PYTHON",
        help="the interpreter with this package",
    )
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep detections in this folder")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the curves to this file (needs matplotlib)"
    )
    options = parser.parse_args()
    if unclear := [text for text in options.python if "=" not in text]:
        parser.error(f"--python takes PACKAGE=PYTHON, not {unclear[0]}")

    engine = start(options.engine, EngineOptions(threads=options.threads))
    offered = offers(engine, dict(text.split("=", 1) for text in options.python))
    wanted = options.peers.split(",") if options.peers else [offer.key for offer in offered]
    if unknown := set(wanted) - {offer.key for offer in offered}:
        known = ", ".join(offer.key for offer in offered)
        parser.error(f"no such peers: {', '.join(sorted(unknown))}; there are {known}")
    chosen = [offer for offer in offered if offer.key in wanted]
    try:
        pictures = truths.chosen(options)
        for file in options.parameters:
            set_as = parameters.load(file)
            name = f"pyraface, {file.stem}"
            note = f"the parameters of {file.name}"
            if options.threads:
                daemon = replace(set_as.daemon, engine_threads=options.threads)
                set_as = replace(set_as, daemon=daemon)
            # a separate engine: threshold and the way faces are encoded belong to the engine
            chosen.append(Offer(f"ours-{file.stem}", note, partial(Ours, name, set_as, options.engine)))
    except (TruthError, ParametersError) as error:
        parser.error(str(error))

    peers: list[tuple[Offer, Detector]] = []
    absent: list[str] = []
    for offer in chosen:
        try:
            peers.append((offer, offer.make()))
        except Absent as error:
            absent.append(f"{offer.key} ({error})")
    if not peers:
        parser.error(f"none of the peers is there: {'; '.join(absent)}")

    results, unreadable = run(pictures, peers, options.cache)
    # a picture that one detector cannot read counts against none
    pictures = [picture for picture in pictures if all(picture.name in each.found for each in results)]
    if not pictures:
        parser.error(f"no picture of {options.truth} can be read: {'; '.join(unreadable)}")
    others = [peer.fingerprint for _, peer in peers if isinstance(peer, Outside)]
    head = f"{today()}; {machine()}; {versions(*PACKAGES)}"
    head = "; ".join([head, f"engine {engine.name}", *dict.fromkeys(others)])
    lines = list(report(pictures, results, unreadable, absent, head))
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")
    if options.plot:
        title = f"{len(pictures)} photographs, IoU {OVERLAPS[0]} (average precision)"
        drawings.curves(list(drawn(pictures, results)), options.plot, title)


if __name__ == "__main__":
    main()
