"""Formats that a package reads: a confined worker reads them where it is installed, and other servers' images go there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.images import raw_files
from tests.core.images.files import stored
from tests.support import ROOT, DaemonProcess, parameters_xml, pyraface

rawpy = pytest.importorskip("rawpy", reason="rawpy is not installed: pip install '.[test]'")
imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed: pip install '.[test]'")

SIDE = 512


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """One photograph, of which each raw file and the JPEG XL shows the middle."""
    place = tmp_path_factory.mktemp("formats")
    wide = np.zeros((SIDE, SIDE * 3 // 2, 3), np.uint8)
    wide[:, SIDE // 4 : SIDE // 4 + SIDE] = astronaut
    picture = Image.fromarray(wide)
    upright = np.asarray(picture.resize((raw_files.WIDTH, raw_files.HEIGHT)))
    turned = np.asarray(picture.resize((raw_files.HEIGHT, raw_files.WIDTH)))
    for kind, make in raw_files.MAKERS.items():
        (place / f"IMG_1.{kind}").write_bytes(make(raw_files.jpeg(upright), 1))
        (place / f"IMG_6.{kind}").write_bytes(make(raw_files.jpeg(stored(turned, 6)), 6))
    (place / "IMG_1.jxl").write_bytes(imagecodecs.jpegxl_encode(upright, level=95))
    stream = io.BytesIO()
    Image.fromarray(upright).save(stream, "JPEG", quality=95)
    (place / "IMG_1.jpg").write_bytes(stream.getvalue())
    return place


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[dict[str, DaemonProcess]]:
    """Two servers; on one of them, no package is installed."""
    without = tmp_path / "without"
    without.mkdir()
    for package in ("rawpy", "imagecodecs"):
        (without / f"{package}.py").write_text("raise ImportError('not installed')\n")
    with ExitStack() as stack:
        found = {}
        for name, variables in (("attic", {}), ("cellar", {"PYTHONPATH": f"{without}:{ROOT}"})):
            file = tmp_path / f"{name}.xml"
            file.write_text(parameters_xml(name=name, search="guided"))
            found[name] = DaemonProcess(
                tmp_path,
                ["--parameters", str(file), "--host", "127.0.0.1", "--port", "0", "--no-beacon"],
                environment=variables,
            )
            stack.callback(found[name].stop)
        yield found


def lines(output: Path) -> dict[str, dict[str, object]]:
    found = map(json.loads, output.read_text().splitlines())
    return {Path(line["path"]).name: line for line in found}


def test_images_go_to_the_server_that_reads_them_and_the_error_names_the_one_that_does_not(
    daemons: dict[str, DaemonProcess], folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "faces.jsonl"
    cellar, attic = (f"127.0.0.1:{daemons[name].port}" for name in ("cellar", "attic"))
    count = len(list(folder.iterdir()))

    alone = pyraface("--servers", cellar, "--output", output, folder)
    assert alone.returncode == 1, alone.stderr
    found = lines(output)
    assert len(found) == count
    assert len(found["IMG_1.jpg"]["faces"]) == 1  # type: ignore[arg-type]
    for name, line in found.items():
        if name != "IMG_1.jpg":
            package = "imagecodecs" if name.endswith("jxl") else "rawpy"
            error = line["error"]
            assert isinstance(error, dict)
            assert error["code"] == "format-not-read"
            assert error["message"].startswith(f"server cellar ({cellar}): a ")
            assert f"is read where {package} is installed: pip install {package}" in error["message"]
    assert f"{count - 1} failed" in alone.stderr

    again = pyraface("--servers", f"{cellar},{attic}", "--output", output, folder)
    assert again.returncode == 1
    assert "(--retry-failed retries them)" in again.stderr

    both = pyraface("--servers", f"{cellar},{attic}", "--output", output, "--retry-failed", folder)
    assert both.returncode == 0, both.stderr
    assert both.stderr.count("; such images go to other servers") == 1
    found = lines(output)
    assert len(found) == count
    plain = found["IMG_1.jpg"]
    for name, line in found.items():
        faces = line["faces"]
        assert isinstance(faces, list)
        assert len(faces) == 1, name
        if name != "IMG_1.jpg":
            assert line["server"] == f"attic ({attic})"
        size = (raw_files.HEIGHT, raw_files.WIDTH) if "IMG_6" in name else (raw_files.WIDTH, raw_files.HEIGHT)
        assert (line["width"], line["height"]) == size, name
        if "IMG_1" in name:
            box, same = faces[0]["box"], plain["faces"][0]["box"]  # type: ignore[index]
            assert max(abs(box[side] - same[side]) for side in box) < 5, name
    assert daemons["attic"].said.count("confined: ") == 1, "its worker was replaced"
    assert "seccomp is off" not in daemons["attic"].said
    for daemon in daemons.values():
        assert "Traceback" not in daemon.said
