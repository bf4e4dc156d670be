"""Key file: this user's keys, one per line, each 64 hexadecimal digits. The first is the key of this user's own daemon.

The file is pyraface/key in $XDG_CONFIG_HOME or ~/.config. Only its owner may have access rights to it. A daemon creates it
if it does not exist; pairing adds the keys of other machines.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator

from ..errors import KeyFileError
from ..protocol.proofs import KEY_BYTES
from ..user_folders import user_folder

Keys = tuple[bytes, ...]

FILE_NAME = "key"

MAX_KEYS = 64
"""Each costs two microseconds for every announcement of an unknown server."""

_MOST_BYTES = MAX_KEYS * 100

_LINE = re.compile(rb"[0-9a-fA-F]{%d}" % (2 * KEY_BYTES))

_RIGHTS_OF_OTHERS = 0o077
"""The owner's right to execute does no harm, and some file systems give it to every file."""

_CHOWN = "it must be this user's own: sudo chown {} {}"

_OR_NONE = "or set params/security/authentication to none in parameters.xml, on a network whose every user may use it"


def path() -> str:
    """Returns the path of the key file, whether it exists or not.

    Raises:
        KeyFileError: this process has no home directory.
    """
    folder = user_folder()
    if folder is None:
        raise KeyFileError(
            "there is no place for the key file: $HOME is not set; "
            f"set $XDG_CONFIG_HOME to a folder that belongs to this user alone, {_OR_NONE}"
        )
    return os.path.join(folder, FILE_NAME)


def load() -> Keys:
    """Returns the keys in the file; none if there is no file.

    Raises:
        KeyFileError: the file cannot be read, other users may read it, or its content is invalid.
    """
    if user_folder() is None:
        return ()
    name = path()
    try:
        with open(name, "rb", opener=_open) as file:
            _check_rights(name, os.fstat(file.fileno()))
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        remedy = _made_by_another_user() or "it must be a file of this user"
        raise KeyFileError(f"{name}: cannot be read: {error.strerror}; {remedy}") from error
    lines = content.split()
    if (
        not lines
        or len(content) > _MOST_BYTES
        or len(lines) > MAX_KEYS
        or not all(map(_LINE.fullmatch, lines))
    ):
        raise KeyFileError(
            f"{name}: must hold 1 to {MAX_KEYS} keys, each a line of {2 * KEY_BYTES} hexadecimal digits; "
            "remove it, and a daemon makes a new one when it starts"
        )
    return tuple(dict.fromkeys(bytes.fromhex(line.decode()) for line in lines))


def load_or_make() -> Keys:
    """Returns the keys in the file, which is created, with one key, if it does not exist.

    Raises:
        KeyFileError: as for `load`, or the file cannot be created.
    """
    keys = load()
    if keys:
        return keys
    with _alone():
        # another daemon that started at the same time may have been first. The lock decides, not a hard link: exFAT, CIFS
        # and some FUSE file systems have none
        if not load():
            with _written((secrets.token_bytes(KEY_BYTES),)) as written:
                os.replace(written, path())
    return load()


def add(key: bytes) -> bool:
    """Appends a key to the file. Returns False if the file has it already.

    Raises:
        KeyFileError: the file is invalid, cannot be written, or is full.
    """
    with _alone():
        keys = load()
        if key in keys:
            return False
        if len(keys) >= MAX_KEYS:
            raise KeyFileError(
                f"{path()}: holds {MAX_KEYS} keys already; remove lines of machines that are gone"
            )
        with _written((*keys, key)) as written:
            os.replace(written, path())
    return True


def _open(file: str, flags: int) -> int:
    """Opens the file without waiting for the writer of a pipe, but for another program that has a lease on it (`leases`)."""
    try:
        return os.open(file, flags | os.O_NONBLOCK)
    except BlockingIOError:
        return os.open(file, flags)


def _check_rights(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{name}: is no regular file; remove it")
    # root may use the file of the user whose daemon it administers
    if os.geteuid() not in (status.st_uid, 0):
        raise KeyFileError(f"{name}: belongs to another user; {_CHOWN.format(os.geteuid(), name)}")
    if stat.S_IMODE(status.st_mode) & _RIGHTS_OF_OTHERS:
        raise KeyFileError(
            f"{name}: has the mode {stat.S_IMODE(status.st_mode):04o}: others may know its keys. "
            f"If no other user has read it: chmod 600 {name}; otherwise remove it, start the daemon again and pair again"
        )


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Locks the file against other processes of this user: of two simultaneous pairings, both keys are kept.

    Creates the folder. A file system without locks gives no protection.
    """
    folder = os.path.dirname(path())
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(error) from error
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


@contextlib.contextmanager
def _written(keys: Keys) -> Iterator[str]:
    """Yields the name of a complete temporary file with these keys, in the folder of the key file, and removes it."""
    draft = f"{path()}.{secrets.token_hex(8)}"
    try:
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _check_file_system(number)
            with open(number, "wb") as file:
                file.write(b"".join(key.hex().encode() + b"\n" for key in keys))
                file.flush()
                os.fsync(number)
            yield draft
        finally:
            with contextlib.suppress(FileNotFoundError):  # it has become the file
                os.unlink(draft)
    except OSError as error:
        raise _unwritable(error) from error


def _check_file_system(number: int) -> None:
    """Checks that a new file, still empty, has only the rights that it was created with: exFAT and CIFS keep none."""
    mode = stat.S_IMODE(os.fstat(number).st_mode)
    if mode & _RIGHTS_OF_OTHERS:
        os.close(number)
        raise KeyFileError(
            f"{path()}: its file system gives every file the mode {mode:04o}, so others could read the keys; "
            f"set $XDG_CONFIG_HOME to a folder on another file system, or mount this one with umask=077, {_OR_NONE}"
        )


def _unwritable(error: OSError) -> KeyFileError:
    remedy = _made_by_another_user() or "set $XDG_CONFIG_HOME to a folder that this user may write to"
    return KeyFileError(f"{path()}: cannot be written: {error.strerror}; {remedy}, {_OR_NONE}")


def _made_by_another_user() -> str | None:
    """Returns the remedy if another user, most often root in this user's home, made the file or its folder."""
    folder = os.path.dirname(path())
    for name in (folder, path()):
        with contextlib.suppress(OSError):
            if os.stat(name).st_uid != os.geteuid():
                return f"{name} was made by another user, and {_CHOWN.format(f'-R {os.geteuid()}', folder)}"
    return None
