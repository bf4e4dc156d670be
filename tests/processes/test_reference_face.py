"""A server's numbers for the reference face: real daemons whose engine answers it wrongly, which is simulated."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.stub_daemon import DEVIATION, stub_daemon
from tests.support import ROOT, environment


@pytest.mark.parametrize(
    ("deviation", "reason"),
    [
        ("nan", "computes no numbers for the reference face: its device or one of its libraries is broken"),
        ("inf", "computes no numbers for the reference face: its device or one of its libraries is broken"),
        (
            "0.3",
            "its encoding of the reference face is 0.30 from face_recognition's, and at most 0.2 is allowed",
        ),
    ],
)
def test_a_daemon_on_a_device_that_computes_nonsense_ends_with_the_reason(
    tmp_path: Path, deviation: str, reason: str
) -> None:
    with (
        pytest.raises(AssertionError) as error,
        stub_daemon(tmp_path, seconds=0.0, environment={DEVIATION: deviation}),
    ):
        pass
    said = str(error.value)
    assert "did not become ready" in said
    assert "pyraface-daemon: the stub engine cannot be used on no device: " in said
    assert reason in said


@pytest.mark.parametrize(
    ("deviation", "named"), [("0", False), ("0.015", False), ("0.05", True), ("0.15", True)]
)
def test_a_server_that_deviates_is_named_in_the_summary_with_the_distance(
    tmp_path: Path, deviation: str, named: bool
) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (20, 10)).save(photo)
    with stub_daemon(tmp_path, seconds=0.0, name="jetson", environment={DEVIATION: deviation}) as server:
        done = subprocess.run(
            [sys.executable, "-m", "pyraface.client", "--servers", f"127.0.0.1:{server.port}", str(photo)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = server.said
    assert done.returncode == 0, done.stderr
    line = (
        rf"server jetson \(127\.0\.0\.1:{server.port}\): its encodings deviate from those of other devices, by "
        rf"{float(deviation):.2f} for the reference face\n"
    )
    assert bool(re.search(line, done.stderr)) is named, done.stderr
    assert (f"the encoding of the reference face is {float(deviation):.2f} from" in said) is named
