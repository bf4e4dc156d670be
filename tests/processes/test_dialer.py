"""A name is as good as the best of its addresses, and one that is not found holds nothing up."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.stub_daemon import stub_daemon
from tests.support import ROOT, DaemonProcess, environment, parameters_xml

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="names of its own need root and unshare (util-linux)",
)

DEAD = [f"127.0.77.{number}" for number in range(1, 21)]
"""Addresses of this machine that no other test uses, so that any port is free there."""

LAST = "127.200.77.1"
"""The address of the server. The resolver puts it last: the others have more bits in common with 127.0.0.1, their source."""

LIMIT = 40.0
"""Seconds of connect_timeout: far more than a loaded machine takes for a connection."""

SOON = 8.0
"""Seconds that a loaded machine takes at most to start Python or to connect; a quiet one takes less than one for each."""

WITH_NAMES = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'


def named(folder: Path, hosts: str, *program: str, name_server: str = "127.0.0.1") -> list[str]:
    """The command that runs a Python program where /etc/hosts and /etc/resolv.conf are others."""
    (folder / "hosts").write_text("127.0.0.1 localhost\n" + hosts)
    (folder / "resolv.conf").write_text(f"nameserver {name_server}\noptions timeout:30 attempts:3\n")
    files = [str(folder / "hosts"), str(folder / "resolv.conf")]
    return ["unshare", "--mount", "sh", "-c", WITH_NAMES, *files, sys.executable, *program]


@contextmanager
def dead(kind: str, host: str, port: int) -> Iterator[None]:
    """An address at which no server answers: `full` lets nothing arrive, `mute` accepts and says nothing."""
    with ExitStack() as stack:
        if kind != "refusing":
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.bind((host, port))
            listener.listen(0 if kind == "full" else 16)
            for _ in range(4 if kind == "full" else 0):
                client = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                client.setblocking(False)
                client.connect_ex((host, port))
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with stub_daemon(tmp_path_factory.mktemp("server"), "--host", LAST, seconds=0.0) as process:
        yield process


CONNECT = """
import asyncio, sys, time, uvloop
from pyraface.client.pool.handshake import connect
from pyraface.core import parameters
from pyraface.core.host import keyfile

async def main():
    settings = parameters.load(sys.argv[1])
    started = time.monotonic()
    connection = await connect("attic", int(sys.argv[2]), settings, keyfile.load())
    print(time.monotonic() - started)
    await connection.close()

(uvloop if sys.argv[3] == "uvloop" else asyncio).run(main())
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(
    ("kind", "hosts"),
    [
        ("full", DEAD[:1]),
        ("mute", DEAD[:1]),
        ("refusing", DEAD[:1]),
        ("full", ["::1"]),
        ("full", DEAD),
    ],
    ids=["full", "mute", "refusing", "IPv6", "twenty"],
)
def test_a_server_is_reached_at_once_though_its_other_addresses_are_dead(
    server: DaemonProcess, tmp_path: Path, kind: str, hosts: list[str], loop: str
) -> None:
    (tmp_path / "parameters.xml").write_text(parameters_xml(connect_timeout=LIMIT))
    (tmp_path / "connect.py").write_text(CONNECT)
    known = "".join(f"{host} attic\n" for host in [*hosts, server.host])
    words = [str(tmp_path / "connect.py"), str(tmp_path / "parameters.xml"), str(server.port), loop]
    with ExitStack() as stack:
        for host in hosts:
            stack.enter_context(dead(kind, host, server.port))
        found = subprocess.run(
            named(tmp_path, known, *words), env=environment(), cwd=ROOT, capture_output=True, timeout=120
        )
    assert found.returncode == 0, found.stderr.decode()
    assert float(found.stdout) < SOON


