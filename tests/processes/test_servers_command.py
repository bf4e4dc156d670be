"""pyraface servers, as a person or a program runs it, with real daemons on loopback."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pyraface
from pyraface.client.client import parse
from pyraface.core.errors import ErrorCode
from pyraface.core.parameters import SEARCHES
from pyraface.core.protocol import announcement, wire
from pyraface.core.protocol.announcement import Announcement, Probe
from pyraface.core.protocol.messages import Closing, Hello, Inquire, Status, Welcome
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, environment, free_udp_port, parameters_xml

KEYS = [
    *(
        "name",
        "host",
        "port",
        "state",
        "error",
        "instance",
        "engine",
        "device",
        "fingerprint",
        "search",
        "searches",
        "parameters",
        "version",
        "draining",
    ),
    *("working", "waiting", "clients", "rate", "speed", "answered", "uptime"),
]


def servers(
    folder: Path, *arguments: object, port: int = 5001, authentication: str = "key", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs `pyraface servers` with parameters that keep it on loopback."""
    file = folder / "client.xml"
    file.write_text(
        parameters_xml(server_port_ip_disc=port, connect_timeout=2, authentication=authentication)
    )
    return subprocess.run(
        [sys.executable, "-m", "pyraface.client", "servers", *map(str, arguments), "--parameters", str(file)],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def stranger(
    name: str, *, answers: bool, announced_at: int = 0, refuses: ErrorCode | None = None
) -> Iterator[int]:
    """Something at a TCP port that calls itself `name`; it may announce itself, and say nothing more, or that it refuses."""
    ending = threading.Event()

    def announce(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", announced_at))
            sock.settimeout(0.1)
            while not ending.is_set():
                try:
                    data, client = sock.recvfrom(2000)
                except TimeoutError:
                    continue
                received = announcement.decode(data)
                assert received is not None
                assert isinstance(received.words, Probe)
                words = Announcement(1, "s", name, port, "f", received.words.nonce)
                sock.sendto(announcement.encode(words), client)

    def serve(listener: socket.socket) -> None:
        try:
            with listener.accept()[0] as client:
                client.settimeout(30)
                codec = wire.Codec(max_frame_bytes=1000)
                while data := client.recv(1000):
                    codec.receive_data(data)
                    while (message := codec.next_message()) is not None:
                        words: Welcome | Status | Closing
                        if refuses is not None:
                            words = Closing(refuses, name)
                        elif isinstance(message, Hello):
                            words = Welcome(
                                1,
                                name,
                                "s",
                                name,
                                name,
                                name,
                                name,
                                "f",
                                (name,),
                                ("f",),
                                1000,
                                1000,
                                4,
                                0.0,
                                (),
                            )
                        else:
                            assert isinstance(message, Inquire)
                            words = Status(message.id, name, 3, 2, 2, 1000, 12.5, 150.0, 90000.0)
                        client.sendall(wire.encode(words))
        except OSError:
            return  # nobody came

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        port = listener.getsockname()[1]
        threads = [threading.Thread(target=serve, args=(listener,))] if answers else []
        if announced_at:
            threads.append(threading.Thread(target=announce, args=(port,)))
        for thread in threads:
            thread.start()
        try:
            yield port
        finally:
            ending.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def test_every_server_on_the_network_is_a_line_with_what_it_is_and_how_busy(tmp_path: Path) -> None:
    port = free_udp_port()
    with (
        stub_daemon(tmp_path, seconds=0.0, beacon=True, server_port_ip_disc=port, name="cellar") as two,
        stub_daemon(tmp_path, seconds=0.0, beacon=True, server_port_ip_disc=port, name="attic") as one,
    ):
        done = servers(tmp_path, port=port)
        as_json = servers(tmp_path, "--json", port=port)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    head, attic, cellar = done.stdout.splitlines()
    titles = ["name", "address", "state", "engine", "device", "search", "version", "working", "waiting"]
    assert re.split("  +", head) == [*titles, "clients", "images/s", "done", "up"]
    cells = re.split("  +", attic)
    assert cells[:4] == ["attic", f"127.0.0.1:{one.port}", "ready", one.engine]
    assert cells[5] in SEARCHES
    assert cells[6:12] == [f"pyraface {pyraface.__version__}", "0", "0", "0", "0.00", "0"]
    assert cellar.startswith(f"cellar  127.0.0.1:{two.port}")

    lines = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [line["name"] for line in lines] == ["attic", "cellar"]
    for line, process in zip(lines, (one, two), strict=True):
        assert list(line) == KEYS
        assert (line["host"], line["port"], line["error"]) == ("127.0.0.1", process.port, None)
        assert line["state"] == "ready"
        assert line["search"] == line["searches"][0] == cells[5]
        assert "everywhere" in line["searches"]
        assert line["parameters"]["tiled_detect_params/height"] == "400"
        assert line["parameters"]["tiled_detect_params/search"] == cells[5]
        assert line["draining"] is False
        assert line["uptime"] > 0
        assert line["clients"] == 0


def test_servers_that_answer_and_servers_that_are_named_are_listed_together_each_once(tmp_path: Path) -> None:
    port = free_udp_port()
    with (
        stub_daemon(tmp_path, seconds=0.0, beacon=True, server_port_ip_disc=port, name="attic") as announced,
        stub_daemon(tmp_path, seconds=0.0, name="cellar") as named,
    ):
        places = [f"127.0.0.1:{server.port}" for server in (announced, named)]
        done = servers(tmp_path, "--json", "--servers", f"{places[1]},auto,{places[0]}", port=port)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["attic", "cellar"]


def test_the_servers_that_are_named_are_the_only_ones_and_one_that_stands_still_is_listed_as_such(
    tmp_path: Path,
) -> None:
    with (
        stub_daemon(tmp_path, seconds=0.0, name="one") as one,
        stub_daemon(tmp_path, seconds=0.0, name="two") as two,
        stub_daemon(tmp_path, seconds=0.0),
    ):
        two.process.send_signal(signal.SIGSTOP)
        try:
            places = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"
            done = servers(tmp_path, "--servers", places)
            as_json = servers(tmp_path, "--json", "--servers", places)
        finally:
            two.process.send_signal(signal.SIGCONT)
    assert done.returncode == 1
    _, silent, answering = done.stdout.splitlines()
    assert re.split("  +", silent) == ["?", f"127.0.0.1:{two.port}", "no answer"]
    assert re.fullmatch(
        rf"pyraface: 127\.0\.0\.1:{two.port}: no (answer|welcome) within 2 s.*\n", done.stderr
    )
    assert answering.startswith("one ")
    (line,) = [line for line in map(json.loads, as_json.stdout.splitlines()) if line["error"]]
    assert list(line) == KEYS
    assert {key for key in KEYS if line[key] is not None} == {"host", "port", "state", "error"}
    assert line["state"] == "no answer"


def test_a_server_that_announces_itself_and_says_no_more_is_listed_by_its_name(tmp_path: Path) -> None:
    port = free_udp_port()
    with stranger("attic", answers=False, announced_at=port) as tcp:
        done = servers(tmp_path, port=port)
    assert done.returncode == 2
    assert f"attic  127.0.0.1:{tcp}  no answer" in done.stdout
    assert f"127.0.0.1:{tcp}: no " in done.stderr
    assert done.stderr.splitlines()[-1] == "pyraface: none of these servers reports its status"


def test_a_server_whose_key_this_user_does_not_have_is_listed_as_that(tmp_path: Path) -> None:
    port = free_udp_port()
    theirs = {"XDG_CONFIG_HOME": str(tmp_path / "theirs")}
    with (
        stub_daemon(
            tmp_path, seconds=0.0, beacon=True, server_port_ip_disc=port, name="cellar", environment=theirs
        ) as cellar,
        stub_daemon(tmp_path, seconds=0.0, beacon=True, server_port_ip_disc=port, name="attic") as attic,
    ):
        done = servers(tmp_path, port=port)
        as_json = servers(tmp_path, "--json", port=port)
        named = servers(tmp_path, "--servers", f"127.0.0.1:{cellar.port}")
    assert done.returncode == as_json.returncode == 1
    _, ready, strange = done.stdout.splitlines()
    assert re.split("  +", ready)[:3] == ["attic", f"127.0.0.1:{attic.port}", "ready"]
    assert re.split("  +", strange) == ["cellar", f"127.0.0.1:{cellar.port}", "no key"]
    reason = f"pyraface: 127.0.0.1:{cellar.port}: has a key that this user does not have"
    assert done.stderr.startswith(reason)
    assert done.stderr.endswith("here pyraface pair 127.0.0.1\n")
    line = json.loads(as_json.stdout.splitlines()[1])
    assert list(line) == KEYS
    assert {key for key in KEYS if line[key] is not None} == {"name", "host", "port", "state", "error"}
    assert (line["name"], line["state"]) == ("cellar", "no key")
    assert named.returncode == 2
    assert re.split("  +", named.stdout.splitlines()[1]) == ["?", f"127.0.0.1:{cellar.port}", "no key"]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (ErrorCode.WRONG_KEY, "key refused"),
        (ErrorCode.TOO_MANY_CONNECTIONS, "refused"),
        (ErrorCode.WRONG_VERSION, "refused"),
    ],
)
def test_a_server_that_will_not_have_this_user_is_listed_as_that(
    tmp_path: Path, code: ErrorCode, state: str
) -> None:
    for arguments in ([], ["--json"]):
        with stranger("not you", answers=True, refuses=code) as port:
            done = servers(tmp_path, *arguments, "--servers", f"127.0.0.1:{port}", authentication="none")
        assert done.returncode == 2
        assert done.stderr.startswith(f"pyraface: 127.0.0.1:{port}: {code.value}: not you\n")
        if arguments:
            assert json.loads(done.stdout)["state"] == state
        else:
            assert re.split("  +", done.stdout.splitlines()[1]) == ["?", f"127.0.0.1:{port}", state]


