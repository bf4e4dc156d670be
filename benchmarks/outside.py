"""Outside detectors: detectors of other projects, each with the weights in its package.

    PYTHON benchmarks/outside.py mtcnn20|mtcnn10|haar|mediapipe|mediapipe-full

Says {"versions", "threshold"}, or {"absent": why}, in one line. Then it reads the names of .npy files, (h, w, 3) uint8
RGB, one a line, and answers each with {"boxes": [[left, top, right, bottom], ...], "scores": [...]}. It
imports nothing of pyraface: the interpreter need not have it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

Rows = list[tuple[list[float], float]]
"""(left, top, right, bottom) and the score of each face."""

LOWEST = 0.1
"""The score that is asked for where the default is higher, for the curve."""


class Mtcnn:
    """facenet-pytorch's MTCNN on the CPU, its own defaults but for the size and the last threshold."""

    threshold = 0.7

    def __init__(self, smallest: int) -> None:
        from facenet_pytorch import MTCNN

        # the last stage's scores are cut off and then thinned out, the best first: a lower threshold only adds
        self._mtcnn = MTCNN(keep_all=True, min_face_size=smallest, thresholds=[0.6, 0.7, LOWEST])
        self.versions = f"facenet-pytorch {version('facenet-pytorch')}, torch {version('torch')}"

    def __call__(self, pixels: Any) -> Rows:
        from PIL import Image

        boxes, scores = self._mtcnn.detect(Image.fromarray(pixels))
        if boxes is None:
            return []
        return [([float(edge) for edge in box], float(score)) for box, score in zip(boxes, scores)]  # noqa: B905


class Haar:
    """OpenCV's cascade of Haar features, with detectMultiScale's own defaults; scored by the last stage's weight."""

    threshold = float("-inf")

    def __init__(self) -> None:
        import cv2

        name = "haarcascade_frontalface_default.xml"
        if not hasattr(cv2, "CascadeClassifier"):
            raise ImportError(
                f"OpenCV {cv2.__version__} has no cascades: pip install 'opencv-python-headless<5'"
            )
        self._cv2 = cv2
        self._cascade = cv2.CascadeClassifier(os.path.join(cv2.data.haarcascades, name))
        if self._cascade.empty():
            raise ImportError(f"OpenCV {cv2.__version__} carries no {name}")
        self.versions = f"OpenCV {cv2.__version__}"

    def __call__(self, pixels: Any) -> Rows:
        gray = self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2GRAY)
        boxes, _, weights = self._cascade.detectMultiScale3(gray, outputRejectLevels=True)
        return [
            ([float(x), float(y), float(x + w), float(y + h)], float(weight))
            for (x, y, w, h), weight in zip(boxes, np.ravel(weights))  # noqa: B905
        ]


class MediaPipe:
    """BlazeFace as MediaPipe's first API runs it; from 0.10.30 on that API, and the models in the package, are gone."""

    threshold = 0.5

    def __init__(self, model: int) -> None:
        import mediapipe

        if not hasattr(mediapipe, "solutions"):
            raise ImportError(f"mediapipe {version('mediapipe')} carries no model: 0.10.21 did")
        self._detector = mediapipe.solutions.face_detection.FaceDetection(
            min_detection_confidence=LOWEST, model_selection=model
        )
        self.versions = f"mediapipe {version('mediapipe')}"

    def __call__(self, pixels: Any) -> Rows:
        height, width = pixels.shape[:2]
        rows: Rows = []
        for face in self._detector.process(pixels).detections or []:
            box = face.location_data.relative_bounding_box
            left, top = box.xmin * width, box.ymin * height
            corners = [left, top, left + box.width * width, top + box.height * height]
            rows.append((corners, float(face.score[0])))
        return rows


DETECTORS: dict[str, Callable[[], Any]] = {
    "mtcnn20": lambda: Mtcnn(20),
    "mtcnn10": lambda: Mtcnn(10),
    "haar": Haar,
    "mediapipe": lambda: MediaPipe(0),
    "mediapipe-full": lambda: MediaPipe(1),
}


def main() -> None:
    # output of the packages would break the protocol: only this file writes to the real standard output
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values: object) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    try:
        detector = DETECTORS[sys.argv[1]]()
    except ImportError as error:
        answer(absent=str(error))
        return
    answer(versions=detector.versions, threshold=detector.threshold)
    for line in sys.stdin:
        pixels = np.load(line.rstrip("\n"))
        rows = detector(pixels)
        answer(boxes=[box for box, _ in rows], scores=[score for _, score in rows])


if __name__ == "__main__":
    main()
