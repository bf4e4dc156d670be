"""Watcher: runs a program under strace, as a user with empty folders, and lists its deeds.

A deed is an effect on the world outside of the process: an address sent to or listened at, a name looked up, a file read or
written, a program started. Each has its actor, because a program starts others.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.support import ROOT

SENDS, LISTENS, LOOKS_UP, READS, WRITES, STARTS, HIDES = (
    "sends to",
    "listens at",
    "looks up a name by",
    "reads",
    "writes",
    "starts",
    "hides behind",
)

_CHANGES = [
    *(
        "creat",
        "unlink",
        "unlinkat",
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
    ),
    *("mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "truncate", "mount", "umount2", "open_by_handle_at"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat", "utime", "utimes"),
    *("utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr"),
    *("fremovexattr", "mq_open", "shmget"),
]
"""System calls that change the file system, or make memory that others can open. Writing to a file needs an open before."""

_CALLS = [
    *("open", "openat", "openat2", "connect", "sendto", "sendmsg", "sendmmsg", "bind", "execve", "execveat"),
    *("clone", "clone3", "fork", "vfork", "io_uring_setup", "ptrace", "bpf"),
    *_CHANGES,
]

_NAMES = re.compile(r"/etc/(resolv\.conf|hosts|host\.conf|gai\.conf)|.*/libnss_(dns|resolve|mdns\w*)\.so.*")
"""Files that the C library opens to find the address of a host, and for nothing else."""

_NAME_SERVICE = re.compile(r":53$|^unix:.*(nscd|resolve|avahi|sssd)")
"""Addresses of the services that the C library asks for the address of a host."""

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(?:\.\.\.)?')
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_FAMILY = re.compile(r"sa_family=AF_(\w+)((?:(?!sa_family=).)*)")
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_ADDRESS = re.compile(r'inet_(?:addr\(|pton\(AF_INET6, )"([^"]+)"')
_SOCKET_FILE = re.compile(r'sun_path=(@?"(?:[^"\\]|\\.)*")')
_CHILD = re.compile(r"\) += (\d+)$")


class Deed(NamedTuple):
    """One effect of an actor, which is a module run by Python or another program, on an object."""

    actor: str
    kind: str
    object: str


Rules = list[tuple[str, str]]
"""Kinds of deeds, with a regular expression for the whole of the object."""

IDENTITIES = r"/etc/machine-id|/var/lib/dbus/|/sys/.*/(dmi/|address$)|/proc/sys/kernel/random/boot_id"
"""Files by which a collector of reports tells machines apart."""


def surprises(deeds: Iterable[Deed], allowed: Mapping[str, Rules]) -> list[str]:
    """Returns the deeds that the rules of their actors do not allow, each once, as lines for a person."""
    return [
        " ".join(deed)
        for deed in dict.fromkeys(deeds)
        if not any(
            deed.kind == kind and re.fullmatch(pattern, deed.object)
            for kind, pattern in allowed.get(deed.actor, ())
        )
    ]


@functools.cache
def why_blind() -> str | None:
    """Returns the reason why strace cannot watch on this machine; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    return f"strace may not trace here: {done.stderr.strip()[-200:]}" if done.returncode else None