def test_no_server_at_all_is_one_clear_line(tmp_path: Path) -> None:
    for arguments in ([], ["--json"]):
        done = servers(tmp_path, *arguments, port=free_udp_port())
        assert done.returncode == 2
        assert done.stdout == ""
        assert re.fullmatch(
            r"pyraface: no server answered on the network .*--servers HOST(; .*)?\n", done.stderr
        )


@pytest.mark.parametrize(
    ("places", "says"), [("local", "only while pyraface processes images"), ("a b", "HOST")]
)
def test_what_names_no_place_is_one_clear_line(tmp_path: Path, places: str, says: str) -> None:
    done = servers(tmp_path, "--servers", places)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_commands_no_terminal_and_means_nothing_but_itself(tmp_path: Path) -> None:
    name = "\x1b[2J\x1b]0;mine\x07[red]attic\n"
    with stranger(name, answers=True) as port:
        done = servers(tmp_path, "--servers", f"127.0.0.1:{port}", authentication="none")
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("\n", "").isprintable()
    shown = "\\x1b[2J\\x1b]0;mine\\x07[red]attic\\n"
    (line,) = done.stdout.splitlines()[1:]
    rest = [shown, shown, shown, shown, "2", "3", "1", "12.50", "1000", "1 d 1 h"]
    assert re.split("  +", line) == [shown, f"127.0.0.1:{port}", "ready", *rest]


