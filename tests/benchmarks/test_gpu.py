"""benchmarks/gpu.py is there for machines that have a GPU; here it is seen to run, on the CPU."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT, environment


def test_it_measures_tiles_faces_and_photographs(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    (tmp_path / "portrait.jpg").write_bytes(astronaut_jpeg)
    (tmp_path / "broken.jpg").write_bytes(astronaut_jpeg[:100])
    options = ["--engines", "onnx", "--megapixels", "0.02", "--threads", "1,2", "--seconds", "0.01"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", str(tmp_path), *options],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"1 photographs of {tmp_path}" in done.stdout
    figures = dict(re.findall(r"^\| onnx \| ([^|]+) \| ([0-9.]+)(?: s|/s) \|", done.stdout, re.MULTILINE))
    assert {"start", "encoding, 1 at once", "encoding, 32 at once"} < set(figures)
    assert {f"photographs, {count} decoding threads" for count in (1, 2)} < set(figures)
    assert {name.partition(",")[0] for name in figures if "tiles" in name} == {"tiles of 0.02 Mpx"}
    assert all(float(figure) > 0 for figure in figures.values())
