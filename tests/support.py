"""Real daemons as processes, and what tests need to talk to them."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
from PIL import Image

from pyraface.core.engines.network import yunet
from pyraface.core.host import keyfile
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import PROTOCOL_VERSIONS, Challenge, Hello, Message, Proof, Welcome
from pyraface.core.protocol.proofs import Role, Transcript, certificate_digest

ROOT = Path(__file__).resolve().parent.parent

T = TypeVar("T")

YUNET = Path(yunet.__file__).with_name(yunet.WEIGHTS_FILE)
SEARCH = "guided" if YUNET.is_file() else "everywhere"
"""The search that reads and computes the most: the guided one, unless the package was built without YuNet."""

READY = re.compile(rb"ready on (\S+):(\d+)(?:, \S+)*: (\S+) on ")


def parameters_xml(**changes: object) -> str:
    """Returns a parameters.xml confined to loopback, with small tiles; `changes` name elements: image_timeout=1."""
    sections: dict[str, dict[str, object]] = {
        "tiled_detect_params": {"upsample": 0, "height": 400, "width": 500, "levels": 1},
        "ports": {"server_port_image_handle": 5000, "server_port_ip_disc": 5001, "server_port_pairing": 5002},
        "timeout": {
            "connect_timeout": 5,
            "read_timeout": 60,
            "handshake_timeout": 10,
            "frame_timeout": 60,
            "slow_timeout": 10,
            "idle_timeout": 600,
            "image_timeout": 120,
            "drain_timeout": 150,
        },
        "images": {"max_pixels": 120_000_000},
        "daemon": {
            "max_frame_bytes": 134217728,
            "max_connections": 64,
            "max_connections_per_address": 64,
            "max_bytes_in_flight": 536870912,
            "max_bytes_per_connection": 134217728,
            "min_bytes_per_second": 16384,
            "credits": 4,
            "queue": 64,
            "decoding_threads": 2,
        },
        "beacon": {"interval": 5, "interfaces": "lo", "name": ""},
        "security": {"authentication": "key"},
    }
    for name, value in changes.items():
        section = next(
            (section for section in sections.values() if name in section), sections["tiled_detect_params"]
        )
        section[name] = value
    body = "".join(
        f"<{section}>{''.join(f'<{name}>{value}</{name}>' for name, value in values.items())}</{section}>"
        for section, values in sections.items()
    )
    return f"<params>{body}</params>"


def free_udp_port() -> int:
    """Returns a UDP port that nobody uses, so that servers of other people and tests are not heard.

    TCP has it free, too, for what listens on both; and it is none that the system gives to outgoing connections, one of
    which might have it by then.
    """
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range")
    low = int(outgoing.read_text().split()[0]) if outgoing.is_file() else 32768
    while True:
        port = random.SystemRandom().randrange(10_000, max(low, 20_000))
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        ):
            try:
                udp.bind(("", port))
                tcp.bind(("", port))
            except OSError:
                continue
            return port


class DaemonProcess:
    """A running `python -m pyraface.daemon`, or another module that is one; its worker has that module's name too.

    Args:
        place: for its log.
        folder: with the package: this checkout, or a copy of it.
    """

    def __init__(
        self,
        place: Path,
        arguments: list[str],
        *,
        prefix: tuple[str, ...] = (),
        module: str = "pyraface.daemon",
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:
        self.log = place / f"daemon-{time.monotonic_ns()}.log"
        self._module = module
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, *arguments],
                stderr=log,
                cwd=folder,
                env={**os.environ, **(environment or {})},
            )
        self.host, self.port, self.engine = self._ready()

    def _ready(self) -> tuple[str, int, str]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = READY.search(self.log.read_bytes())
            if found:
                return found[1].decode(), int(found[2]), found[3].decode()
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the daemon did not become ready: {self.log.read_text()}")

    @property
    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text()

    @property
    def worker(self) -> psutil.Process:
        """Its worker."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
                    if any(word.startswith(self._module) for word in child.cmdline()):
                        return child
            time.sleep(0.01)
        raise AssertionError("the daemon has no worker")

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Meanwhile the worker does nothing: no image is done before a test is ready for that."""
        worker = self.worker
        worker.suspend()
        try:
            yield
        finally:
            worker.resume()

    def ended(self, timeout: float = 30) -> int:
        """Waits for its own end and returns the exit status."""
        return self.process.wait(timeout)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Sends a signal and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the daemon did not stop: {self.said}") from None


def runs(process: psutil.Process) -> bool:
    """Whether a process still does anything. A zombie is dead: init takes its time to collect it."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def still_running(processes: Iterable[psutil.Process], timeout: float = 10) -> list[psutil.Process]:
    """Waits until none of these runs any more; returns those that do when the time is over."""
    deadline = time.monotonic() + timeout
    while (left := [process for process in processes if runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


@contextmanager
def daemon(
    folder: Path,
    *arguments: str,
    beacon: bool = False,
    module: str = "pyraface.daemon",
    environment: Mapping[str, str] | None = None,
    **changes: object,
) -> Iterator[DaemonProcess]:
    """A daemon on loopback at a free port, with parameters changed by name; ended at the end, whatever happens."""
    file = folder / f"parameters-{time.monotonic_ns()}.xml"
    file.write_text(parameters_xml(**changes))
    address = [] if beacon else ["--no-beacon"]
    process = DaemonProcess(
        folder,
        ["--parameters", str(file), "--host", "127.0.0.1", "--port", "0", *address, *arguments],
        module=module,
        environment=environment,
    )
    try:
        yield process
    finally:
        children = psutil.Process(process.process.pid).children() if process.process.poll() is None else []
        if process.process.poll() is None:
            process.process.kill()
        process.process.wait()
        assert not still_running(children), "the worker outlived its daemon"


NONCE = b"nonce of a client in the tests.."


def tls() -> ssl.SSLContext:
    """The client's side of TLS, with whoever is there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Peer:
    """A client made of nothing but the codec: it can say what a good client never would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.codec = wire.Codec(max_frame_bytes=2**31)

    @classmethod
    async def connect(
        cls, port: int, host: str = "127.0.0.1", *, local_addr: tuple[str, int] | None = None
    ) -> Peer:
        """A connection within TLS, from an address of one's own; nothing is said yet."""
        streams = asyncio.open_connection(host, port, ssl=tls(), server_hostname="", local_addr=local_addr)
        return cls(*await streams)

    @classmethod
    async def welcomed(
        cls, port: int, *, local_addr: tuple[str, int] | None = None, client: str = "test"
    ) -> tuple[Peer, Welcome]:
        """A client that has shown the key of the tests."""
        peer = await cls.connect(port, local_addr=local_addr)
        challenge = await peer.challenged(client)
        (key,) = keyfile.load()
        peer.send(Proof(peer.transcript(challenge).proof(key, Role.CLIENT)))
        welcome = await peer.next()
        assert isinstance(welcome, Welcome)
        return peer, welcome

    async def challenged(self, client: str = "test") -> Challenge:
        """The server's answer to a hello."""
        self.send(Hello(PROTOCOL_VERSIONS, client, NONCE))
        challenge = await self.next()
        assert isinstance(challenge, Challenge)
        return challenge

    def transcript(self, challenge: Challenge) -> Transcript:
        """What is to be proved after a challenge."""
        certificate = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return Transcript(
            NONCE, challenge.nonce, certificate_digest(certificate), PROTOCOL_VERSIONS, challenge.version
        )

    def send(self, message: Message) -> None:
        self.writer.write(wire.encode(message))

    async def next(self, timeout: float = 60) -> Message | None:
        """The next message; None at the end of the connection."""
        while (message := self.codec.next_message()) is None:
            assert self.codec.error is None, self.codec.error
            data = await asyncio.wait_for(self.reader.read(1 << 16), timeout)
            if not data:
                return None
            self.codec.receive_data(data)
        return message

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return


def greeted(client: socket.socket) -> ssl.SSLSocket:
    """What a client says before it may begin, over a socket of one's own; closing that is up to who gets it."""
    secure = tls().wrap_socket(client)
    secure.sendall(wire.encode(Hello(PROTOCOL_VERSIONS, "test", NONCE)))
    codec = wire.Codec(max_frame_bytes=1 << 20)
    while not isinstance(challenge := codec.next_message(), Challenge):
        codec.receive_data(secure.recv(4096))
    certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    transcript = Transcript(
        NONCE, challenge.nonce, certificate_digest(certificate), PROTOCOL_VERSIONS, challenge.version
    )
    secure.sendall(wire.encode(Proof(transcript.proof(keyfile.load()[0], Role.CLIENT))))
    return secure


def run(work: Awaitable[T], timeout: float = 120) -> T:
    """Runs a coroutine, never for ever."""

    async def bounded() -> T:
        return await asyncio.wait_for(work, timeout)

    return asyncio.run(bounded())


def environment(**more: str) -> dict[str, str]:
    """The environment for a subprocess that imports this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def python(
    *arguments: str | Path, prefix: tuple[str, ...] = (), cwd: Path | None = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python to its end, with what it prints; `variables` are of its environment."""
    return subprocess.run(
        [*prefix, sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def pyraface(
    *arguments: str | Path, prefix: tuple[str, ...] = (), cwd: Path | None = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the client's command to its end, as `python` does."""
    return python("-m", "pyraface.client", *arguments, prefix=prefix, cwd=cwd, **variables)


def wait_for_lines(process: subprocess.Popen[str], output: Path, count: int = 1) -> None:
    """Waits until a run has written so many lines to its output."""
    while not output.exists() or output.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "the run ended before it had written so many lines"
        time.sleep(0.01)


def small_images(folder: Path, count: int) -> None:
    """Makes a folder of images for an engine that finds no face."""
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (16, 16), (number % 256, number // 256, 0)).save(folder / f"{number:03}.png")
