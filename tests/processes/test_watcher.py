"""The watcher sees each kind of deed: programs made for it, and lines of strace."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.processes.watcher import (
    HIDES,
    LOOKS_UP,
    READS,
    SENDS,
    WRITES,
    User,
    deeds,
    surprises,
    why_blind,
)

SCRIPT = Path(sys.executable).name

SOCKETS = "import socket as s; udp = s.socket(s.AF_INET, s.SOCK_DGRAM); "
FOLDERS = (
    "import os; home, cache, tmp = (os.environ[name] for name in ('HOME', 'XDG_CACHE_HOME', 'TMPDIR')); "
)

# 127.1.2.3 stands for another machine, so that nothing leaves this one
MADE_UP: dict[str, tuple[str, list[str]]] = {
    "connects by UDP": (SOCKETS + "udp.connect(('127.1.2.3', 9))", ["sends to 127.1.2.3:9"]),
    "sends by UDP": (SOCKETS + "udp.sendto(b'x', ('127.1.2.3', 9))", ["sends to 127.1.2.3:9"]),
    "sends messages": (SOCKETS + "udp.sendmsg([b'x'], [], 0, ('127.1.2.3', 9))", ["sends to 127.1.2.3:9"]),
    "connects by TCP": (SOCKETS + "s.socket().connect_ex(('127.1.2.3', 9))", ["sends to 127.1.2.3:9"]),
    "connects in a thread of another process": (
        SOCKETS + "import os, threading\n"
        "if os.fork(): os.wait()\n"
        "else: threading.Thread(target=s.socket().connect_ex, args=[('127.1.2.3', 9)]).start()",
        ["sends to 127.1.2.3:9"],
    ),
    "connects to another program": (
        SOCKETS + r"s.socket(s.AF_UNIX).connect_ex('\0reports')",
        ['sends to unix:@"reports"'],
    ),
    "asks a name server": (SOCKETS + "udp.connect(('127.1.2.3', 53))", ["looks up a name by 127.1.2.3:53"]),
    "looks up a name": (SOCKETS + "s.getaddrinfo('localhost', 9)", ["looks up a name by .*", "sends to .*"]),
    "listens": (SOCKETS + "s.create_server(('127.0.0.1', 0))", ["listens at 127.0.0.1:0"]),
    "writes a file": (FOLDERS + "open(home + '/.id', 'w')", ["writes .*/home/.id"]),
    "writes a temporary file": (FOLDERS + "open(tmp + '/.ses', 'w')", ["writes .*/tmp/.ses"]),
    "tries to write": ("open('/proc/version', 'r+')", ["writes /proc/version"]),
    "makes a folder": (FOLDERS + "os.mkdir(cache + '/reports')", ["writes .*/cache/reports"]),
    "renames": (FOLDERS + "os.rename(cache, home + '/c')", ["writes .*/home/c", "writes .*/cache"]),
    "removes": (FOLDERS + "os.rmdir(cache)", ["writes .*/cache"]),
    "changes rights": (
        FOLDERS + "os.fchmod(os.open(cache, os.O_RDONLY), 0o755)",
        ["reads .*/cache", "writes .*/cache"],
    ),
    "reads a user's file": (FOLDERS + "os.listdir(home)", ["reads .*/home"]),
    "reads the machine's identity": ("open('/etc/machine-id')", ["reads /etc/machine-id"]),
    "becomes a program": ("import os; os.execv('/bin/true', ['true', '-x'])", ["starts /bin/true -x"]),
    "starts a program": ("import os; os.system('true x; echo y')", ["starts /bin/sh -c .*true x; echo y"]),
    "makes a ring": (  # the call's number on every processor
        "import ctypes; ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(200))",
        ["hides behind io_uring_setup"],
    ),
}
"""Code in the place of a library, and patterns for the deeds to be seen; the first is seen in any case."""


@pytest.mark.parametrize("name", MADE_UP)
def test_every_deed_of_a_library_is_seen(tmp_path: Path, name: str) -> None:
    if reason := why_blind():
        pytest.skip(reason)
    code, patterns = MADE_UP[name]
    user = User(tmp_path)
    with user.start("-c", code) as run:
        run.process.communicate(timeout=30)
    found = surprises(run.deeds(), dict.fromkeys((SCRIPT, "true", "sh"), user.harmless()))
    matches = [[bool(re.fullmatch(f"{SCRIPT} {one}", line)) for one in patterns] for line in found]
    assert all(map(any, matches)), found
    assert any(one[0] for one in matches), found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "connect(3<socket:[1]>, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), "
            'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 ENETUNREACH',
            [(SENDS, "2001:db8::1:443")],
        ),
        (
            "sendmmsg(3<socket:[1]>, [{msg_hdr={msg_name={sa_family=AF_INET, sin_port=htons(53), "
            'sin_addr=inet_addr("192.0.2.1")}, msg_namelen=16, msg_iovlen=1}, msg_len=9}, {msg_hdr={msg_name='
            '{sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("192.0.2.2")}, msg_iovlen=1}}], 2, 0) = 2',
            [(LOOKS_UP, "192.0.2.1:53"), (SENDS, "192.0.2.2:9")],
        ),
        ('sendto(3<socket:[1]>, "x", 1, 0, NULL, 0) = 1', []),
        ("connect(3<socket:[1]>, {sa_family=AF_UNSPEC, sa_data=...}, 16) = 0", []),
        (
            'connect(3<>, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT',
            [(LOOKS_UP, 'unix:"/var/run/nscd/socket"')],
        ),
        ("connect(3<socket:[1]>, {sa_family=AF_VSOCK, svm_cid=2}, 16) = 0", [(SENDS, "vsock")]),
        (
            'openat(7</a/b>, "c/../\\303\\244", O_WRONLY|O_CREAT, 0600) = 3</a/b/\303\244>',
            [(WRITES, "/a/b/ä")],
        ),
        ('openat2(AT_FDCWD</a>, "b", {flags=O_RDONLY, resolve=0}, 24) = -1 ENOENT', [(READS, "/a/b")]),
        ('open("/a", O_RDWR <unfinished ...>', [(WRITES, "/a")]),
        ('renameat2(AT_FDCWD</a>, "b", 5</c>, "d", 0) = 0', [(WRITES, "/a/b"), (WRITES, "/c/d")]),
        ("utimensat(3</a/b>, NULL, NULL, 0) = 0", [(WRITES, "/a/b")]),
        ("shmget(IPC_PRIVATE, 4096, 0600) = 1", [(WRITES, "shmget(IPC_PRIVATE, 4096, 0600) = 1")]),
        (
            "io_uring_setup(8, {flags=IORING_SETUP_SQPOLL}) = 3",
            [(HIDES, "io_uring_setup with a thread of the kernel")],
        ),
        ("+++ killed by SIGKILL +++", []),
    ],
)
def test_a_line_of_strace_is_understood(line: str, expected: list[tuple[str, str]]) -> None:
    assert list(deeds(line)) == expected


def test_no_variable_of_the_tests_own_silences_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "NOTIFY_SOCKET"):
        monkeypatch.setenv(variable, "1")
    show = "import os; print(*sorted(os.environ))"
    variables = set(User(tmp_path).run("-c", show).said.split())
    assert variables <= {*User.FOLDERS, *User.INHERITED, "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"}


def test_files_left_in_a_users_folders_are_seen_without_strace(tmp_path: Path) -> None:
    user = User(tmp_path)
    assert user.left() == set()
    user.run("-c", FOLDERS + "open(home + '/.id', 'w'); os.mkdir(cache + '/reports'); open('core', 'w')")
    assert user.left() == {"home/.id", "cache/reports", "here/core"}
