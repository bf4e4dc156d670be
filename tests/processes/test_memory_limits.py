"""Too little memory: real daemons in real control groups, and the clients that meet them."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyraface.client import Client, archive_run
from pyraface.client.scheduling import backoff
from pyraface.core.errors import ErrorCode, ServerMemoryError
from tests.network.chaos.memory import MemoryGroup
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, DaemonProcess, run

MIB = 1 << 20


@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[MemoryGroup]:
    """A control group of its own, without a limit as yet."""
    try:
        group = MemoryGroup(f"pyraface-{os.getpid()}-{abs(hash(request.node.name))}")
    except OSError as error:
        pytest.skip(f"this user can make no control group with a limit on memory: {error}")
    yield group
    group.remove()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """Three photographs of 1.4 Mpx, each with one face."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(3):
        Image.fromarray(astronaut).resize((1200 + number, 1200)).save(folder / f"{number}.jpg")
    return folder


def pyraface(group: MemoryGroup, output: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*group.inside, sys.executable, "-m", "pyraface", "--servers", "local", "--output", str(output)]
        + [str(word) for word in words],
        cwd=ROOT,
        env={**os.environ, "PYRAFACE_PARAMETERS": str(ROOT / "parameters.xml")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
def test_in_600_mib_a_client_and_its_daemon_search_photographs_everywhere(
    group: MemoryGroup, photographs: Path, tmp_path: Path
) -> None:
    """With tiles of the usual size, for which the worker alone took 720 MiB before it could be frugal."""
    group.allow(600 * MIB)
    output = tmp_path / "out.jsonl"
    ended = pyraface(group, output, "--search", "everywhere", photographs)
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [len(line["faces"]) for line in lines] == [1, 1, 1]
    assert group.killed == 0, "the memory was known to be scarce before any process was killed"


def test_where_not_even_one_tile_fits_the_run_ends_before_any_image_is_failed(
    group: MemoryGroup, photographs: Path, tmp_path: Path
) -> None:
    group.allow(320 * MIB)
    output = tmp_path / "out.jsonl"
    ended = pyraface(group, output, "--search", "everywhere", photographs)
    assert ended.returncode == 2, ended.stderr
    assert not output.exists()
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("pyraface: ")]
    assert "no server could be started on this machine: too little memory to find faces" in line
    assert "there are 320 MiB, the limit of its control group (/sys/fs/cgroup/" in line
    assert "165 MiB for a tile of 3.84 Mpx" in line
    assert "lower params/tiled_detect_params/upsample by one" in line


def large_webp() -> bytes:
    """The bytes of a picture of 100 Mpx, whose decoder takes 16 bytes for each pixel."""
    stream = io.BytesIO()
    Image.new("RGB", (10_000, 10_000), (90, 120, 60)).save(stream, "WEBP", quality=1, method=0)
    return stream.getvalue()


def frugal(daemon: DaemonProcess) -> bool:
    return "--frugal" in daemon.worker.cmdline()


@pytest.mark.slow
def test_an_image_that_does_not_fit_fails_alone_and_leaves_the_daemon_as_it_was(
    group: MemoryGroup, photographs: Path, tmp_path: Path
) -> None:
    group.allow(900 * MIB)
    small = [path.read_bytes() for path in sorted(photographs.iterdir())]
    process = DaemonProcess(
        tmp_path,
        ["--parameters", str(ROOT / "parameters.xml"), "--host", "127.0.0.1", "--port", "0", "--no-beacon"],
        prefix=group.inside,
    )
    try:
        assert not frugal(process), process.said

        async def talk() -> None:
            async with Client(f"127.0.0.1:{process.port}") as client:
                images = [*small, large_webp(), *small]
                results = await asyncio.gather(*[client.detect(image) for image in images])
                failed = [result for result in results if result.error is not None]
                assert [result.error and result.error[0] for result in failed] == [ErrorCode.OUT_OF_MEMORY]
                assert failed[0] is results[3]
                assert "there are 900 MiB, the limit of its control group" in str(failed[0].error)
                assert [len(result.faces or ()) for result in results if result.error is None] == [1] * 6
                # in the meantime the worker that was frugal for it has been replaced
                assert (await client.detect(small[0])).error is None

        run(talk(), timeout=200)
        assert group.killed >= 2
        assert "for want of memory" in process.said
        assert not frugal(process)
        assert process.stop() == 0, "the system killed no daemon, only workers"
    finally:
        process.process.kill()
        process.process.wait()


def options(output: Path, servers: str, *paths: Path) -> argparse.Namespace:
    from pyraface.client.client import parse

    return parse(["--servers", servers, "--output", str(output), "--quiet", *map(str, paths)])


def test_a_run_over_images_that_are_all_too_large_ends_and_says_how_to_go_on(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's engine fails as one does for which the memory is too little."""
    monkeypatch.setattr(archive_run, "MOST_STARVED", 2)
    monkeypatch.setattr(backoff, "LONGEST", 0.1)
    output = tmp_path / "out.jsonl"

    async def talk(port: int) -> None:
        await archive_run.run(options(output, f"127.0.0.1:{port}", photographs))

    with stub_daemon(tmp_path, seconds=-math.inf) as server:
        with pytest.raises(ServerMemoryError) as caught:
            run(talk(server.port), timeout=120)
        assert "2 images in a row failed for want of memory" in str(caught.value)
        assert "params/tiled_detect_params/upsample" in str(caught.value)
        assert "resume with: pyraface --servers 127.0.0.1:" in str(caught.value)
        assert output.read_text().count('"out-of-memory"') == 2
    with stub_daemon(tmp_path, "--port", str(server.port), seconds=0.0):
        # the same command tries them again
        assert run(archive_run.run(options(output, f"127.0.0.1:{server.port}", photographs)), timeout=120)
    assert '"error":{' not in output.read_text()


def test_a_server_with_too_little_memory_is_named_once_and_the_others_go_on(
    photographs: Path, tmp_path: Path
) -> None:
    told: list[str] = []

    images = sorted(photographs.iterdir()) * 10

    async def talk(servers: str) -> None:
        async with Client(servers, on_event=told.append) as client:
            results = [result async for result in client.map(images)]
            assert [result.error for result in results] == [None] * len(images)

    with (
        stub_daemon(tmp_path, seconds=-math.inf) as poor,
        stub_daemon(tmp_path, seconds=0.05) as other,
    ):
        run(talk(f"127.0.0.1:{poor.port},127.0.0.1:{other.port}"), timeout=120)
    [line] = [line for line in told if "too little memory" in line]
    assert f"127.0.0.1:{poor.port}" in line
    assert line.endswith("such images go to other servers")
