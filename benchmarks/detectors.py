"""Detectors: the programs compared on photographs with truth: pyraface, ways to use face_recognition, other projects.

dlib's detector is run by pyraface's onnx engine unless told otherwise: it gives dlib's boxes (`benchmarks.parity`), in a
fraction of the time. Therefore the rows "face_recognition" and "original" show the faces of these programs, but not
their speed.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from pyraface import core
from pyraface.core import boxes as geometry
from pyraface.core.engines import Engine, EngineName
from pyraface.core.images.decode import Picture
from pyraface.core.parameters import SEARCHES, Parameters
from pyraface.core.pipeline import Pipeline

from . import original
from .common import packaged_parameters
from .metrics import Found
from .parity import shrunk

OUTSIDE = Path(__file__).with_name("outside.py")
MTCNN = "facenet-pytorch"


class Absent(Exception):
    """A peer cannot run here; the message says what is missing."""


class Detector(Protocol):
    """A detector, and the score from which its own default takes a detection for a face."""

    name: str
    threshold: float
    """Detections below it are asked for only to draw the curve."""
    fingerprint: str
    """Changes whenever the detections may."""

    def detect(self, picture: Picture) -> Found:
        """Returns the faces in a picture, boxes in its pixels."""
        ...


class Ours:
    """pyraface, as it is set. Its time is that of encoding every face, too.

    Args:
        engine: a running engine keeps its threshold; for a name, the parameters set them.
    """

    threshold = -np.inf

    def __init__(self, name: str, parameters: Parameters, engine: EngineName) -> None:
        self.name = name
        self._pipeline = Pipeline(parameters, engine)
        self.fingerprint = f"{self._pipeline.fingerprint} {self._pipeline.computed_by} {_sources()}"

    def detect(self, picture: Picture) -> Found:
        faces = self._pipeline.find(picture)
        return Found(faces.boxes, faces.confidences)


class FaceRecognition:
    """face_recognition.face_locations(image, number_of_times_to_upsample=upsample, model="cnn").

    Args:
        megapixels: the image is shrunk to this first; None: not at all.
    """

    threshold = -np.inf

    def __init__(self, name: str, engine: Engine, upsample: int, megapixels: float | None = None) -> None:
        self.name = name
        self._engine, self._upsample, self._megapixels = engine, upsample, megapixels
        self.fingerprint = f"{engine.libraries}, {engine.processor} {_sources()}"

    def detect(self, picture: Picture) -> Found:
        import dlib

        pixels = shrunk(picture.pixels, self._megapixels) if self._megapixels else picture.pixels
        for _ in range(self._upsample):
            pixels = dlib.resize_image(pixels, 2 * pixels.shape[0], 2 * pixels.shape[1])
        [found] = self._engine.detect([pixels])
        back = np.array([picture.width / pixels.shape[1], picture.height / pixels.shape[0]] * 2, np.float32)
        return Found(found.boxes * back, found.confidences)


class Hog:
    """face_recognition.face_locations(image), its default: dlib's detector on histograms of gradients, upsampled once."""

    threshold = 0.0
    lowest = -1.0
    """The score down to which detections are asked for."""

    def __init__(self, name: str) -> None:
        import dlib

        self.name = name
        self._detector = dlib.get_frontal_face_detector()
        self.fingerprint = f"dlib {version('dlib')}"

    def detect(self, picture: Picture) -> Found:
        rectangles, scores, _ = self._detector.run(picture.pixels, 1, self.lowest)
        boxes = [(each.left(), each.top(), each.right(), each.bottom()) for each in rectangles]
        edges = picture.width, picture.height
        return Found(
            geometry.clip(np.array(boxes, np.float32).reshape(-1, 4), *edges), np.array(scores, np.float32)
        )


class Original:
    """The pyramid and the merge rules of the program that pyraface started from."""

    threshold = -np.inf

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self._engine = engine
        self.fingerprint = f"{engine.libraries}, {engine.processor} {_sources()}"

    def detect(self, picture: Picture) -> Found:
        return original.detect(self._engine, picture.pixels, packaged_parameters().detection)


