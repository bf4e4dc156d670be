"""A key goes to another machine by a code: two programs as two people run them, and strangers between and beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyraface.core import parameters
from pyraface.core.errors import ErrorCode, PairingError
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import Closing, Message, Pair, Paired, Ping, Proof
from pyraface.core.protocol.pairing import Exchange
from pyraface.daemon import pair as pair_module
from tests.support import ROOT, environment, free_udp_port, parameters_xml, run


class Desk:
    """A running `pyraface-daemon pair`, and what belongs to it.

    Attributes:
        home: of the user who has the key.
        port: where it listens.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "here"
        self.port = free_udp_port()
        self.parameters = folder / "pairing.xml"
        self.parameters.write_text(parameters_xml(server_port_pairing=self.port))
        self.log = folder / "pair.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pyraface.daemon", "pair", "--host", "127.0.0.1"),
                    *("--parameters", str(self.parameters)),
                ],
                cwd=ROOT,
                env=environment(XDG_CONFIG_HOME=str(self.home)),
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def key(self) -> str:
        return (self.home / "pyraface" / "key").read_text()

    def code(self, number: int = 1) -> str:
        """The code that it shows as its first, second or third."""
        deadline = time.monotonic() + 30
        while len(codes := re.findall(r"code: (\d{4}-\d{4})", self.said)) < number:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        return str(codes[number - 1])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def other(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code[:4]) + 1) % 10000:04}{code[4:]}"


