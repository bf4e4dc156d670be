"""Each process opens the sockets, names, files and programs that docs/security.md lists, its libraries included.

A library may act by itself, when it is imported or seconds later: report usage, keep a cache, start a program. So each
process runs as a user runs it, with all kinds of images, and `watcher` lists its deeds.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tests.processes.watcher import (
    HIDES,
    LISTENS,
    READS,
    SENDS,
    STARTS,
    WRITES,
    Rules,
    Run,
    User,
    own_network,
    surprises,
    why_blind,
)
from tests.support import SEARCH, YUNET, free_udp_port, parameters_xml

SCRIPT = Path(sys.executable).name
DAEMON, WORKER, CLIENT = "pyraface.daemon", "pyraface.daemon.worker", "pyraface.client"

LIFE = 12
"""Seconds that a process lives after its start: ONNX Runtime looked up a host nine seconds after its import."""

PIPELINE = f"""
import sys, time
from pathlib import Path
from pyraface.core import parameters
from pyraface.core.errors import ImageError
from pyraface.core.pipeline import Pipeline

pipeline = Pipeline(parameters.load(), sys.argv[1])
started = time.monotonic()
for file in sorted(Path(sys.argv[2]).iterdir()):
    try:
        print(file.name, len(pipeline.detect(file.read_bytes()).boxes))
    except ImageError:
        print(file.name, "error")
time.sleep(max(0, started + {LIFE} - time.monotonic()))
"""

LIBRARY = f"""
import asyncio, sys
from pathlib import Path
from pyraface.client import Client

async def main():
    async with Client(sys.argv[1]) as client:
        async for result in client.map(sorted(Path(sys.argv[2]).iterdir()), ordered=True):
            print(Path(result.path).name, "error" if result.error else len(result.faces.boxes))
        await asyncio.sleep({LIFE})

asyncio.run(main())
"""

FACES: dict[str, int | str] = {
    **dict.fromkeys(["a.jpg", "c.heic", "d.png", "e.tiff", "f.webp", "large.jpg"], 1),
    "bad.jpg": "error",
}

EVENT_LOOP: Rules = [(HIDES, "io_uring_setup")]
"""libuv hands changes of its epoll set to the kernel in a ring, where no trace sees them."""

INTERFACES: Rules = [(SENDS, "netlink"), (LISTENS, "netlink")]
"""The kernel lists the network's interfaces."""


def asking(port: int) -> Rules:
    """A client looks for servers on the network."""
    return [*INTERFACES, (LISTENS, r"0\.0\.0\.0:0"), (SENDS, rf"127\.255\.255\.255:{port}")]


def announcing(port: int) -> Rules:
    """A server announces itself, and answers clients, which ask from any port."""
    addresses = rf"127\.255\.255\.255:{port}|127\.0\.0\.1:\d+"
    return [*INTERFACES, (LISTENS, rf"0\.0\.0\.0:{port}"), (SENDS, addresses)]


def key_read(user: User) -> Rules:
    return [(READS, f"{user.place}/config/pyraface/key")]


def key_written(user: User) -> Rules:
    """With a draft beside it."""
    folder = f"{user.place}/config/pyraface"
    return [*key_read(user), (READS, folder), (WRITES, rf"{folder}(/key(\.[0-9a-f]{{16}})?)?")]


def temporary(user: User, ending: str = "") -> Rules:
    """A file of Python's tempfile, which tries the folder with another one before."""
    name = rf"{user.place}/tmp/tmp[a-z0-9_]{{8}}{ending}"
    return [(WRITES, rf"{name}|{user.place}/tmp/[a-z0-9_]{{8}}"), (READS, name)]


def started(module: str, options: str) -> Rules:
    return [(STARTS, rf"{re.escape(sys.executable)} -m {re.escape(module)} {options}")]


WORKER_STARTED = started(WORKER, r"--channel \d+ --engine (auto|onnx|dlib)( --frugal)?")
WORKER_WRITES: Rules = [(WRITES, "/proc/self/oom_score_adj")]
DAEMON_STARTED = started(DAEMON, r"--fd \d+ --key-fd \d+ --parameters \S+ --no-beacon --stop-at-eof")
MODELS_READ: Rules = [(READS, r".*/face_recognition_models/models/\w+\.dat")]
if YUNET.is_file():
    MODELS_READ.append((READS, rf".*/core/engines/network/{re.escape(YUNET.name)}"))


class Watched(NamedTuple):
    """A program, the rules for it and for those it starts, and the rules of which each has been seen to be used."""

    run: Run
    may: Mapping[str, Rules]
    used: Mapping[str, Rules]


