"""Who has the key is served, nobody else; and who does not prove it gets no image."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pyraface.client import Client
from pyraface.client.pool.handshake import connect
from pyraface.core import parameters
from pyraface.core.errors import ErrorCode, ServerError, WrongKeyError
from pyraface.core.host import keyfile
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import (
    Challenge,
    Closing,
    Detect,
    Draining,
    Found,
    Hello,
    Ping,
    Pong,
    Proof,
    Welcome,
)
from pyraface.core.protocol.proofs import Role, Transcript
from pyraface.daemon.tls import Credentials
from tests.stub_daemon import stub_daemon
from tests.support import NONCE, ROOT, DaemonProcess, Peer, daemon, environment, parameters_xml, run

KEY = b"a key that nobody else has at all"[:32]


def settings(**changes: object) -> parameters.Parameters:
    return parameters.parse(parameters_xml(connect_timeout=3, **changes).encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with stub_daemon(tmp_path_factory.mktemp("server"), "--verbose", seconds=0.0) as process:
        yield process


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 120, 150)).save(stream, "JPEG")
    return stream.getvalue()


async def ends(peer: Peer) -> ErrorCode:
    """The code with which the server ends the connection."""
    words = await peer.next()
    assert isinstance(words, Closing), words
    assert await peer.next() is None
    await peer.close()
    return words.code


def still_serves(server: DaemonProcess, jpeg: bytes) -> None:
    async def talk() -> None:
        peer, _ = await Peer.welcomed(server.port)
        peer.send(Detect(1, jpeg))
        assert isinstance(await peer.next(), Found)
        await peer.close()

    run(talk())


def test_the_server_proves_its_key_first_and_tells_of_itself_only_afterwards(server: DaemonProcess) -> None:
    async def talk() -> None:
        peer = await Peer.connect(server.port)
        challenge = await peer.challenged()
        transcript = peer.transcript(challenge)
        assert transcript.proven(challenge.proof, keyfile.load(), Role.SERVER)
        with pytest.raises(asyncio.TimeoutError):
            await peer.next(timeout=0.5)
        peer.send(Proof(transcript.proof(keyfile.load()[0], Role.CLIENT)))
        assert isinstance(await peer.next(), Welcome)
        await peer.close()

    run(talk())


async def proof_with_another_key(peer: Peer, _: int) -> Proof:
    return Proof(peer.transcript(await peer.challenged()).proof(KEY, Role.CLIENT))


async def the_servers_own_proof(peer: Peer, _: int) -> Proof:
    return Proof((await peer.challenged()).proof)


async def a_proof_of_another_connection(peer: Peer, port: int) -> Proof:
    other = await Peer.connect(port)
    proof = other.transcript(await other.challenged()).proof(keyfile.load()[0], Role.CLIENT)
    await other.close()
    await peer.challenged()
    return Proof(proof)


async def a_proof_for_another_offer_of_versions(peer: Peer, _: int) -> Proof:
    told = peer.transcript(await peer.challenged())
    wished = Transcript(told.client_nonce, told.server_nonce, told.certificate, (1, 2), told.version)
    return Proof(wished.proof(keyfile.load()[0], Role.CLIENT))


async def a_proof_for_another_certificate(peer: Peer, _: int) -> Proof:
    told = peer.transcript(await peer.challenged())
    other = Credentials.for_key(KEY).certificate
    shown = Transcript(told.client_nonce, told.server_nonce, other, told.versions, told.version)
    return Proof(shown.proof(keyfile.load()[0], Role.CLIENT))


@pytest.mark.parametrize(
    "cheat",
    [
        proof_with_another_key,
        the_servers_own_proof,
        a_proof_of_another_connection,
        a_proof_for_another_offer_of_versions,
        a_proof_for_another_certificate,
    ],
    ids=lambda cheat: cheat.__name__,
)
def test_what_proves_nothing_is_refused(server: DaemonProcess, jpeg: bytes, cheat: object) -> None:
    async def talk() -> None:
        peer = await Peer.connect(server.port)
        peer.send(await cheat(peer, server.port))  # type: ignore[operator]
        assert await ends(peer) is ErrorCode.WRONG_KEY

    run(talk())
    still_serves(server, jpeg)


def test_last_words_reach_a_client_that_goes_on_sending_and_the_end_comes_at_once(
    server: DaemonProcess,
) -> None:
    async def talk() -> None:
        for _ in range(5):
            peer, _ = await Peer.welcomed(server.port)
            peer.writer.write(b"\xff" * 4 + bytes(20_000_000))
            began = asyncio.get_running_loop().time()
            assert await ends(peer) is ErrorCode.FRAME_TOO_LARGE
            assert asyncio.get_running_loop().time() - began < 4, "it waited for its own limit"

    run(talk())


def test_a_client_without_tls_is_no_client_and_disturbs_nobody(server: DaemonProcess, jpeg: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.settimeout(20)
        plain.sendall(wire.encode(Hello((1,), "plain", NONCE)) + wire.encode(Detect(1, jpeg)))
        answer = b""
        try:
            while data := plain.recv(1000):
                answer += data
        except ConnectionError:
            pass  # as good an end as any other
    assert len(answer) < 10, "an alert of TLS at most"
    still_serves(server, jpeg)


def test_the_log_says_who_failed_and_holds_no_key(server: DaemonProcess, jpeg: bytes) -> None:
    still_serves(server, jpeg)

    async def talk() -> None:
        peer = await Peer.connect(server.port)
        peer.send(await proof_with_another_key(peer, server.port))
        await ends(peer)

    run(talk())
    assert "wrong-key: the client does not have this server's key" in server.said
    said = server.log.read_bytes()
    (key,) = keyfile.load()
    for secret in (key, key.hex().encode(), KEY, NONCE, jpeg[:20], repr(jpeg[:20]).encode()[2:-1]):
        assert secret not in said


def test_a_client_that_is_just_greeted_when_the_server_stops_is_welcomed_first(
    tmp_path: Path, jpeg: bytes
) -> None:
    with stub_daemon(tmp_path, seconds=3.0) as stopping:

        async def talk() -> None:
            working, _ = await Peer.welcomed(stopping.port)
            late = await Peer.connect(stopping.port)
            proof = late.transcript(await late.challenged()).proof(keyfile.load()[0], Role.CLIENT)
            working.send(Detect(1, jpeg))
            working.send(Ping(2))
            assert isinstance(await working.next(), Pong)
            stopping.process.terminate()
            assert isinstance(await working.next(), Draining)
            late.send(Proof(proof))
            assert [type(await late.next()) for _ in range(2)] == [Welcome, Draining]
            assert isinstance(await working.next(), Found)
            assert await late.next() is None
            for peer in (working, late):
                await peer.close()

        run(talk())
        assert stopping.ended() == 0


# what the client refuses


@asynccontextmanager
async def listening(serve: object, credentials: Credentials | None) -> AsyncIterator[int]:
    """Something at a port of loopback, within TLS if it has credentials."""
    tls = {"ssl": credentials.context} if credentials is not None else {}
    there = await asyncio.start_server(serve, "127.0.0.1", 0, **tls)  # type: ignore[arg-type]
    try:
        yield there.sockets[0].getsockname()[1]
    finally:
        there.close()


class Impostor:
    """Calls itself a server, and keeps all that it hears."""

    def __init__(self, *words: object) -> None:
        self.words = words
        self.heard: list[object] = []
        self.ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        codec = wire.Codec(max_frame_bytes=1 << 24)
        words = list(self.words)
        try:
            while data := await reader.read(1 << 16):
                codec.receive_data(data)
                while (message := codec.next_message()) is not None:
                    self.heard.append(message)
                    if words:
                        writer.write(wire.encode(words.pop(0)))  # type: ignore[arg-type]
        except OSError:
            pass  # a client that has heard enough
        finally:
            writer.close()
            self.ended.set()


WELCOME = Welcome(
    1,
    "impostor",
    "i",
    "onnx",
    "cpu",
    "cpu",
    "0.1.0",
    "f",
    ("everywhere",),
    ("f",),
    1 << 24,
    1 << 24,
    4,
    0.0,
    (),
)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([Challenge(1, NONCE, bytes(32)), WELCOME], "has a key that this user does not have"),
        ([WELCOME], "does not prove a key"),
        ([Proof(bytes(32)), WELCOME], "hello must be answered with challenge or welcome, not proof"),
    ],
    ids=["a made-up proof", "welcome at once", "a client's word"],
)
def test_an_impostor_hears_hello_and_never_an_image(words: list[object], says: str, jpeg: bytes) -> None:
    async def talk() -> None:
        impostor = Impostor(*words)
        async with listening(impostor, Credentials.for_key(KEY)) as port:
            with pytest.raises(ServerError, match=says):
                async with Client(f"127.0.0.1:{port}", parameters=settings(), keys=[bytes(32)]) as client:
                    await client.detect(jpeg)
            await asyncio.wait_for(impostor.ended.wait(), 20)
        assert [type(message) for message in impostor.heard] in ([Hello], [Hello, Closing])

    run(talk())


@pytest.mark.parametrize(("deviation", "refused"), [(0.19, False), (0.21, True), (1e300, True)])
def test_a_server_whose_encodings_are_too_far_off_is_refused_with_the_reason(
    deviation: float, refused: bool, jpeg: bytes
) -> None:
    async def talk() -> None:
        impostor = Impostor(replace(WELCOME, deviation=deviation))
        async with listening(impostor, None) as port:
            connecting = connect("127.0.0.1", port, settings(authentication="none"), ())
            if not refused:
                await (await connecting).close()
                return
            with pytest.raises(
                ServerError, match=r"reference face is .* and at most 0\.2 is allowed: its device"
            ):
                await connecting
            with pytest.raises(ServerError, match=r"no server reached: .* and at most 0\.2 is allowed"):
                async with Client(f"127.0.0.1:{port}", parameters=settings(authentication="none")) as client:
                    await client.detect(jpeg)
        assert {type(message) for message in impostor.heard} == {Hello}

    run(talk())


def test_before_the_welcome_a_server_has_no_claim_on_a_clients_memory() -> None:
    async def talk() -> None:
        async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(wire.PREFIX.pack(100 << 20) + bytes(1000))
            await reader.read()  # hello, and the end
            writer.close()

        async with listening(large, Credentials.for_key(KEY)) as port:
            with pytest.raises(ServerError, match="before the welcome the limit is 8192"):
                await connect("127.0.0.1", port, settings(), (KEY,))

    run(talk())


def test_a_server_that_speaks_only_an_older_tls_hears_not_even_hello() -> None:
    async def talk() -> None:
        older = Credentials.for_key(keyfile.load_or_make()[0])
        older.context.minimum_version = older.context.maximum_version = ssl.TLSVersion.TLSv1_2
        impostor = Impostor()
        async with listening(impostor, older) as port:
            with pytest.raises(ServerError, match=f"127.0.0.1:{port}: "):
                await connect("127.0.0.1", port, settings(), keyfile.load())
        assert not impostor.heard

    run(talk())


def test_one_in_the_middle_who_passes_everything_on_is_found_out(server: DaemonProcess, jpeg: bytes) -> None:
    async def talk() -> None:
        passed = bytearray()
        ended = asyncio.Event()

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(1 << 16):
                    passed.extend(data)
                    writer.write(data)
            except OSError:
                pass  # one of the two has heard enough
            finally:
                writer.close()

        async def middle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = await Peer.connect(server.port)
            await asyncio.gather(pump(reader, peer.writer), pump(peer.reader, writer))
            ended.set()

        async with listening(middle, Credentials.for_key(KEY)) as port:
            with pytest.raises(WrongKeyError):
                await connect("127.0.0.1", port, settings(), keyfile.load())
            await asyncio.wait_for(ended.wait(), 20)
        assert b"hello" in passed
        assert b"challenge" in passed, "the real server's proof came through, and was of no use"
        assert b"welcome" not in passed

    run(talk())
    still_serves(server, jpeg)


def test_a_client_that_has_keys_of_several_servers_takes_the_one_that_fits(server: DaemonProcess) -> None:
    async def talk() -> None:
        keys = (KEY, *keyfile.load(), bytes(32))
        connection = await connect("127.0.0.1", server.port, settings(), keys)
        await connection.close()
        for wrong in ((), (KEY,), (KEY, bytes(32))):
            with pytest.raises(WrongKeyError, match=f"127.0.0.1:{server.port}"):
                await connect("127.0.0.1", server.port, settings(), wrong)

    run(talk())


# without a key


def test_without_authentication_anybody_is_served_and_the_log_says_so_loudly(
    tmp_path: Path, jpeg: bytes
) -> None:
    with stub_daemon(tmp_path, seconds=0.0, authentication="none") as open_to_all:
        assert "WARNING" in open_to_all.said
        assert "authentication is none" in open_to_all.said

        async def talk() -> None:
            place = f"127.0.0.1:{open_to_all.port}"
            async with Client(place, parameters=settings(authentication="none")) as client:
                assert (await client.detect(jpeg)).error is None
            with pytest.raises(
                ServerError, match=r"does not use TLS .*/authentication is none while this client's is key"
            ):
                async with Client(place, parameters=settings()):
                    pytest.fail("it proved no key")

        run(talk())


def test_a_client_without_authentication_is_told_that_the_server_wants_it(server: DaemonProcess) -> None:
    async def talk() -> None:
        with pytest.raises(ServerError, match="authentication is key while this client's is none"):
            await connect("127.0.0.1", server.port, settings(authentication="none"), ())

    run(talk())


# where the key is


def test_a_key_file_that_others_can_read_stops_a_daemon_with_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "pyraface"
    folder.mkdir()
    (folder / "key").write_text("00" * 32 + "\n")
    (folder / "key").chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-m", "pyraface.daemon", "--host", "127.0.0.1", "--port", "0", "--no-beacon"],
        cwd=ROOT,
        env=environment(XDG_CONFIG_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"pyraface-daemon: {folder / 'key'}: has the mode 0644")
    assert "chmod 600" in line


def test_a_daemon_of_ones_own_needs_no_home_and_leaves_no_key(tmp_path: Path, jpeg: bytes) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg)
    variables = {
        name: value for name, value in environment().items() if name not in ("HOME", "XDG_CONFIG_HOME")
    }
    done = subprocess.run(
        [sys.executable, "-m", "pyraface.client", "--servers", "local", str(tmp_path / "photo.jpg")],
        cwd=ROOT,
        env={**variables, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "home" / ".config" / "pyraface").exists()


def test_the_worker_has_no_key(tmp_path: Path) -> None:
    with daemon(tmp_path, "--engine", "onnx") as process:
        (key,) = keyfile.load()
        worker = process.worker
        seen = worker.cmdline() + list(worker.environ().values())
        assert not [text for text in seen if key.hex() in text]
        links = [os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{worker.pid}/fd")]
        assert not [link for link in links if "certificate" in link or link.endswith("/key")]
