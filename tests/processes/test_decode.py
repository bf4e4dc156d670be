"""Decoding: the memory that it takes, and what it imports, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.core.images.files import BOMBS, Pixels, encoded, exif
from tests.support import ROOT

MEASURE = """
import importlib, resource, sys
from pyraface.core.errors import ImageError
from pyraface.core.images.decode import claim_pillow, decode
from pyraface.core.images.formats import FORMATS
from pyraface.core.parameters import ImageLimits
if sys.argv[1] == "claim":
    claim_pillow(ImageLimits())
for module, _ in FORMATS.values():
    importlib.import_module(module)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        decode(data, ImageLimits())
    except ImageError:
        print("refused", file=sys.stderr)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ru_maxrss is counted otherwise")


def peak(*paths: Path, claim: bool = False) -> tuple[int, int]:
    """Returns (bytes of memory that a process takes at most to decode these files, files refused)."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "claim" if claim else "", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout), done.stderr.count("refused")


@on_linux
@pytest.mark.parametrize("claim", [False, True])
def test_what_is_too_large_takes_no_memory(claim: bool, tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(len(BOMBS))]
    for path, data in zip(paths, BOMBS.values(), strict=True):
        path.write_bytes(data)
    taken, refused = peak(*paths, claim=claim)
    assert refused == len(BOMBS)
    assert taken < 20e6


@on_linux
@pytest.mark.parametrize("orientation", [1, 6])
def test_decoding_takes_little_more_than_the_picture_and_the_result(
    orientation: int, portrait: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    large = np.tile(portrait, (16, 25, 1))
    path.write_bytes(encoded(large, "JPEG", exif=exif(orientation)))
    taken, refused = peak(path)
    assert refused == 0
    assert taken < 7.9 * large.shape[0] * large.shape[1]


def test_nothing_is_imported_for_formats_that_do_not_come(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    path = tmp_path / "astronaut.jpg"
    path.write_bytes(astronaut_jpeg)
    code = (
        "import sys; from pyraface.core.images.decode import decode; from pyraface.core.parameters import ImageLimits\n"
        "with open(sys.argv[1], 'rb') as stream: decode(stream.read(), ImageLimits())\n"
        "print(*sorted(name for name in sys.modules if 'ImagePlugin' in name or name == 'pillow_heif'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {
        "PIL.JpegImagePlugin",
        "PIL.TiffImagePlugin",
    }  # it reads EXIF with the latter