@dataclass
class Stage:
    """Runs the programs. Each user is known with the files and folders that may be left in the end."""

    folder: Path
    network: tuple[str, ...]
    photographs: Path
    stack: ExitStack
    programs: dict[str, Watched] = field(default_factory=dict)
    users: dict[str, tuple[User, set[str]]] = field(default_factory=dict)

    def pipeline(self, engine: str, more: Callable[[User], Rules]) -> None:
        """Starts a pipeline in a script's own process."""
        user = self._user(f"pipeline-{engine}")
        run = self._start(user, "-c", PIPELINE, engine, self.photographs)
        may = user.harmless() + more(user)
        self.programs[f"pipeline-{engine}"] = Watched(run, {SCRIPT: may}, {SCRIPT: MODELS_READ + more(user)})

    def served(self) -> None:
        """Starts a daemon and a script that is its client, and runs the commands that are its clients, all as one user."""
        discovery = free_udp_port()
        left = ("config/pyraface", "config/pyraface/key", "here/client-named.jsonl", "here/client-auto.jsonl")
        user = self._user("served", *left, server_port_ip_disc=discovery)
        daemon = self._start(user, "-m", DAEMON, "--host", "127.0.0.1", "--port", "0", "--stop-at-eof")
        port = daemon.has_said(r"ready on 127\.0\.0\.1:(\d+)")[1]
        address = f"127.0.0.1:{port}"
        used = [*WORKER_STARTED, (LISTENS, r"127\.0\.0\.1:0"), *key_written(user), *announcing(discovery)]
        self.programs["daemon"] = Watched(
            daemon,
            {DAEMON: user.harmless() + EVENT_LOOP + used, WORKER: user.harmless() + WORKER_WRITES},
            {DAEMON: used, WORKER: MODELS_READ},
        )

        server = [*key_read(user), (SENDS, re.escape(address))]
        script = self._start(user, "-c", LIBRARY, address, self.photographs)
        self.programs["library"] = Watched(script, {SCRIPT: user.harmless() + server}, {SCRIPT: server})

        def command(name: str, run: Run, used: Rules) -> None:
            may = user.harmless() + EVENT_LOOP + used
            self.programs[name] = Watched(run, {CLIENT: may}, {CLIENT: used})

        run, wrote = self._detect(user, "client-named", address)
        command("client-named", run, server + wrote)
        run, wrote = self._detect(user, "client-auto", "auto")
        command("client-auto", run, server + wrote + asking(discovery))
        run = user.run("-m", CLIENT, "servers", "--json")
        assert json.loads(run.said)["port"] == int(port)
        command("servers", run, server + asking(discovery))

    def alone(self, servers: str, more: Callable[[User, int], Rules]) -> None:
        """Runs a client that starts a daemon for itself."""
        discovery = free_udp_port()
        name = f"client-alone-{servers}"
        user = self._user(name, f"here/{name}.jsonl", server_port_ip_disc=discovery)
        run, wrote = self._detect(user, name, servers)
        connected = [(LISTENS, r"127\.0\.0\.1:0"), (SENDS, r"127\.0\.0\.1:\d+")]
        used = [*DAEMON_STARTED, *wrote, *connected, *more(user, discovery)]
        # where the file system has no files without names, they are as the others
        log = [*temporary(user), (WRITES, rf"{user.place}/tmp/ \(without a name\)")]
        handed = [rule for rule in temporary(user) if rule[0] == READS]
        self.programs[name] = Watched(
            run,
            {
                CLIENT: user.harmless() + EVENT_LOOP + used + log,
                DAEMON: user.harmless() + EVENT_LOOP + WORKER_STARTED + handed,
                WORKER: user.harmless() + WORKER_WRITES,
            },
            {CLIENT: used, DAEMON: WORKER_STARTED + handed, WORKER: MODELS_READ},
        )

    def paired(self) -> None:
        """Gives the key of one user to another."""
        port = free_udp_port()
        left = ("config/pyraface", "config/pyraface/key")
        giver, taker = (self._user(name, *left, server_port_pairing=port) for name in ("giver", "taker"))
        gave = self._start(giver, "-m", DAEMON, "pair", "--host", "127.0.0.1")
        code = gave.has_said(r"code: (\d{4}-\d{4})")[1]
        took = taker.run("-m", CLIENT, "pair", input=f"{code}\n")
        gave.end()
        assert len({(user.folder / left[1]).read_text() for user in (giver, taker)}) == 1
        used = [(LISTENS, rf"127\.0\.0\.1:{port}"), *announcing(port), *key_written(giver)]
        self.programs["giver"] = Watched(gave, {DAEMON: giver.harmless() + EVENT_LOOP + used}, {DAEMON: used})
        used = [(SENDS, rf"127\.0\.0\.1:{port}"), *asking(port), *key_written(taker)]
        self.programs["taker"] = Watched(took, {CLIENT: taker.harmless() + EVENT_LOOP + used}, {CLIENT: used})

    def end(self) -> None:
        """Waits for the programs that live for a while."""
        for name in ("pipeline-onnx", "pipeline-dlib", "library"):
            run = self.programs[name].run
            run.end()
            found = dict(line.split() for line in run.said.splitlines())
            assert found == {name: str(faces) for name, faces in FACES.items()}
        self.programs["daemon"].run.end()  # by the end of its input

    def _user(self, name: str, *left: str, **ports: int) -> User:
        parameters = self.folder / f"{name}.xml"
        parameters.write_text(parameters_xml(search=SEARCH, **ports))
        user = User(self.folder / name, self.network, PYRAFACE_PARAMETERS=str(parameters))
        self.users[name] = user, set(left)
        return user

    def _start(self, user: User, *arguments: str | Path) -> Run:
        return self.stack.enter_context(user.start(*arguments))

    def _detect(self, user: User, name: str, servers: str) -> tuple[Run, Rules]:
        """Returns a client that has found the faces, and the rule for its output."""
        output = user.folder / "here" / f"{name}.jsonl"
        # status 1: some images failed
        run = user.run("-m", CLIENT, "--servers", servers, "--output", output, self.photographs, status=1)
        lines = map(json.loads, output.read_text().splitlines())
        found = {Path(one["path"]).name: "error" if one["error"] else len(one["faces"]) for one in lines}
        assert found == FACES
        return run, [(WRITES, f"{user.place}/here/{name}.jsonl")]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """An image of each format, a large one, and a bad one."""
    folder = tmp_path_factory.mktemp("photographs")
    image = Image.fromarray(astronaut[41:191, 146:296])  # soon searched
    pillow_heif.from_pillow(image).save(folder / "c.heic")
    for name in ("a.jpg", "d.png", "e.tiff", "f.webp"):
        image.save(folder / name)
    # other libraries decode and shrink it than a small one
    image.resize((2200, 2200)).save(folder / "large.jpg")
    (folder / "bad.jpg").write_bytes((folder / "a.jpg").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[str, ...]]:
    with own_network() as prefix:
        yield prefix


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, network: tuple[str, ...], photographs: Path
) -> Iterator[Stage]:
    """All programs have run, beside each other, because some live for a while."""
    with ExitStack() as stack:
        stage = Stage(tmp_path_factory.mktemp("stage"), network, photographs, stack)
        stage.pipeline("onnx", lambda _: [])
        stage.pipeline("dlib", lambda user: temporary(user, r"\.dat"))
        stage.served()
        stage.alone("local", lambda *_: [])
        stage.alone("auto", lambda user, port: key_read(user) + asking(port))
        stage.paired()
        stage.end()
        yield stage


