"""Former fingerprints: those of outputs written before a line said what computed it, for the same search and parameters.

They named the engine, its libraries and its device as well, so that one search had as many of them as there were
installations. The versions that existed are known, and their number does not grow: every fingerprint that a line without
`computed_by` can have for a search is computed here.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Container, Iterator
from dataclasses import replace
from functools import cache, partial

from . import fingerprints
from .engines.network import weights, yunet
from .parameters import SEARCHES, DetectionParameters, EncodingParameters, FusionParameters, SearchName

_DLIB = """
19.24 19.24.0 19.24.1 19.24.2 19.24.4 19.24.5 19.24.6 19.24.8 19.24.9 19.24.99 20.0.0 20.0.1
"""
_ONNX_RUNTIME = """
1.17.0 1.17.1 1.17.3 1.18.0 1.18.1 1.19.0 1.19.2 1.20.0 1.20.1 1.21.0 1.21.1 1.22.0 1.22.1 1.23.0 1.23.1 1.23.2 1.24.1
1.24.2 1.24.3 1.24.4 1.25.0 1.25.1 1.26.0 1.27.0 1.28.0 1.29.0 1.30.0 1.31.0 1.31.1 1.32.0
"""
DLIB, ONNX_RUNTIME = tuple(_DLIB.split()), tuple(_ONNX_RUNTIME.split())
"""The releases on PyPI that the package could be installed with."""


class WithFormer(Container[str]):
    """The fingerprints of servers, and the former ones of the same searches, where the servers have these parameters.

    Args:
        current: of the servers; it may grow.
        faces_from: the side of the smallest face asked for, in pixels; 0: the parameters decide.
    """

    def __init__(
        self,
        current: Container[str],
        detection: DetectionParameters,
        fusion: FusionParameters,
        encoding: EncodingParameters,
        *,
        faces_from: int = 0,
    ) -> None:
        self._current = current
        self._size = fingerprints.from_size("", faces_from)
        self._asked_for = {
            fingerprints.from_size(fingerprints.of(search, detection, fusion, encoding), faces_from): search
            for search in SEARCHES
        }
        self._former = cache(partial(former, detection=detection, fusion=fusion, encoding=encoding))

    def __contains__(self, fingerprint: object) -> bool:
        if fingerprint in self._current:
            return True
        text = str(fingerprint)
        digest = text.removesuffix(self._size)
        return text.endswith(self._size) and any(
            digest in self._former(search)
            for asked_for, search in self._asked_for.items()
            if asked_for in self._current
        )


def former(
    search: SearchName, detection: DetectionParameters, fusion: FusionParameters, encoding: EncodingParameters
) -> frozenset[str]:
    """Returns the former fingerprints of a search with these parameters, for faces of any size."""
    sections = [
        ", ".join(
            part.as_text()
            for part in (replace(detection, search=search, screening=screened), fusion, encoding)
        )
        for screened in (True, False)
    ]
    return frozenset(
        hashlib.sha256(f"({engine}, {parameters})".encode()).hexdigest()[:16]
        for engine in _engines(guided=search != "everywhere")
        for parameters in sections
    )


def _engines(*, guided: bool) -> Iterator[str]:
    """Yields the engine of every installation, as it was written in the text of a fingerprint."""
    digests = (
        bytes.fromhex(weights.SHA256[file])
        for file in (weights.DETECTOR_FILE, weights.ENCODER_FILE, weights.LANDMARKS_FILE)
    )
    files = f"weights {hashlib.sha256(b''.join(digests)).hexdigest()[:16]}"
    for dlib, runtime in itertools.product(DLIB, ONNX_RUNTIME):

        def proposer(kind: str, runtime: str = runtime) -> str:
            yunet_text = f"yunet {yunet.WEIGHTS_SHA256[:16]}, onnxruntime {runtime}, {kind}"
            return f", {yunet_text!r}" if guided else ""

        for kind in ("cpu", "cuda"):
            engine = f"dlib {dlib}, {kind}, {files}"
            yield f"'dlib', {engine!r}{proposer('cpu')}"
        for kind in ("cpu", "cpu, screened in int8", "cuda", "tensorrt"):
            engine = f"onnxruntime {runtime}, dlib {dlib}, {kind}, {files}"
            yield f"'onnx', {engine!r}{proposer(kind.partition(',')[0])}"