def test_a_reason_of_a_stranger_commands_no_terminal_either(tmp_path: Path) -> None:
    with stranger("\x1b[2Jfull\n", answers=True, refuses=ErrorCode.TOO_MANY_CONNECTIONS) as port:
        done = servers(tmp_path, "--servers", f"127.0.0.1:{port}", authentication="none")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"pyraface: 127.0.0.1:{port}: too-many-connections: \\x1b[2Jfull\\n",
        "pyraface: none of these servers reports its status",
    ]


def test_on_a_narrow_terminal_the_important_columns_are_left(tmp_path: Path) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    with stub_daemon(tmp_path, seconds=0.0, name="a" * 60) as server:
        shown = {}
        for columns in (200, 160, 120, 100, 80, 60, 40):
            ours, theirs = pty.openpty()
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pyraface.client", "servers", "--parameters", str(file)),
                    *("--servers", f"127.0.0.1:{server.port}"),
                ],
                cwd=ROOT,
                env=environment(COLUMNS=str(columns), LINES="24"),
                stdout=theirs,
            )
            os.close(theirs)
            text = b""
            try:
                while data := os.read(ours, 4096):
                    text += data
            except OSError:
                pass  # how Linux says that the other side of a terminal is closed
            os.close(ours)
            assert process.wait(60) == 0
            shown[columns] = text.decode().splitlines()
            assert all(len(line) <= columns for line in shown[columns])
    heads = {columns: lines[0].split() for columns, lines in shown.items()}
    assert heads[40] == ["name", "address", "state"]
    assert heads[60] == ["name", "address", "state", "device", "images/s"]
    assert heads[80] == [*heads[60][:4], "working", "waiting", "images/s"]
    for columns in (60, 80, 100, 120, 160):
        assert "device" in heads[columns], "the device stays when the version goes"
    assert {"version", "done", "up"} <= set(heads[200])
    assert all(re.match("a{11,}… |a{60} ", lines[1]) for lines in shown.values())


def test_a_subcommand_is_one_only_as_the_first_word() -> None:
    assert parse(["servers"]).command == "servers"
    assert parse(["detect", "photos"]).paths == ["photos"]
    assert parse(["detect", "servers"]).paths == ["servers"]
    assert parse(["servers", "--servers", "attic", "--json"]).servers == "attic"
    for words, paths in (
        (["./servers"], ["./servers"]),
        (["./detect"], ["./detect"]),
        (["--quiet", "servers"], ["servers"]),
        (["photos", "servers"], ["photos", "servers"]),
    ):
        options = parse(words)
        assert (options.command, options.paths) == ("detect", paths)


def test_a_reader_that_leaves_ends_the_list_quietly(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.0) as server:
        command = f"'{sys.executable}' -m pyraface.client servers --servers 127.0.0.1:{server.port} | true"
        done = subprocess.run(
            ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_an_output_that_is_full_is_one_line(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.0) as server:
        command = (
            f"'{sys.executable}' -m pyraface.client servers --servers 127.0.0.1:{server.port} >/dev/full"
        )
        done = subprocess.run(
            ["sh", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "pyraface: standard output cannot be written: No space left on device\n"