ALONE = ["client-alone-local", "client-alone-auto"]
PIPELINES = ["pipeline-onnx", "pipeline-dlib"]
PAIRED = ["giver", "taker"]
PROGRAMS = ["daemon", "library", "client-named", "client-auto", "servers", *ALONE, *PIPELINES, *PAIRED]
USERS = ["served", *ALONE, *PIPELINES, *PAIRED]


def test_every_program_and_every_user_is_tested(stage: Stage) -> None:
    assert sorted(stage.programs) == sorted(PROGRAMS)
    assert sorted(stage.users) == sorted(USERS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_process_opens_and_starts_nothing_but_the_documented(stage: Stage, name: str) -> None:
    if reason := why_blind():
        pytest.skip(reason)
    run, may, used = stage.programs[name]
    deeds = list(run.deeds())
    found = surprises(deeds, may)
    assert not found, "\n".join(found)
    # a watcher that saw nothing would be content with that
    for actor, rules in used.items():
        for kind, pattern in rules:
            objects = [deed.object for deed in deeds if (deed.actor, deed.kind) == (actor, kind)]
            assert any(re.fullmatch(pattern, one) for one in objects), (
                f"{actor} {kind} {pattern}: not seen among {objects}"
            )


@pytest.mark.parametrize("name", USERS)
def test_no_files_but_the_documented_are_left_in_a_users_folders(stage: Stage, name: str) -> None:
    user, expected = stage.users[name]
    assert user.left() == expected


def test_a_deed_of_a_library_is_told_of_the_process_that_loaded_it(
    tmp_path: Path, network: tuple[str, ...]
) -> None:
    """The library is a module that Python imports by itself, and does in the worker what ONNX Runtime's reports did."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "sitecustomize.py").write_text(
        "import os, socket, sys\n"
        f"if {WORKER!r} in sys.orig_argv:\n"
        "    os.mkdir(os.environ['XDG_CACHE_HOME'] + '/Reports')\n"
        "    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.1.2.3', 53))\n"
    )
    user = User(tmp_path / "user", network)
    user.environment["PYTHONPATH"] += f":{tmp_path / 'library'}"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-beacon", "--stop-at-eof")
    with user.start("-m", DAEMON, *options) as daemon:
        daemon.has_said("ready on")
        daemon.end()
    assert user.left() == {"config/pyraface", "config/pyraface/key", "cache/Reports"}
    if reason := why_blind():
        pytest.skip(reason)
    daemon_may = user.harmless() + EVENT_LOOP + key_written(user) + WORKER_STARTED
    rules = {DAEMON: [*daemon_may, (LISTENS, r"127\.0\.0\.1:0")], WORKER: user.harmless() + WORKER_WRITES}
    assert surprises(daemon.deeds(), rules) == [
        f"{WORKER} writes {user.folder}/cache/Reports",
        f"{WORKER} looks up a name by 127.1.2.3:53",
    ]
