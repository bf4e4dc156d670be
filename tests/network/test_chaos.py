"""A bad night in a minute: five machines on slow links, and what can happen to them and to the client, happens.

PYRAFACE_CHAOS_IMAGES=2000 makes the night longer; then every server that is lost is missed and found again on the way.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.network.lab import Host, Lab
from tests.support import DaemonProcess, parameters_xml, still_running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

IMAGES = int(os.environ.get("PYRAFACE_CHAOS_IMAGES", "150"))
PHOTOGRAPHS = 40
RATES = {"chaos": "100mbit"}
RATE = "8mbit"
"""Of each machine's link, either way, but for the client's: a photograph of 120 kB takes an eighth of a second."""

ROLES = ("alpha", "bravo", "charlie", "delta", "echo")
DISCOVERY = 5009
"""A port of this network's own: the daemons of other tests are on the same switch."""

PATIENCE = 240.0 + IMAGES / 4
STOPPED, UNPLUGGED = 20.0, 8.0
"""Seconds that a machine stands still, and that one's cable is out."""


@dataclass
class Network:
    """Five machines with a daemon each, and one for the client."""

    lab: Lab
    folder: Path
    hosts: dict[str, Host] = field(default_factory=dict)
    daemons: dict[str, DaemonProcess] = field(default_factory=dict)

    def start(self, role: str, *arguments: str) -> None:
        file = self.folder / f"{role}.xml"
        file.write_text(
            parameters_xml(
                interfaces="auto", name=role, interval=1, read_timeout=10, server_port_ip_disc=DISCOVERY
            )
        )
        self.daemons[role] = DaemonProcess(
            self.folder,
            ["--parameters", str(file), "--engine", "onnx", *arguments],
            prefix=self.hosts[role].inside,
        )

    def limit(self) -> None:
        """Makes the links slow; the test is skipped where they cannot be."""
        for role, host in self.hosts.items():
            for inside, device in ((host.inside, "eth0"), (self.lab.switch.inside, role)):
                words = ("qdisc", "add", "dev", device, "root", "tbf", "rate", RATES.get(role, RATE))
                command = [*inside, "tc", *words, "burst", "32kb", "latency", "400ms"]
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
                except FileNotFoundError:
                    pytest.skip("no tc (iproute2) to limit links with")
                if done.returncode:
                    pytest.skip(f"links cannot be limited here: {done.stderr.strip()}")

    def close(self) -> None:
        for daemon in self.daemons.values():
            process = daemon.process
            children = psutil.Process(process.pid).children() if process.poll() is None else []
            process.kill()
            process.wait()
            assert not still_running(children), "a worker outlived its daemon"


@pytest.fixture
def network(lab: Lab, tmp_path: Path) -> Iterator[Network]:
    made = Network(lab, tmp_path)
    for number, role in enumerate((*ROLES, "chaos")):
        made.hosts[role] = lab.host(role, f"10.213.0.{number + 1}")
    try:
        with ThreadPoolExecutor(len(ROLES)) as threads:
            list(threads.map(made.start, ROLES))
        yield made
    finally:
        made.close()