def pair(parameters: Path, home: Path, code: str, *host: str) -> subprocess.CompletedProcess[str]:
    """Runs `pyraface pair` as the user of another home."""
    return subprocess.run(
        [sys.executable, "-m", "pyraface.client", "pair", *host, "--parameters", str(parameters)],
        cwd=ROOT,
        env=environment(XDG_CONFIG_HOME=str(home)),
        input=code + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_machine_that_shows_a_code_is_found_and_gives_its_key_to_whoever_types_it(
    desk: Desk, tmp_path: Path
) -> None:
    code = desk.code()
    done = pair(desk.parameters, tmp_path / "there", code)
    assert done.returncode == 0, done.stderr
    assert f"paired with {subprocess.check_output(['hostname'], text=True).strip()[:64]}" in done.stderr
    assert desk.process.wait(10) == 0
    assert "has this machine's key now" in desk.said
    file = tmp_path / "there" / "pyraface" / "key"
    assert file.read_text() == desk.key
    assert file.stat().st_mode & 0o777 == 0o600
    for secret in (desk.key.strip(), code.replace("-", "")):
        assert secret not in done.stderr + done.stdout
    assert desk.key.strip() not in desk.said


def test_a_key_that_is_added_leaves_those_that_are_there(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "there" / "pyraface" / "key"
    file.parent.mkdir(parents=True)
    file.write_text("ab" * 32 + "\n")
    file.chmod(0o600)
    assert pair(desk.parameters, tmp_path / "there", desk.code(), f"127.0.0.1:{desk.port}").returncode == 0
    assert file.read_text() == "ab" * 32 + "\n" + desk.key


def test_a_wrong_code_uses_it_up_and_three_of_them_end_it(desk: Desk, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        done = pair(desk.parameters, tmp_path / "there", other(desk.code(number)), f"127.0.0.1:{desk.port}")
        assert done.returncode == 2
        assert "the code is wrong, and used up" in done.stderr
    assert desk.process.wait(10) == 1
    assert "3 wrong codes: the key was given to no machine" in desk.said
    assert not (tmp_path / "there" / "pyraface" / "key").exists()


def test_the_code_before_is_of_no_use_after_a_guess(desk: Desk, tmp_path: Path) -> None:
    first = desk.code()
    pair(desk.parameters, tmp_path / "there", other(first), f"127.0.0.1:{desk.port}")
    assert desk.code(2) != first
    assert pair(desk.parameters, tmp_path / "there", first, f"127.0.0.1:{desk.port}").returncode == 2
    assert pair(desk.parameters, tmp_path / "there", desk.code(3), f"127.0.0.1:{desk.port}").returncode == 0


class Stranger:
    """Speaks to a desk, byte by byte as he likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.codec = wire.Codec(max_frame_bytes=1 << 16)

    @classmethod
    async def comes(cls, desk: Desk) -> Stranger:
        return cls(*await asyncio.open_connection("127.0.0.1", desk.port))

    async def says(self, *messages: Message) -> Message | None:
        """What the desk says after these; None: it ends the conversation."""
        for message in messages:
            self.writer.write(wire.encode(message))
        while (answer := self.codec.next_message()) is None:
            data = await asyncio.wait_for(self.reader.read(1 << 16), 30)
            if not data:
                return None
            self.codec.receive_data(data)
        return answer


def test_of_two_who_begin_with_one_code_only_the_first_has_a_guess(desk: Desk) -> None:
    async def talk() -> None:
        code = desk.code()
        guesser, knower = await Stranger.comes(desk), await Stranger.comes(desk)
        exchange = Exchange(code, asks=True)
        answer = await knower.says(Pair("knower", exchange.share))
        assert isinstance(answer, Pair)
        assert isinstance(await guesser.says(Pair("guesser", Exchange(code, asks=True).share)), Pair)
        wrong = await guesser.says(Proof(bytes(32)))
        assert isinstance(wrong, Closing)
        assert wrong.code is ErrorCode.WRONG_KEY
        late = await knower.says(Proof(exchange.finish(answer.share).confirmation))
        assert isinstance(late, Closing), "a second guess at one code"
        assert late.code is ErrorCode.WRONG_KEY
        for stranger in (guesser, knower):
            stranger.writer.close()

    run(talk())


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([Ping(1)], ErrorCode.UNEXPECTED_MESSAGE),
        ([Pair("x", b"")], ErrorCode.BAD_FIELD),
        ([Pair("x", b"A" + b"\xff" * 32)], ErrorCode.BAD_FIELD),
        ([Pair("x", b"B" + bytes(32))], ErrorCode.BAD_FIELD),
        ([Paired(bytes(9000))], ErrorCode.FRAME_TOO_LARGE),
    ],
    ids=["ping", "no share", "no point", "the other side's share", "too long"],
)
def test_what_a_stranger_says_wrongly_costs_no_code(
    desk: Desk, tmp_path: Path, words: list[Message], code: ErrorCode
) -> None:
    shown = desk.code()

    async def talk() -> None:
        stranger = await Stranger.comes(desk)
        answer = await stranger.says(*words)
        assert isinstance(answer, Closing)
        assert answer.code is code
        stranger.writer.close()

    run(talk())
    assert pair(desk.parameters, tmp_path / "there", shown, f"127.0.0.1:{desk.port}").returncode == 0
    assert "Traceback" not in desk.said


def test_silent_strangers_keep_nobody_away_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_module, "EXCHANGE_TIME", 1.0)
    port = free_udp_port()
    file = tmp_path / "pairing.xml"
    file.write_text(parameters_xml(server_port_pairing=port))
    said: list[str] = []

    async def talk() -> None:
        found = parameters.parse(file.read_bytes())
        giving = asyncio.create_task(pair_module.give(found, hosts=["127.0.0.1"], port=port, say=said.append))
        deadline = time.monotonic() + 60
        while not said:
            await asyncio.sleep(0.01)
        code = re.findall(r"code: (\d{4}-\d{4})", said[0])[0]
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        while (await asyncio.to_thread(pair, file, tmp_path / "there", code, f"127.0.0.1:{port}")).returncode:
            assert time.monotonic() < deadline, said
        await giving
        for _, writer in silent:
            writer.close()

    run(talk())


def test_after_some_minutes_nobody_is_given_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_module, "MINUTES", 0.02)
    found = parameters.parse(parameters_xml(server_port_pairing=free_udp_port()).encode())
    said: list[str] = []
    with pytest.raises(PairingError, match="no machine gave the code within"):
        run(pair_module.give(found, hosts=["127.0.0.1"], port=0, say=said.append), timeout=30)
    assert re.search(r"code: \d{4}-\d{4}", said[0])


def test_more_strangers_than_are_heard_at_a_time_are_sent_away_at_once(desk: Desk) -> None:
    desk.code()
    with contextlib.ExitStack() as stack:
        crowd = [
            stack.enter_context(socket.create_connection(("127.0.0.1", desk.port)))
            for _ in range(pair_module.MOST_EXCHANGES + 4)
        ]
        for stranger in crowd[pair_module.MOST_EXCHANGES :]:
            stranger.settimeout(pair_module.EXCHANGE_TIME / 2)
            assert stranger.recv(1) == b""
        crowd[0].settimeout(0.1)
        with pytest.raises(TimeoutError):
            crowd[0].recv(1)


def test_connections_that_are_reset_before_they_are_served_leave_no_trace(desk: Desk, tmp_path: Path) -> None:
    code = desk.code()
    desk.process.send_signal(signal.SIGSTOP)  # so that they are gone when it looks
    for _ in range(50):
        with socket.socket() as stranger:
            stranger.connect(("127.0.0.1", desk.port))
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    desk.process.send_signal(signal.SIGCONT)
    done = pair(desk.parameters, tmp_path / "there", code, f"127.0.0.1:{desk.port}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in desk.said


def test_strangers_do_not_scroll_the_code_away(desk: Desk) -> None:
    desk.code()
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", desk.port)) as stranger:
            stranger.sendall(b"\xff" * 8)
            stranger.settimeout(20)
            while stranger.recv(1000):
                pass
    assert "the limit is 8192" in desk.said
    assert len(desk.said.splitlines()) < 16


@contextmanager
def recorded(desk: Desk) -> Iterator[tuple[int, bytearray]]:
    """A port that leads to the desk, and what is said over it."""
    heard = bytearray()

    def pump(one: socket.socket, two: socket.socket) -> None:
        while data := one.recv(1 << 16):
            heard.extend(data)
            two.sendall(data)

    def serve(listener: socket.socket) -> None:
        listener.accept()[0].close()  # whether a machine listens is found out before the code is asked for
        with listener.accept()[0] as theirs, socket.create_connection(("127.0.0.1", desk.port)) as ours:
            back = threading.Thread(target=pump, args=(ours, theirs))
            back.start()
            pump(theirs, ours)
            ours.shutdown(socket.SHUT_RDWR)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(20)


def test_who_listens_hears_neither_the_code_nor_the_key(desk: Desk, tmp_path: Path) -> None:
    code = desk.code()
    with recorded(desk) as (port, heard):
        done = pair(desk.parameters, tmp_path / "there", code, f"127.0.0.1:{port}")
    assert done.returncode == 0, done.stderr
    assert b"paired" in heard
    for secret in (code.encode(), code.replace("-", "").encode(), bytes.fromhex(desk.key), desk.key.encode()):
        assert secret not in heard


def test_an_impostor_without_the_code_gives_no_key(desk: Desk, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stranger = Stranger(reader, writer)
        exchange = Exchange("0000-0000", asks=False)
        asked = await stranger.says()
        if asked is None:  # before the code is asked for
            writer.close()
            return
        assert isinstance(asked, Pair)
        await stranger.says(Pair("impostor", exchange.share))
        writer.write(wire.encode(Paired(exchange.finish(asked.share).seal(b"k" * 32))))
        await writer.drain()
        writer.close()

    async def talk() -> subprocess.CompletedProcess[str]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as there:
            port = there.sockets[0].getsockname()[1]
            return await asyncio.to_thread(
                pair, desk.parameters, tmp_path / "there", "1234-5678", f"127.0.0.1:{port}"
            )

    done = run(talk())
    assert done.returncode == 2
    assert "by a machine that does not have the code" in done.stderr
    assert not (tmp_path / "there" / "pyraface" / "key").exists()


def test_who_is_asked_for_the_code_may_end_it_instead(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    there = socket.create_server(("127.0.0.1", 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "pyraface.client", "pair", f"127.0.0.1:{there.getsockname()[1]}"],
        cwd=ROOT,
        env=environment(XDG_CONFIG_HOME=str(tmp_path)),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    try:
        assert process.stderr is not None
        assert b"code shown at" in os.read(process.stderr.fileno(), 1000)
        time.sleep(0.5)  # until it reads
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        there.close()
    # the prompt of the shell begins a line
    assert (process.returncode, said) == (130, b"\n")


def test_where_no_code_is_typed_the_error_begins_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        place = f"127.0.0.1:{there.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "pyraface.client", "pair", place],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"code shown at {place}: "
    assert done.stderr.splitlines()[1].startswith("pyraface: a code is eight digits")


def test_what_is_no_code_is_not_sent_and_where_nobody_is_the_error_says_what_to_do(
    desk: Desk, tmp_path: Path
) -> None:
    code = desk.code()
    done = pair(desk.parameters, tmp_path / "there", "1234", f"127.0.0.1:{desk.port}")
    assert done.returncode == 2
    assert "eight digits" in done.stderr
    desk.process.kill()
    desk.process.wait()
    for host in ((), ("127.0.0.1:1",)):
        done = pair(desk.parameters, tmp_path / "there", code, *host)
        assert done.returncode == 2
        assert "pyraface-daemon pair" in done.stderr
        assert "Traceback" not in done.stderr
        assert "code shown at" not in done.stderr, "a code was asked for where no machine takes it"