@contextmanager
def silent_name_server() -> Iterator[str]:
    """The address of a name server that receives questions and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.77", 53))
        except OSError as error:
            pytest.skip(f"no name server at 127.0.0.77: {error}")
        yield "127.0.0.77"


def photograph(folder: Path) -> str:
    Image.new("RGB", (64, 64), (90, 120, 150)).save(folder / "photo.jpg")
    return str(folder / "photo.jpg")


LIBRARY = """
import sys
from pyraface import map_faces
from pyraface.core import parameters
list(map_faces([sys.argv[1]], servers="attic", parameters=parameters.load(sys.argv[2])))
"""


@contextmanager
def without_dns(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program whose name server answers nothing: the resolver waits for 90 seconds, three times 30."""
    with silent_name_server() as name_server:
        process = subprocess.Popen(
            named(folder, "", *words, name_server=name_server),
            env=environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def program(name: str, folder: Path, limit: float) -> list[str]:
    """The words that have a program look up a name, for so many seconds."""
    file = folder / "parameters.xml"
    file.write_text(parameters_xml(connect_timeout=limit))
    (folder / "library.py").write_text(LIBRARY)
    options = ["--parameters", str(file)]
    return {
        "detect": ["-m", "pyraface", photograph(folder), "--servers", "attic", *options],
        "servers": ["-m", "pyraface", "servers", "--servers", "attic", *options],
        "pair": ["-m", "pyraface", "pair", "attic", *options],
        "library": [str(folder / "library.py"), photograph(folder), str(file)],
        "daemon": ["-m", "pyraface.daemon", "--host", "attic", *options],
        "daemon pair": ["-m", "pyraface.daemon", "pair", "--host", "attic", *options],
    }[name]


@pytest.mark.parametrize("name", ["detect", "servers", "pair", "library"])
def test_a_name_that_is_not_found_in_time_is_an_error_and_the_prompt_is_back_at_once(
    tmp_path: Path, name: str
) -> None:
    started = time.monotonic()
    with without_dns(tmp_path, *program(name, tmp_path, 1)) as process:
        _, said = process.communicate(timeout=100)
    assert time.monotonic() - started < 1 + SOON, said.decode()
    assert process.returncode not in (0, -signal.SIGKILL)
    assert "no address found for the name within 1 s" in said.decode()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("detect", signal.SIGINT),
        ("detect", signal.SIGTERM),
        ("servers", signal.SIGINT),
        ("pair", signal.SIGINT),
        ("library", signal.SIGINT),
        ("daemon", signal.SIGINT),
        ("daemon", signal.SIGTERM),
        ("daemon pair", signal.SIGINT),
    ],
)
def test_a_name_server_that_is_silent_keeps_no_signal_waiting(
    tmp_path: Path, name: str, number: signal.Signals
) -> None:
    with without_dns(tmp_path, *program(name, tmp_path, LIMIT)) as process:
        while not waits_for_name(process.pid):
            assert process.poll() is None
            time.sleep(0.02)
        started = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=100)
    assert time.monotonic() - started < SOON, said.decode()
    assert process.returncode not in (0, -signal.SIGKILL)
    assert name == "library" or "Traceback" not in said.decode(), said.decode()


def waits_for_name(pid: int) -> bool:
    """Whether a process has sent a question to the name server."""
    return any("127.0.0.77" in str(each.raddr) for each in psutil.Process(pid).net_connections("udp"))


def test_pairing_reaches_a_machine_that_has_a_dead_address(tmp_path: Path) -> None:
    script = """
import asyncio, sys, time
from pyraface.client.pool.discovery import Location
from pyraface.client.pool.pairing import take_key
from pyraface.core.errors import PairingError

started = time.monotonic()
try:
    asyncio.run(take_key(Location("attic", int(sys.argv[1])), "000-000", 40))
except PairingError as error:
    print(str(error))
    print(time.monotonic() - started)
"""
    (tmp_path / "pair.py").write_text(script)
    with socket.create_server((LAST, 0)) as machine:
        port = machine.getsockname()[1]
        with dead("full", DEAD[0], port):
            process = subprocess.Popen(
                named(tmp_path, f"{DEAD[0]} attic\n{LAST} attic\n", str(tmp_path / "pair.py"), str(port)),
                env=environment(),
                cwd=ROOT,
                stdout=subprocess.PIPE,
            )
            machine.settimeout(30)
            try:
                machine.accept()[0].close()
                out, _ = process.communicate(timeout=60)
            finally:
                process.kill()
                process.wait()
    assert "does pyraface-daemon pair run there?" in out.decode()
    assert float(out.decode().splitlines()[-1]) < SOON


def test_the_first_image_is_sent_before_every_server_is_reached(
    server: DaemonProcess, tmp_path: Path
) -> None:
    file, dead_end = tmp_path / "parameters.xml", DEAD[0]
    file.write_text(parameters_xml(connect_timeout=LIMIT))
    servers = f"attic:{server.port},{LAST}:{server.port},{dead_end}:{server.port}"
    words = ["-m", "pyraface", photograph(tmp_path), "--servers", servers, "--parameters", str(file)]
    started = time.monotonic()
    with dead("full", dead_end, server.port), without_dns(tmp_path, *words) as process:
        _, said = process.communicate(timeout=100)
    assert time.monotonic() - started < SOON, said.decode()
    assert process.returncode == 0, said.decode()


def test_an_error_has_an_ipv6_address_in_brackets(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as busy:
        port = busy.getsockname()[1]
    command = [sys.executable, "-m", "pyraface", photograph(tmp_path), "--servers", f"[::1]:{port}"]
    found = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, timeout=60)
    assert f"[::1]:{port}: Connection refused" in found.stderr.decode()
