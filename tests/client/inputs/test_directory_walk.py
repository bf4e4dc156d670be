"""What a person means by the paths on the command line."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyraface.client.inputs import directory_walk
from pyraface.client.inputs.directory_walk import Scan, Selection, is_system_folder
from pyraface.client.inputs.file_kinds import Skipped
from pyraface.core.errors import NoImagesError


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
    assert found.skipped == {Skipped.OTHER: 1, Skipped.HIDDEN: 2}
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


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\xff\xd8\xff")
    return folder


def names(paths: Iterable[str], folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in paths]


@pytest.mark.parametrize(
    "system",
    [
        "@eaDir/a.jpg",
        "#recycle",
        "@Recycle",
        "$RECYCLE.BIN/S-1-5-21",
        "$Recycle.Bin",
        ".Trash-1000/files",
        ".Trashes",
        "lost+found",
        ".thumbnails",
        ".stversions",
        "__MACOSX",
        "System Volume Information",
    ],
)
def test_folders_of_systems_are_not_entered_unless_they_are_named(system: str, tmp_path: Path) -> None:
    made(tmp_path, "1.jpg", f"{system}/2.jpg", f"deep/{system}/3.jpg")
    found = Scan([str(tmp_path)])
    assert names(found, tmp_path) == ["1.jpg"]
    assert found.skipped == {Skipped.SYSTEM_FOLDER: 2}
    assert names(Scan([str(tmp_path / system)]), tmp_path) == [f"{system}/2.jpg"]


def test_a_folder_of_the_system_that_cannot_be_read_is_no_error(tmp_path: Path) -> None:
    made(tmp_path, "1.jpg", "lost+found/2.jpg")
    (tmp_path / "lost+found").chmod(0)
    found = Scan([str(tmp_path)])
    assert names(found, tmp_path) == ["1.jpg"]
    assert found.unreadable == []
    (tmp_path / "lost+found").chmod(0o700)


@pytest.mark.parametrize(
    ("exclude", "include", "expected"),
    [
        (["*.png"], [], ["a.jpg", "b/c.jpg", "b/raw/d.jpg", "raw/e.jpg"]),
        (["/raw/"], [], ["a.jpg", "a.png", "b/c.jpg", "b/raw/d.jpg"]),
        (["raw/"], [], ["a.jpg", "a.png", "b/c.jpg"]),
        (["b/**/d.jpg"], [], ["a.jpg", "a.png", "b/c.jpg", "raw/e.jpg"]),
        (["*.jpg", "!c.jpg"], [], ["a.png", "b/c.jpg"]),
        ([], ["*.png"], ["a.png"]),
        ([], ["raw/"], ["b/raw/d.jpg", "raw/e.jpg"]),
        (["b/"], ["*.jpg"], ["a.jpg", "raw/e.jpg"]),
        (["raw"], ["*.png", "c.*"], ["a.png", "b/c.jpg"]),
    ],
)
def test_patterns_are_those_of_gitignore(
    exclude: list[str], include: list[str], expected: list[str], tmp_path: Path
) -> None:
    made(tmp_path, "a.jpg", "a.png", "b/c.jpg", "b/raw/d.jpg", "raw/e.jpg")
    found = Scan([str(tmp_path)], Selection.of(exclude, include, follow_links=False))
    assert names(found, tmp_path) == expected
    assert found.skipped[Skipped.EXCLUDED] > 0


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(NoImagesError, match=r"--include !: not a pattern of gitignore"):
        Selection.of(["*.png"], ["!"], follow_links=False)


def test_a_file_that_is_named_itself_is_taken_whatever_the_patterns_say(tmp_path: Path) -> None:
    made(tmp_path, "a.png", "b.png")
    selection = Selection.of(["*.png"], [], follow_links=False)
    assert names(Scan([str(tmp_path), str(tmp_path / "a.png")], selection), tmp_path) == ["a.png"]


def test_linked_folders_are_counted_or_followed_once(tmp_path: Path) -> None:
    made(tmp_path, "real/1.jpg", "outside/2.jpg")
    (tmp_path / "real/circle").symlink_to(tmp_path / "real")
    (tmp_path / "real/up").symlink_to("..")
    (tmp_path / "real/out").symlink_to(tmp_path / "outside")
    (tmp_path / "real/again").symlink_to(tmp_path / "outside")
    counted = Scan([str(tmp_path / "real")])
    assert names(counted, tmp_path) == ["real/1.jpg"]
    assert counted.skipped == {Skipped.LINKED_FOLDER: 4}
    followed = Scan([str(tmp_path / "real")], Selection(follow_links=True))
    assert names(followed, tmp_path) == ["real/1.jpg", "real/again/2.jpg"]


def test_each_entry_that_is_skipped_is_told_with_its_kind(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg", "b.mp4", ".c.jpg", "@eaDir/d.jpg", "e.xmp")
    told: dict[str, Skipped] = {}
    list(Scan([str(tmp_path)], skip=lambda path, kind: told.update({os.path.basename(path): kind})))
    assert told == {
        ".c.jpg": Skipped.HIDDEN,
        "@eaDir": Skipped.SYSTEM_FOLDER,
        "b.mp4": Skipped.VIDEO,
        "e.xmp": Skipped.OTHER,
    }


def test_a_tree_of_other_programs_has_a_line_for_each_photograph(cases: Path) -> None:
    photos = cases / "tree" / "photos"
    found = Scan([str(photos)])
    expected = {"IMG_1.jpg", "IMG_3.jp2", "IMG_4.CR2", "IMG_5.NEF", "IMG_6.insp", "IMG_7.jpg_large", "IMG_8"}
    assert set(names(found, photos)) == expected
    assert found.skipped[Skipped.SYSTEM_FOLDER] == 3


def test_system_folders_are_known_in_any_case() -> None:
    assert is_system_folder("@EADIR")
    assert is_system_folder(".Trash-1000")
    assert not is_system_folder("2023")
