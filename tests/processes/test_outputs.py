"""Outputs as a person names them: compressed ones, special ones, refused ones, broken ones, and killed runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyraface.client.outputs.lines import PROBE_BYTES
from tests.output_lines import checked, content_of, name_of
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, environment, pyraface, small_images

IMAGES = 40
COMPRESSED = ("jsonl.gz", "jsonl.zst")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a daemon whose engine finds nothing, in a fiftieth of a second."""
    with stub_daemon(tmp_path_factory.mktemp("server"), seconds=0.02, credits=2) as daemon:
        yield f"127.0.0.1:{daemon.port}"


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of small images."""
    small_images(tmp_path / "album", IMAGES)
    return tmp_path / "album"


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_a_compressed_output_survives_kills_anywhere(
    tmp_path: Path, album: Path, place: str, suffix: str
) -> None:
    output = tmp_path / f"faces.{suffix}"
    words = [sys.executable, "-m", "pyraface.client", "--servers", place, "--output", output, album]
    kills, sizes = 0, []
    for _ in range(3):
        with subprocess.Popen(
            words, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True
        ) as process:
            before = output.stat().st_size if output.exists() else 0
            # lines, and not the 4096 bytes by which a run finds out at its start whether the disk has room
            while process.poll() is None and not (
                output.exists() and (grown := output.stat().st_size - before) >= 300 and grown != 4096
            ):
                pass
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
        sizes.append(output.stat().st_size)
    assert kills
    done = pyraface("--servers", place, "--output", output, album)
    assert done.returncode == 0, done.stderr
    assert re.search(r"resuming .*: \d+ images? done", done.stderr), done.stderr
    assert sorted(map(name_of, checked(content_of(output)))) == sorted(os.listdir(album))
    whole = output.read_bytes()
    again = pyraface("--servers", place, "--output", output, album)
    assert f"resuming {output}: {IMAGES} images done" in again.stderr
    assert output.read_bytes() == whole
    replaced = pyraface("--servers", place, "--output", output, "--overwrite", album / "000.png")
    assert replaced.returncode == 0, replaced.stderr
    assert list(map(name_of, checked(content_of(output)))) == ["000.png"]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("faces.csv", "faces.jsonl"),
        ("faces", "faces.jsonl"),
        ("faces.json", "faces.jsonl"),
        ("faces.gz", "faces.jsonl.gz"),
        ("faces.jsonl.bz2", "faces.jsonl"),
        ("faces.parquet", "faces.jsonl"),
        ("FACES.TXT", "FACES.jsonl"),
    ],
)
def test_a_name_that_is_not_json_lines_is_refused_before_anything_starts(
    tmp_path: Path, album: Path, name: str, right: str
) -> None:
    for words in ([], ["--overwrite"], ["--dry-run"]):
        done = pyraface("--servers", "no.such.host.invalid", "--output", tmp_path / name, *words, album)
        assert done.returncode == 2
        assert done.stderr == (
            f"pyraface: --output {tmp_path / name}: the output is JSON lines, in a file whose name ends in .jsonl, "
            f".jsonl.gz or .jsonl.zst: name it, for example {tmp_path / right}\n"
        )
    assert not (tmp_path / name).exists()


def test_an_output_of_an_earlier_version_with_another_name_is_to_be_renamed(
    tmp_path: Path, album: Path, place: str
) -> None:
    output, former = tmp_path / "faces.jsonl", tmp_path / "faces.json"
    pyraface("--servers", place, "--output", output, album)
    output.rename(former)
    done = pyraface("--servers", place, "--output", former, album)
    assert done.returncode == 2
    assert f"rename this one to resume it, for example {output}" in done.stderr
    former.rename(output)
    assert f"{IMAGES} images done" in pyraface("--servers", place, "--output", output, album).stderr


def test_special_outputs_need_no_suffix(tmp_path: Path, album: Path, place: str) -> None:
    image = album / "000.png"
    for output in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        done = pyraface("--servers", place, "--output", output, image)
        assert (done.returncode, len(checked(done.stdout))) == (0, 1), done.stderr
        assert not (ROOT / "-").exists()
    with (tmp_path / "redirected").open("wb") as file:
        words = [
            sys.executable,
            "-m",
            "pyraface.client",
            "--servers",
            place,
            "--output",
            "/dev/stdout",
            image,
        ]
        subprocess.run(words, cwd=ROOT, env=environment(), stdout=file, check=True)
    assert len(checked((tmp_path / "redirected").read_bytes())) == 1
    assert pyraface("--servers", place, "--output", "/dev/null", image).returncode == 0


@pytest.mark.other_lines
def test_a_broken_line_ends_a_run_before_it_starts_and_repair_moves_it(
    tmp_path: Path, album: Path, place: str
) -> None:
    output = tmp_path / "faces.jsonl"
    pyraface("--servers", place, "--output", output, album)
    lines = output.read_bytes().splitlines(keepends=True)
    broken, lines[6] = lines[6], lines[6][:100] + b"\n"
    output.write_bytes(b"".join(lines))
    done = pyraface("--servers", place, "--output", output, album)
    assert done.returncode == 2
    assert f"{output}: line 7 was not written by pyraface (" in done.stderr
    assert output.read_bytes() == b"".join(lines)
    done = pyraface("--servers", place, "--output", output, "--repair", album)
    assert done.returncode == 0, done.stderr
    assert f"1 broken line moved to {output}.broken\n" in done.stderr
    assert f"resuming {output}: {IMAGES - 1} images done\n" in done.stderr
    assert (tmp_path / "faces.jsonl.broken").read_bytes() == broken[:100] + b"\n"
    assert len(checked(output.read_bytes())) == IMAGES


@pytest.mark.parametrize("other", ["--overwrite", "--dry-run"])
def test_repair_excludes_what_does_not_resume(tmp_path: Path, album: Path, other: str) -> None:
    done = pyraface("--output", tmp_path / "faces.jsonl", "--repair", other, album)
    assert done.returncode == 2
    assert f"--repair and {other} exclude each other" in done.stderr
    assert "--repair resumes an output file: name it with --output" in pyraface("--repair", album).stderr


REPAIR = """
import os, signal, sys
from pyraface.client.outputs.journal import Journal

