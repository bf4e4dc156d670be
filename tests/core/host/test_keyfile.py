from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from pyraface.core.errors import KeyFileError
from pyraface.core.host import keyfile


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty configuration directory."""
    home = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    return home


def written(home: Path, content: bytes, mode: int = 0o600) -> Path:
    file = home / "pyraface" / "key"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)
    return file


LINE = b"0123456789abcdef" * 4 + b"\n"


def test_there_is_none_until_one_is_made_and_then_it_stays(home: Path) -> None:
    assert keyfile.load() == ()
    assert not home.exists()
    (key,) = keyfile.load_or_make()
    assert len(key) == 32
    assert keyfile.load() == keyfile.load_or_make() == (key,)
    assert [entry.name for entry in (home / "pyraface").iterdir()] == ["key"]


def test_nobody_but_its_owner_has_a_right_to_it(home: Path) -> None:
    before = os.umask(0)
    try:
        keyfile.load_or_make()
    finally:
        os.umask(before)
    assert stat.S_IMODE((home / "pyraface" / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "pyraface").stat().st_mode) == 0o700


def test_keys_are_random(home: Path) -> None:
    first = keyfile.load_or_make()
    (home / "pyraface" / "key").unlink()
    assert keyfile.load_or_make() != first


def test_keys_that_are_added_come_after_the_first_each_once(home: Path) -> None:
    (own,) = keyfile.load_or_make()
    assert keyfile.add(b"k" * 32)
    assert not keyfile.add(b"k" * 32)
    assert not keyfile.add(own)
    assert keyfile.load() == (own, b"k" * 32)
    assert [entry.name for entry in (home / "pyraface").iterdir()] == ["key"]
    assert stat.S_IMODE((home / "pyraface" / "key").stat().st_mode) == 0o600


def test_a_file_too_long_for_its_keys_is_refused_not_read_in_part(home: Path) -> None:
    keyfile.load_or_make()
    file = home / "pyraface" / "key"
    file.write_text(file.read_text() + "\n" * 10_000 + "ab" * 32 + "\n")
    with pytest.raises(KeyFileError, match="must hold 1 to 64 keys"):
        keyfile.load()


def test_the_first_key_may_be_that_of_another_machine() -> None:
    assert keyfile.add(b"k" * 32)
    assert keyfile.load_or_make() == (b"k" * 32,)


def test_there_is_an_end_to_adding() -> None:
    for number in range(keyfile.MAX_KEYS):
        keyfile.add(number.to_bytes(32, "big"))
    with pytest.raises(KeyFileError, match="64 keys already"):
        keyfile.add(b"k" * 32)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o710, 0o666], ids=oct)
def test_a_file_that_others_have_a_right_to_is_refused(home: Path, mode: int) -> None:
    file = written(home, LINE, mode)
    with pytest.raises(KeyFileError, match=rf"{file}: has the mode {mode:04o}.*chmod 600"):
        keyfile.load_or_make()


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", LINE[:-2], b"0" + LINE, LINE + b"words\n", b"\xff" * 64, LINE * 65, bytes(32)],
    ids=["empty", "blank", "short", "long", "words", "no text", "too many", "raw bytes"],
)
def test_a_file_with_something_else_is_refused(home: Path, content: bytes) -> None:
    file = written(home, content)
    with pytest.raises(KeyFileError, match=rf"{file}: must hold 1 to 64 keys") as caught:
        keyfile.load()
    assert "0123456789" not in str(caught.value), "a key in an error message"


def test_what_is_no_file_is_refused_and_a_pipe_not_waited_for(home: Path) -> None:
    folder = home / "pyraface"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "key")
    with pytest.raises(KeyFileError, match="no regular file"):
        keyfile.load()
    (folder / "key").unlink()
    (folder / "key").mkdir()
    with pytest.raises(KeyFileError, match="a directory"):
        keyfile.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused_but_root_may_use_any(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(home, LINE)
    os.chown(file, 12345, 12345)
    assert len(keyfile.load()) == 1
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(KeyFileError, match="belongs to another user"):
        keyfile.load()


def test_a_right_of_its_owner_to_execute_does_no_harm(home: Path) -> None:
    written(home, LINE, 0o700)
    assert len(keyfile.load()) == 1


def test_a_file_system_whose_files_others_may_read_holds_no_key(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: the mode that exFAT reports for every file."""
    fstat = os.fstat

    def every_file_is_readable(number: int) -> os.stat_result:
        status = fstat(number)
        return os.stat_result((status.st_mode | 0o755, *status[1:]))

    monkeypatch.setattr(os, "fstat", every_file_is_readable)
    with pytest.raises(KeyFileError, match=r"every file the mode 0755.*\$XDG_CONFIG_HOME.*umask=077"):
        keyfile.load_or_make()
    assert list((home / "pyraface").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("folder_mode", [0o700, 0o755])
def test_a_key_that_root_made_in_a_users_folder_says_how_to_give_it_back(
    monkeypatch: pytest.MonkeyPatch, folder_mode: int
) -> None:
    with tempfile.TemporaryDirectory() as name:  # a folder of pytest's is closed to other users
        monkeypatch.setenv("XDG_CONFIG_HOME", name)
        os.chmod(name, 0o755)
        keyfile.load_or_make()
        folder = Path(name) / "pyraface"
        folder.chmod(folder_mode)
        os.seteuid(12345)
        try:
            with pytest.raises(KeyFileError, match=rf"sudo chown -R 12345 {folder}"):
                keyfile.load()
            with pytest.raises(KeyFileError, match=rf"sudo chown -R 12345 {folder}"):
                keyfile.add(b"k" * 32)
        finally:
            os.seteuid(0)


def test_without_a_home_there_is_no_key_and_making_one_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", "nowhere")
    assert keyfile.load() == ()
    with pytest.raises(KeyFileError, match=r"\$XDG_CONFIG_HOME.*authentication"):
        keyfile.load_or_make()


def test_a_home_that_cannot_be_written_to_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc")
    with pytest.raises(KeyFileError, match=r"/proc/pyraface/key: cannot be written: .*\$XDG_CONFIG_HOME"):
        keyfile.load_or_make()
