"""What a person means by the paths on the command line."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyraface.client.inputs import directory_walk
from pyraface.client.inputs.directory_walk import Scan


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "b/2.jpg",
        "b/1.PNG",
        "b/deep/3.tif",
        "a.jpg",
        "c.txt",
        ".hidden.jpg",
        ".dark/4.jpg",
        "z.heic",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_directory_comes_sorted_by_name_and_what_is_no_image_is_counted(tree: Path) -> None:
    found = Scan(["."])
    assert list(found) == ["./a.jpg", "./b/1.PNG", "./b/2.jpg", "./b/deep/3.tif", "./z.heic"]
    assert found.skipped == 3
    assert found.unreadable == []
    assert tree


@pytest.mark.usefixtures("tree")
def test_a_file_comes_once_however_often_it_was_named() -> None:
    assert list(Scan(["b", "./b", "b/2.jpg", "b/../b/1.PNG"])) == ["b/deep/3.tif", "b/2.jpg", "b/../b/1.PNG"]
    assert list(Scan(["b/2.jpg", os.path.abspath("b")])) == [
        "b/2.jpg",
        *map(os.path.abspath, ["b/1.PNG", "b/deep/3.tif"]),
    ]
    assert list(Scan(["b/deep", "b"])) == ["b/deep/3.tif", "b/1.PNG", "b/2.jpg"]
    assert list(Scan(["c.txt", "c.txt", ".hidden.jpg"])) == ["c.txt", ".hidden.jpg"]


def test_directories_a_thousand_deep_are_walked(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("deep.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    try:
        assert [os.path.basename(path) for path in Scan([str(tmp_path)])] == ["deep.jpg"]
    finally:  # shutil.rmtree has a limit to its depth
        os.unlink("deep.jpg", dir_fd=folder)
        for _ in range(1100):
            outer = os.open("..", os.O_RDONLY, dir_fd=folder)
            os.rmdir("d", dir_fd=outer)
            os.close(folder)
            folder = outer
        os.close(folder)


class FakeEntry:
    """An entry of a directory that is made as it is read."""

    def __init__(self, path: str, name: str) -> None:
        self.name = name
        self.path = f"{path}/{name}"

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        del follow_symlinks
        return False


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A flat directory of a million images; the list's length is how many of its entries were read."""
    read: list[int] = []

    @contextmanager
    def scandir(path: str) -> Iterator[Iterator[FakeEntry]]:
        def entries() -> Iterator[FakeEntry]:
            for number in range(1_000_000):
                read[:] = [number]
                yield FakeEntry(path, f"{number:07}.jpg")

        yield entries()

    monkeypatch.setattr(directory_walk.os, "scandir", scandir)
    return read


def test_a_directory_of_a_million_files_begins_at_once_and_takes_no_memory(
    endless: list[int], tmp_path: Path
) -> None:
    found = iter(Scan([str(tmp_path)]))
    assert next(found) == f"{tmp_path}/0000000.jpg"
    assert endless[0] < directory_walk.SORTED
    tracemalloc.start()
    try:
        for _ in range(50_000):
            last = next(found)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert last == f"{tmp_path}/0050000.jpg"


def test_a_directory_that_cannot_be_read_is_told_and_the_rest_is_walked(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return at_once(path)

    monkeypatch.setattr(directory_walk.os, "scandir", scandir)
    read: list[str] = []
    found = Scan(["b"], read=read.append)
    assert list(found) == ["b/1.PNG", "b/2.jpg"]
    assert found.unreadable == [("b/deep", "Permission denied")]
    assert read == ["b"]
    assert tree
