"""Discovery of real daemons: one with another key, and one in whose name a stranger says goodbye."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path

from pyraface.client import Client
from pyraface.core import parameters
from pyraface.core.host import keyfile
from pyraface.core.protocol import announcement
from pyraface.core.protocol.announcement import Goodbye
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, environment, free_udp_port, parameters_xml, run

OTHER = bytes(32)


def settings(port: int, **changes: object) -> parameters.Parameters:
    return parameters.parse(parameters_xml(server_port_ip_disc=port, **changes).encode())


def test_a_server_with_another_key_is_told_of_once_and_one_of_our_own_started(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    port = free_udp_port()
    (tmp_path / "photo.jpg").write_bytes(astronaut_jpeg)
    with stub_daemon(tmp_path, beacon=True, seconds=0.0, server_port_ip_disc=port, name="cellar") as theirs:
        file = tmp_path / "client.xml"
        file.write_text(parameters_xml(server_port_ip_disc=port))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pyraface.client", "--parameters", str(file)),
                str(tmp_path / "photo.jpg"),
            ],
            cwd=ROOT,
            env=environment(XDG_CONFIG_HOME=str(tmp_path / "another user")),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = theirs.said
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "cellar" in line]
    assert told.startswith(
        f"not used: cellar (127.0.0.1:{theirs.port}): has a key that this user does not have"
    )
    assert told.endswith("pyraface-daemon pair there, and here pyraface pair 127.0.0.1")
    assert "no server with a key of ours answered on the network: starting one on this machine" in done.stderr
    assert '"server":"local"' in done.stdout
    assert not re.search(r"127\.0\.0\.1:\d+", said.replace(f"ready on 127.0.0.1:{theirs.port}", "")), (
        "nobody went there"
    )


def test_a_forged_goodbye_ends_nothing(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    port = free_udp_port()
    with stub_daemon(tmp_path, beacon=True, seconds=0.0, server_port_ip_disc=port) as server:

        async def talk() -> None:
            async with Client("auto", parameters=settings(port, interval=0.2)) as client:
                first = await client.detect(astronaut_jpeg)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                    for key in (None, OTHER, keyfile.load()[0]):  # the last as if it had been recorded
                        sock.sendto(announcement.encode(Goodbye("x"), key), ("127.255.255.255", port))
                        sock.sendto(announcement.encode(Goodbye("x"), key), ("127.0.0.1", port))
                await asyncio.sleep(0.7)
                second = await client.detect(astronaut_jpeg)
                assert client.servers == 1
                assert first.error is second.error is None
                assert first.server == second.server

        run(talk())
        assert server.stop() == 0