@pytest.fixture
def album(photos: Path, tmp_path: Path) -> dict[Path, Path]:
    """Which photograph each image is of; no two have the same bytes, though their pixels are."""
    found = [
        path
        for name in ("wider_face_val_subset", "face_recognition_knn", "dlib_faces")
        for path in sorted((photos / name).rglob("*.jpg"))
        if path.stat().st_size < 250_000
    ]
    chosen = found[:: max(1, len(found) // PHOTOGRAPHS)][:PHOTOGRAPHS]
    folder = tmp_path / "album"
    folder.mkdir()
    images = {}
    for number in range(IMAGES):
        photograph = chosen[number % len(chosen)]
        image = folder / f"{number:05}.jpg"
        image.write_bytes(photograph.read_bytes() + f" copy {number}".encode())
        images[image] = photograph
    return images


class Client:
    """`pyraface` over some paths, and again after it was killed, with the same output."""

    def __init__(self, network: Network, output: Path, *paths: Path, servers: str = "auto") -> None:
        self.output = output
        self.log = output.with_suffix(".log")
        parameters = output.with_suffix(".xml")
        parameters.write_text(
            parameters_xml(
                interfaces="auto",
                interval=0.5,
                read_timeout=4,
                connect_timeout=3,
                server_port_ip_disc=DISCOVERY,
            )
        )
        self._host = network.hosts["chaos"]
        self._command = ["-m", "pyraface.client", "--servers", servers, "--parameters", str(parameters)]
        self._command += ["--output", str(output), *map(str, paths)]
        self.start()

    def start(self) -> None:
        with self.log.open("a") as stream:
            self.process = self._host.start(*self._command, stderr=stream.fileno())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def done(self) -> int:
        """How many lines there are so far."""
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    @property
    def said(self) -> str:
        return self.log.read_text()

    def results(self) -> dict[str, dict[str, Any]]:
        """By path, once it has ended; each image has one line."""
        assert self.process.wait(PATIENCE) == 0, self.said
        lines = [json.loads(line) for line in self.output.read_text().splitlines()]
        results = {line["path"]: line for line in lines}
        assert Counter(line["path"] for line in lines) == dict.fromkeys(results, 1)
        return results


def test_five_machines_and_a_client_that_all_fail_in_their_way_do_every_image_once(
    network: Network, album: dict[Path, Path], tmp_path: Path
) -> None:
    alone = Client(network, tmp_path / "alone.jsonl", *set(album.values()), servers="10.213.0.5")
    try:
        expected = alone.results()
    finally:
        alone.kill()
    network.limit()

    over = threading.Event()
    waiting: list[threading.Thread] = []

    def later(seconds: float, action: Callable[[], object]) -> None:
        """Does it after so many seconds, or as soon as the night is over."""

        def wait() -> None:
            over.wait(seconds)
            action()

        waiting.append(threading.Thread(target=wait))
        waiting[-1].start()

    def stop_charlie() -> None:
        process = network.daemons["charlie"].process
        process.send_signal(signal.SIGSTOP)
        later(STOPPED, lambda: process.send_signal(signal.SIGCONT))

    def unplug_delta() -> None:
        network.lab.switch.ip("link", "set", "delta", "down")
        later(UNPLUGGED, lambda: network.lab.switch.ip("link", "set", "delta", "up"))

    def move_echo() -> None:
        network.daemons["echo"].stop(timeout=60)
        network.start("echo", "--port", "5010")

    def kill_client() -> None:
        client.kill()
        client.start()

    night: list[tuple[float, Callable[[], object]]] = [
        (0.08, network.daemons["bravo"].process.kill),
        (0.15, stop_charlie),
        (0.22, unplug_delta),
        (0.30, move_echo),
        (0.45, kill_client),
        (0.70, kill_client),
    ]
    client = Client(network, tmp_path / "out.jsonl", tmp_path / "album")
    try:
        deadline = time.monotonic() + PATIENCE
        for share, action in night:
            while client.done < share * len(album):
                assert client.process.poll() is None, client.said
                assert time.monotonic() < deadline, client.said
                time.sleep(0.02)
            action()
        results = client.results()
    finally:
        client.kill()
        over.set()
        for thread in waiting:
            thread.join()

    assert set(results) == {str(image) for image in album}
    for image, photograph in album.items():
        result, truth = results[str(image)], expected[str(photograph)]
        assert "error" not in result, result
        assert [face["box"] for face in result["faces"]] == [face["box"] for face in truth["faces"]]
        if truth["faces"]:
            np.testing.assert_allclose(
                [face["encoding"] for face in result["faces"]],
                [face["encoding"] for face in truth["faces"]],
                atol=1e-5,
            )
    assert sum(len(result["faces"]) for result in results.values()) > len(album) / 4
    by = Counter(result["server"] for result in results.values())
    print(f"{len(album)} images; by server: {dict(by)}")
    assert len(by) >= 5, by
    assert any(server.endswith(":5010)") for server in by), by
    assert "server lost: bravo" in client.said
    assert "server-lost" not in client.said, "an image was given up, and done only because the client went on"