@contextlib.contextmanager
def own_network() -> Iterator[tuple[str, ...]]:
    """Yields the words to put before a command to give it a network that is loopback and nothing else.

    No words where the rights or the programs for that are missing: then parameters.xml confines pyraface to loopback, but
    nothing confines its libraries.
    """
    make = ["unshare", "--net", "--", "sh", "-c", "ip link set lo up && echo up && exec cat"]
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        yield ()
        return
    pipe = subprocess.PIPE
    with subprocess.Popen(make, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            up = holder.stdout.readline() == "up\n"
            yield ("nsenter", f"--net=/proc/{holder.pid}/ns/net", "--") if up else ()
        finally:
            holder.stdin.close()  # ends it


class User:
    """A user with folders that are empty at first, who runs programs.

    The environment begins empty: a variable of the tests' own (CI, or a wish for no telemetry) could silence a library that
    is not silent elsewhere.

    Attributes:
        folder: holds the user's folders, and the output and the traces of the programs.
        place: the same as a regular expression.
    """

    FOLDERS: Mapping[str, str] = {
        "HOME": "home",
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "state",
        "XDG_RUNTIME_DIR": "runtime",
        "TMPDIR": "tmp",
        "PWD": "here",
    }

    INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")

    def __init__(self, folder: Path, network: tuple[str, ...] = (), **variables: str) -> None:
        self.folder = folder.resolve()
        self.place = re.escape(str(self.folder))
        self._network = network
        self._runs = 0
        for name in self.FOLDERS.values():
            (self.folder / name).mkdir(mode=0o700, parents=True)
        self.environment = {
            **{name: os.environ[name] for name in self.INHERITED if name in os.environ},
            **{variable: str(self.folder / name) for variable, name in self.FOLDERS.items()},
            "PYTHONPATH": str(ROOT),
            # Python itself keeps compiled modules beside their sources
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }

    def harmless(self) -> Rules:
        """Deeds of every process: reading is free but for the user's own files, and those that identify the machine."""
        return [
            (WRITES, "/dev/null"),
            (READS, rf"(?!{self.place}/|{IDENTITIES}).*"),
            (READS, f"{self.place}/here"),  # python -m looks there for modules
        ]

    def start(self, *arguments: str | Path) -> Run:
        """Starts Python with these arguments."""
        self._runs += 1
        folder = self.folder / f"run-{self._runs}"
        return Run(folder, [*self._network], [sys.executable, *map(str, arguments)], self.environment)

    def run(self, *arguments: str | Path, input: str = "", status: int = 0) -> Run:
        """Runs Python with these arguments; its exit status has to be `status`."""
        with self.start(*arguments) as run:
            run.end(input, status=status)
        return run

    def left(self) -> set[str]:
        """Returns the files and folders that are in the user's folders now."""
        return {
            str(path.relative_to(self.folder))
            for name in self.FOLDERS.values()
            for path in (self.folder / name).rglob("*")
        }


class Run:
    """One program that runs, and is killed at the end of the context; `end` waits for its own end."""

    def __init__(
        self, folder: Path, prefix: list[str], command: list[str], environment: Mapping[str, str]
    ) -> None:
        self._log = folder / "said"
        self._traces = folder / "traces"
        self._traces.mkdir(parents=True)
        calls = ",".join(f"?{call}" for call in _CALLS)  # ?: where the processor and strace know it
        tracer = [
            *("strace", "-ff", "-qq", "-y", "-s", "500", "-e", "signal=none", "-e", f"trace={calls}"),
            *("-o", str(self._traces / "trace")),
        ]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, *([] if why_blind() else tracer), *command],
                cwd=environment["PWD"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            for one in (*family, self.process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        self.process.communicate()

    @property
    def said(self) -> str:
        """Its output so far, standard error included."""
        return self._log.read_text()

    def has_said(self, pattern: str, timeout: float = 60) -> re.Match[str]:
        """Returns the match of a pattern in its output, as soon as there is one."""
        deadline = time.monotonic() + timeout
        while (found := re.search(pattern, self.said)) is None:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        return found

    def end(self, input: str = "", *, status: int = 0, timeout: float = 60) -> None:
        """Gives it the last of its input and waits for its end."""
        self.process.communicate(input.encode(), timeout=timeout)
        assert self.process.returncode == status, self.said

    def deeds(self) -> Iterator[Deed]:
        """Yields its deeds and those of the programs it started, in no order among processes and threads."""
        # one file for each task, and the number of a task is the end of its file's name
        traces = {int(file.suffix[1:]): file.read_text().splitlines() for file in self._traces.iterdir()}
        children = {int(child[1]) for line in itertools.chain(*traces.values()) if (child := _child(line))}
        # the first task, which begins with an execve of strace's; no rule allows a task without parents anything else
        todo = [("unknown", traces[task]) for task in traces.keys() - children]
        begun = False
        while todo:
            actor, lines = todo.pop()
            for line in lines:
                if child := _child(line):
                    todo.append((actor, traces[int(child[1])]))
                    continue
                if not begun and actor == "unknown" and line.startswith("execve"):
                    begun = True
                else:
                    yield from (Deed(actor, *deed) for deed in deeds(line))
                if line.startswith("execve") and line.endswith(" = 0"):
                    actor = _actor(_words(line))


def deeds(line: str) -> Iterator[tuple[str, str]]:
    """Yields the kind and the object of each deed in a line of strace's: of a system call, granted or refused."""
    call, _, arguments = line.partition("(")
    if call in ("execve", "execveat"):
        yield STARTS, " ".join(_words(arguments))
    elif call in ("open", "openat", "openat2"):
        path, end = next(iter(_paths(arguments)), (arguments, 0))
        flags = arguments[end:]
        if "O_TMPFILE" in flags:
            yield WRITES, f"{path}/ (without a name)"
        elif re.search("O_(WRONLY|RDWR|CREAT|TRUNC)", flags):
            yield WRITES, path
        else:
            yield LOOKS_UP if _NAMES.fullmatch(path) else READS, path
    elif call in _CHANGES:
        descriptor = _DESCRIPTOR.match(arguments)
        names = [path for path, _ in _paths(arguments)] or ([descriptor[1]] if descriptor else [line])
        yield from ((WRITES, name) for name in names)
    elif call == "bind":
        yield from ((LISTENS, address) for address in _addresses(arguments))
    elif call in ("connect", "sendto", "sendmsg", "sendmmsg"):
        for address in _addresses(arguments):
            yield LOOKS_UP if _NAME_SERVICE.search(address) else SENDS, address
    elif call == "io_uring_setup":
        yield HIDES, f"{call} with a thread of the kernel" if "SETUP_SQPOLL" in arguments else call
    elif call in ("ptrace", "bpf"):
        yield HIDES, call


def _addresses(arguments: str) -> Iterator[str]:
    """Yields the addresses in a call's arguments; a call on a connected socket has none."""
    for family, rest in _FAMILY.findall(arguments):
        address, port = _ADDRESS.search(rest), _PORT.search(rest)
        file = _SOCKET_FILE.search(rest)
        if address and port:
            yield f"{address[1]}:{port[1]}"
        elif file:
            yield f"unix:{_text(file[1])}"
        elif family != "UNSPEC":  # AF_UNSPEC disconnects
            yield family.lower()


def _paths(arguments: str) -> list[tuple[str, int]]:
    """Returns each path in a call's arguments, made absolute, and the position of its end there."""
    return [
        (os.path.normpath(os.path.join(found[1] or "", _text(found[2]))), found.end())
        for found in _PATH.finditer(arguments)
    ]


def _words(arguments: str) -> list[str]:
    """Returns the program of an execve, by its path, and its arguments."""
    program, _, *words = [_text(word) for word in _STRING.findall(arguments)]
    return [program, *words]


def _text(escaped: str) -> str:
    return escaped.encode().decode("unicode_escape").encode("latin-1").decode(errors="replace")


def _actor(words: list[str]) -> str:
    """Returns the module that Python runs, or the program's name."""
    return words[words.index("-m") + 1] if "-m" in words[:2] else os.path.basename(words[0])


def _child(line: str) -> re.Match[str] | None:
    return _CHILD.search(line) if re.match("(clone3?|v?fork)[(]", line) else None
