"""client/inputs/file_kinds.py: a photograph is known by its suffix, or else by its first bytes."""

from __future__ import annotations

import fcntl
import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyraface.client.inputs.file_kinds import PHOTOGRAPHS, Skipped, in_words, kind_of_file


@pytest.mark.parametrize("suffix", sorted(PHOTOGRAPHS))
def test_a_file_with_the_suffix_of_a_photograph_is_one_whatever_it_holds(suffix: str) -> None:
    assert kind_of_file(f"IMG_1{suffix}", "/missing") is None
    assert kind_of_file(f"IMG_1{suffix.upper()}", "/missing") is None


@pytest.mark.parametrize(
    "name", ["IMG_1", "IMG_1.insp", "IMG_1.jpg_large", "IMG_1.jpg~", "1.orig", "photo.2023"]
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "GIF"])
def test_another_suffix_is_judged_by_the_first_bytes(name: str, format: str, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path, format)
    assert kind_of_file(name, str(path)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"BM is how this text begins",
        b"%PDF-1.7",
        b"hello",
        b"\0" * 300,
        b"<svg>",
        b"RIFF1234AVI ",
        b"\xff\xd8",
    ],
)
def test_what_holds_no_photograph_is_another_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert kind_of_file("file", str(path)) is Skipped.OTHER


def test_known_suffixes_of_others_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "IMG_1.xmp"
    path.write_bytes(b"\xff\xd8\xff")
    assert kind_of_file("IMG_1.xmp", str(path)) is Skipped.OTHER
    assert kind_of_file("IMG_1.MOV", str(path)) is Skipped.VIDEO


def test_what_cannot_be_read_is_another_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    for name in ("pipe", "link", "missing"):
        assert kind_of_file(name, str(tmp_path / name)) is Skipped.OTHER


def test_a_file_with_a_lease_is_taken_because_it_cannot_be_judged_now(tmp_path: Path) -> None:
    path = tmp_path / "leased"
    path.write_bytes(b"hello")
    holder = os.open(path, os.O_RDWR)
    usual = signal.signal(signal.SIGIO, signal.SIG_IGN)  # it asks the holder to give the file up
    try:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert kind_of_file("leased", str(path)) is None
    finally:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(holder)
        signal.signal(signal.SIGIO, usual)


def test_the_words_name_each_kind_once() -> None:
    counts = Counter({Skipped.VIDEO: 3, Skipped.OTHER: 1, Skipped.HIDDEN: 0, Skipped.LINKED_FOLDER: 1})
    assert in_words(counts) == "3 videos, 1 linked folder, 1 other file"
    assert in_words(Counter()) == ""
