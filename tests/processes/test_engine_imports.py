"""Engines: what a fresh process imports for one, and what it says where that is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("pkg_resources", "setuptools<81"),
        ("face_recognition", "pip install dlib face_recognition"),
        ("dlib", "pip install dlib face_recognition"),
    ],
)
def test_what_is_not_installed_is_named_and_nothing_is_printed(missing: str, advice: str) -> None:
    program = f"""
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from pyraface.core.engines import start
from pyraface.core.errors import EngineError
try:
    start("dlib")
except EngineError as error:
    sys.exit(f"EngineError: {{error}}")
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.stderr.startswith("EngineError: ")
    assert missing in ran.stderr
    assert advice in ran.stderr
    assert ran.stdout == ""


def test_face_recognition_is_not_imported() -> None:
    """Importing it would load every model it has, 100 MB of them for nothing."""
    program = (
        "import sys; from pyraface.core.engines import EngineOptions, start; start('onnx', EngineOptions(threads=1));"
        "sys.exit('face_recognition' in sys.modules or 'face_recognition_models' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