left = int(sys.argv[2])

def counted(name):
    call = getattr(os, name)
    def killed(*arguments, **words):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return call(*arguments, **words)
    return killed

with Journal(sys.argv[1], repair=True) as journal:
    for name in ("write", "fsync", "replace", "ftruncate", "unlink"):
        setattr(os, name, counted(name))
    journal.load()
    journal.begin({"print"})
    journal.finish()
"""


@pytest.mark.other_lines
@pytest.mark.parametrize("suffix", ["jsonl", *COMPRESSED])
def test_a_repair_that_is_killed_before_any_of_its_writes_loses_nothing(
    tmp_path: Path, album: Path, place: str, suffix: str
) -> None:
    output, broken = tmp_path / f"faces.{suffix}", tmp_path / f"faces.{suffix}.broken"
    plain = tmp_path / "plain.jsonl"
    pyraface("--servers", place, "--output", plain, album)
    lines = plain.read_bytes().splitlines(keepends=True)
    damaged = [lines[3][:100] + b"\n", b"hello\n"]
    content = b"".join([*lines[:3], damaged[0], *lines[4:9], damaged[1], *lines[10:], lines[3][:50]])
    kept = {*lines} - {lines[3], lines[9]}
    script = tmp_path / "repair.py"
    script.write_text(textwrap.dedent(REPAIR))
    compress = {"jsonl": ["cat"], "jsonl.gz": ["gzip"], "jsonl.zst": [sys.executable, "-c", ZSTD]}[suffix]
    for kill in range(100):
        output.write_bytes(subprocess.run(compress, input=content, capture_output=True, check=True).stdout)
        broken.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, script, output, str(kill)], env=environment(PYTHONPATH=str(ROOT)), check=False
        )
        # what shows that the disk has room, and goes when the file is read again
        output.write_bytes(output.read_bytes().removesuffix(bytes(PROBE_BYTES)))
        left = content_of(output) + (broken.read_bytes() if broken.exists() else b"")
        assert all(line in left for line in (*kept, *damaged)), kill
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert kill > 4
    assert broken.read_bytes() == b"".join(damaged)
    assert set(content_of(output).splitlines(keepends=True)) == kept


ZSTD = "import sys, zstandard; sys.stdout.buffer.write(zstandard.ZstdCompressor().compress(sys.stdin.buffer.read()))"
