"""The benchmarks of engines run, and print what they promise: on a portrait, for as short as can be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyraface.core.parameters import SEARCHES
from tests.support import ROOT, environment


@pytest.fixture
def photographs(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A folder with a portrait, so small that it is soon searched, and a file that is none."""
    portrait = tmp_path / "portrait.jpg"
    Image.fromarray(astronaut[41:191, 146:296]).save(portrait)
    (tmp_path / "broken.jpg").write_bytes(portrait.read_bytes()[:100])
    return tmp_path


def printed(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_gpu_measures_tiles_faces_and_photographs(photographs: Path) -> None:
    options = ["--engines", "onnx", "--megapixels", "0.02", "--threads", "1,2", "--seconds", "0.01"]
    table = printed("gpu", str(photographs), *options)
    assert f"1 photographs of {photographs}" in table
    figures = dict(re.findall(r"^\| onnx \| ([^|]+) \| ([0-9.]+)(?: s|/s) \|", table, re.MULTILINE))
    assert {"start", "encoding, 1 at once", "encoding, 32 at once"} < set(figures)
    photographs_in = {name for name in figures if name.startswith("photographs, ")}
    assert {
        f"photographs, {name}, {count} decoding threads" for name in SEARCHES for count in (1, 2)
    } == photographs_in
    assert {name.partition(",")[0] for name in figures if "tiles" in name} == {"tiles of 0.02 Mpx", "YuNet"}
    assert all(float(figure) > 0 for figure in figures.values())


def test_runtime_compares_an_option_alone_and_beside_decoding() -> None:
    table = printed("runtime", "--megapixels", "0.02", "--turns", "1", "--only", "spinning")
    seconds = r"[0-9.]+ / [0-9.]+ s \| [0-9.]+x \([0-9.]+ to [0-9.]+\)"
    assert re.search(
        rf"^\| threads spin while they wait \| {seconds} \| {seconds} \| ([0-9.]+x|-) \|$",
        table,
        re.MULTILINE,
    )


def test_screening_says_what_it_rests_on(photographs: Path) -> None:
    said = printed("screening", str(photographs), "--whole", "1")
    assert re.search(r"^- 1 photographs up to 3.84 Mpx; [1-9][0-9]* scores above 0$", said, re.MULTILINE)
    assert "took to the other side of 0: 0" in said
    assert re.search(r"^- 1 whole photographs: .* faces 1 / 1$", said, re.MULTILINE)


def test_parity_finds_the_same_face_twice(photographs: Path) -> None:
    table = printed("parity", str(photographs), "--engines", "float32,onnx")
    [row] = re.findall(r"^\| \*\*all\*\* \|.*$", table, re.MULTILINE)
    assert row.split(" | ")[1:5] == ["1", "1", "1 / 1", "0 / 0"]
