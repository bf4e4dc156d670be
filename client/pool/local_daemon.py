"""Local daemon: a child process on loopback, started when no server answers, stopped with the client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import tempfile
from dataclasses import replace
from typing import IO

from ...core import fingerprints
from ...core.errors import ServerError
from ...core.host import subprocesses, tasks
from ...core.host.interfaces import loopback_is_down
from ...core.parameters import AUTOMATIC, Parameters, as_xml, search_named
from ...core.protocol.proofs import KEY_BYTES
from .connection import ServerConnection
from .handshake import connect

START_TIMEOUT = 120.0
"""Seconds for the daemon to load its models."""

STOP_TIMEOUT = 10.0
"""Seconds for the daemon to stop by itself before it is killed."""


def fingerprint(parameters: Parameters, search: str, faces_from: int) -> str:
    """Returns the fingerprint that the results of a daemon with these parameters have.

    Args:
        search: as in `Client`; "": that of the parameters.
    """
    default = AUTOMATIC if parameters.detection.search == "auto" else parameters.detection.search
    found = fingerprints.of(
        search_named(search or default), parameters.detection, parameters.fusion, parameters.encoding
    )
    return fingerprints.from_size(found, faces_from)


class LocalDaemon:
    """Child daemon. It ends with this process, even if this process is killed, because it watches it and its own standard
    input.

    Its key is new and is not in any file, so only this process can use the daemon.

    Args:
        parameters: of the daemon, too: those of this program, whether they come from a file or it has changed them.
        search: its default search; "": that of the parameters.
    """

    def __init__(self, parameters: Parameters, *, search: str = "") -> None:
        self._parameters = parameters
        detection = replace(parameters.detection, search=search or parameters.detection.search)
        self._effective = replace(parameters, detection=detection)
        self.key = secrets.token_bytes(KEY_BYTES)
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None
        self._port = 0

    async def start(self) -> ServerConnection:
        """Returns the connection to the daemon, once it is ready.

        Raises:
            ServerError: the daemon did not become ready; the message contains the last line of its log.
            ParametersError: this program has set a parameter to a value that is not allowed.
        """
        try:
            return await self._start()
        except OSError as error:
            raise ServerError(
                f"no server could be started on this machine: {error.strerror or error}"
            ) from error

    async def connect(self) -> ServerConnection:
        """Returns another connection to the daemon, once it is ready.

        Raises:
            ServerError: the daemon has ended.
        """
        return await connect("127.0.0.1", self._port, self._parameters, (self.key,), patience=START_TIMEOUT)

    async def _start(self) -> ServerConnection:
        if loopback_is_down():
            raise ServerError(
                "no server can be started on this machine, because its loopback interface is down; "
                "as root: ip link set lo up"
            )
        with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.NamedTemporaryFile("wb") as file:
            self._port = listener.getsockname()[1]
            file.write(as_xml(self._effective))
            file.flush()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115  kept for its last line
            key_end = self._key_in_a_pipe()
            command, environment = subprocesses.python_module(
                "pyraface.daemon",
                *("--fd", str(listener.fileno()), "--key-fd", str(key_end), "--parameters", file.name),
                *("--no-beacon", "--stop-at-eof"),
            )
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    env=environment,
                    cwd=subprocesses.WORKING_DIRECTORY,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=self._log,
                    stderr=self._log,
                    pass_fds=[listener.fileno(), key_end],
                    start_new_session=True,  # Ctrl-C is for the client, which still wants the answers in flight
                )
            finally:
                os.close(key_end)
            connecting = asyncio.ensure_future(self.connect())
            ending = asyncio.ensure_future(self._process.wait())
            try:
                await asyncio.wait({connecting, ending}, return_when=asyncio.FIRST_COMPLETED)
                if not connecting.done():
                    raise ServerError(f"no server could be started on this machine: {self.last_line()}")
                return connecting.result()
            finally:
                await tasks.end([connecting, ending])

    async def stop(self) -> None:
        """Stops the daemon and waits for its end."""
        if self._log is not None:
            self._log.close()
        process = self._process
        if process is None or process.stdin is None:  # it was not started, or was ended while it started
            return
        # not only by the end of its standard input: a process forked from this one holds that open
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        process.stdin.close()

    def _key_in_a_pipe(self) -> int:
        """Returns the end of a pipe from which the daemon reads its key: other users can see arguments and environment."""
        end, ours = os.pipe()
        os.write(ours, self.key)  # a pipe holds far more
        os.close(ours)
        return end

    def last_line(self) -> str:
        """Returns the last line of its log: why it ended."""
        if self._log is None:
            return "its log is empty"
        self._log.seek(0, os.SEEK_SET)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("pyraface-daemon: ") if lines else "its log is empty"
