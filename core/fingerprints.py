"""Fingerprint: what was asked for, in 16 hexadecimal digits: the search, its parameters and the weights.

Everything that changes the faces by more than noise is in it, and nothing else: neither the engine nor the device, whose
digits differ (`computed_by`). Results with the fingerprint of this run need not be computed again.

It is computed from parameters and constants alone, so that a client knows it without an engine.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from .engines.network import weights, yunet
from .parameters import DetectionParameters, EncodingParameters, FusionParameters, SearchName

REVISION = 1
"""Number of the way in which images are searched; a change of the code by which faces differ beyond noise raises it."""


def of(
    search: SearchName, detection: DetectionParameters, fusion: FusionParameters, encoding: EncodingParameters
) -> str:
    """Returns the fingerprint of a search with these parameters."""
    # screening in 8-bit integers belongs to the device: an engine without it does the same search
    # of height and width, only the product counts
    detection = replace(
        detection, search=search, screening=True, height=detection.height * detection.width, width=1
    )
    files = [weights.DETECTOR_FILE, weights.ENCODER_FILE, weights.landmarks_file(encoding.landmarks)]
    digests = [weights.SHA256[file] for file in files]
    if search != "everywhere":
        digests.append(yunet.WEIGHTS_SHA256)
    text = [f"revision {REVISION}", *digests, *(part.as_text() for part in (detection, fusion, encoding))]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def of_given(fingerprint: str) -> str:
    """Returns the fingerprint of a result whose boxes were given: it does not stand for a search with `fingerprint`."""
    return f"{fingerprint}-given"


def from_size(fingerprint: str, faces_from: int) -> str:
    """Returns the fingerprint of a search for faces of at least `faces_from` pixels; 0: of the search itself."""
    return f"{fingerprint}-from-{faces_from}" if faces_from else fingerprint