class Outside:
    """A detector of another project, in an interpreter that has its package.

    Its time is that of handing the picture over, too. The interpreter need not be the one that runs this: their packages ask
    for versions of numpy, Pillow or protobuf that do not go with pyraface's.

    Raises:
        Absent: the interpreter, the package or its weights are missing.
    """

    def __init__(self, name: str, detector: str, python: str) -> None:
        self.name = name
        try:
            self._process = subprocess.Popen(
                [python, str(OUTSIDE), detector],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError as error:
            raise Absent(f"{python} cannot be run: {error}") from error
        hello = self._answer()
        if "absent" in hello:
            self._process.wait()
            raise Absent(str(hello["absent"]))
        self.threshold = float(hello["threshold"])
        self.fingerprint = str(hello["versions"])

    def detect(self, picture: Picture) -> Found:
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file.name, picture.pixels)
            assert self._process.stdin is not None
            self._process.stdin.write(file.name + "\n")
            self._process.stdin.flush()
            answer = self._answer()
        return Found(
            np.array(answer["boxes"], np.float32).reshape(-1, 4), np.array(answer["scores"], np.float32)
        )

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Absent(f"its interpreter ended with {self._process.wait()}")
        answer: dict[str, object] = json.loads(line)
        return answer


@dataclass(frozen=True)
class Offer:
    """A peer that can be asked for by its key. The note stands below the table."""

    key: str
    note: str
    make: Callable[[], Detector]
    """Raises Absent."""


def offers(engine: Engine, pythons: dict[str, str]) -> list[Offer]:
    """Returns every peer there may be.

    Args:
        engine: runs dlib's networks.
        pythons: the interpreter that has a package, by its name: facenet-pytorch, opencv, mediapipe; where it is not
            named, this one.
    """
    detection = packaged_parameters().detection
    budget = detection.height * detection.width / 1e6

    def outside(name: str, package: str, detector: str) -> Callable[[], Detector]:
        return partial(Outside, name, detector, pythons.get(package, sys.executable))

    plain = partial(partial, FaceRecognition)
    return [
        Offer(
            "budget", "600 x 400 pixels", plain("face_recognition, shrunk to the budget", engine, 0, budget)
        ),
        Offer("full", "no upsampling", plain("face_recognition, full size", engine, 0)),
        Offer("upsampled1", "its default of the CNN", plain("face_recognition, upsampled once", engine, 1)),
        Offer("upsampled2", "16 times the pixels", plain("face_recognition, upsampled twice", engine, 2)),
        Offer(
            "hog",
            "its default; upsampled once; on dlib itself",
            partial(Hog, "face_recognition, HOG, upsampled once"),
        ),
        Offer(
            "original",
            "600 x 400, upsample 2, the whole and its quadrants",
            partial(Original, "the original's pyramid and merging", engine),
        ),
        *(
            Offer(
                name,
                "default parameters; its seconds have the encoding of every face in them",
                partial(Ours, f"pyraface, {name}", packaged_parameters(search=name), engine.name),
            )
            for name in SEARCHES
        ),
        Offer("mtcnn20", "min_face_size=20, its default", outside("MTCNN, from 20 px", MTCNN, "mtcnn20")),
        Offer("mtcnn10", "min_face_size=10", outside("MTCNN, from 10 px", MTCNN, "mtcnn10")),
        Offer(
            "haar",
            "haarcascade_frontalface_default; OpenCV 5 has none",
            outside("OpenCV, Haar cascade", "opencv", "haar"),
        ),
        Offer(
            "mediapipe",
            "mediapipe 0.10.21: later releases carry no model",
            outside("MediaPipe, short range", "mediapipe", "mediapipe"),
        ),
        Offer("mediapipe-full", "as above", outside("MediaPipe, full range", "mediapipe", "mediapipe-full")),
    ]


def _sources() -> str:
    """A digest of the code that determines the detections."""
    here = Path(__file__).resolve()
    files = sorted(Path(core.__file__).resolve().parent.rglob("*.py"))
    digest = hashlib.sha256()
    for file in [*files, here, here.with_name("original.py")]:
        digest.update(file.read_bytes())
    return f"{digest.hexdigest()[:12]}, numpy {version('numpy')}, Pillow {version('Pillow')}"
