"""A real daemon on loopback against the same work in this process."""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from pyraface.client import Client
from pyraface.client.pool.connection import ServerConnection
from pyraface.client.pool.local_daemon import LocalDaemon
from pyraface.core.host import tasks
from pyraface.core.parameters import Parameters
from pyraface.core.pipeline import Pipeline

from .common import timed

PING_INTERVAL = 0.01


@dataclass
class Outcome:
    """Seconds a turn, and milliseconds a ping."""

    ready: float = 0.0
    in_process: list[float] = field(default_factory=list)
    through_daemon: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)

    def ping(self, percentile: float) -> float:
        # none, where the photographs were through before the first was answered
        return float(np.percentile(self.pings, percentile)) if self.pings else float("nan")


def compare(pipeline: Pipeline, paths: list[Path], *, turns: int) -> Outcome:
    """Runs a directory in this process and through a daemon, in turns; and a third time with pings beside it.

    A hundred pings a second take time on the engine's cores, too: none are sent while it is timed.
    """

    def here() -> None:
        for path in paths:
            pipeline.detect(path.read_bytes())

    async def run() -> Outcome:
        outcome = Outcome()
        local = LocalDaemon(pipeline.parameters, search=pipeline.default_search)
        started = time.perf_counter()
        connection = await local.start()
        outcome.ready = time.perf_counter() - started
        try:
            host, port = connection._writer.get_extra_info("peername")
            place, keys = f"{host}:{port}", [local.key]
            async with Client(place, parameters=pipeline.parameters, keys=keys) as client:
                here()
                await _through(client, paths)
                for _ in range(turns):
                    outcome.in_process.append(timed(here)[0])
                    begin = time.perf_counter()
                    await _through(client, paths)
                    outcome.through_daemon.append(time.perf_counter() - begin)
                    pinging = asyncio.create_task(_ping(connection, outcome.pings))
                    await _through(client, paths)
                    pinging.cancel()
        finally:
            await connection.close()
            await local.stop()
        return outcome

    return asyncio.run(run())


def peaks(paths: list[Path], parameters: Parameters, *, stretches: list[tuple[int, int]]) -> list[int]:
    """Returns the executor's peak memory in bytes over stretches of images.

    Args:
        paths: as many images as go through.
        parameters: how they are searched.
        stretches: (first, last) of each, in order and apart.
    """

    async def run() -> list[int]:
        # the daemon reads the parameters' file, which may name another search
        async with Client("local", parameters=parameters, search=parameters.detection.search) as client:
            children = psutil.Process().children(recursive=True)
            [worker] = [child for child in children if "pyraface.daemon.worker" in child.cmdline()]
            found, done = [], 0
            for first, last in stretches:
                await _through(client, paths[done:first])
                _forget_peak(worker.pid)
                await _through(client, paths[first:last])
                found.append(_peak(worker.pid))
                done = last
            return found

    return asyncio.run(run())


def flood(parameters: Parameters, *, clients: int, size: int, seconds: float) -> tuple[int, int]:
    """Returns the bytes of images without an answer that a daemon allows, and by how much it and its process grow at most.

    Args:
        clients: connections, each with as many requests as it may have.
        size: bytes of an image, which is none.
        seconds: how long they go on.
    """
    image = os.urandom(size)

    async def send(connection: ServerConnection) -> None:
        while True:
            await connection.request(image, asyncio.get_running_loop().create_future())

    async def run() -> int:
        local = LocalDaemon(parameters)
        connections = [await local.start()]
        try:
            connections += [await local.connect() for _ in range(clients - 1)]
            before, most = _together(), 0
            sending = [
                asyncio.create_task(send(connection))
                for connection in connections
                for _ in range(connection.welcome.credits)
            ]
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await asyncio.sleep(0.1)
                most = max(most, _together() - before)
            await tasks.end(sending)
        finally:
            await asyncio.gather(*[connection.close() for connection in connections])
            await local.stop()
        return most

    return parameters.daemon.max_bytes_in_flight, asyncio.run(run())


def _together() -> int:
    """Bytes of the daemon and its worker in memory, shared pages counted once."""
    daemons = [
        child
        for child in psutil.Process().children(recursive=True)
        if "pyraface.daemon" in " ".join(child.cmdline())
    ]
    return sum(int(process.memory_full_info().pss) for process in daemons)


def _forget_peak(process: int) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


def _peak(process: int) -> int:
    """The most bytes a process had resident since its peak was forgotten (VmHWM, and clear_refs, in proc(5))."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def _through(client: Client, paths: list[Path]) -> None:
    async with aclosing(client.map(paths)) as results:
        async for result in results:
            _ = result.faces  # raises if it failed


async def _ping(connection: ServerConnection, delays: list[float]) -> None:
    """Notes the milliseconds of one inquiry, which takes a ping's way, after the other until it is cancelled."""
    while True:
        sent = time.perf_counter()
        await connection.inquire()
        delays.append(1000 * (time.perf_counter() - sent))
        await asyncio.sleep(PING_INTERVAL)
