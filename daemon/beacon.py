"""Beacon: announcements of a server by UDP broadcast, and an answer to each probe."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
from collections.abc import Callable
from typing import cast

from ..core.host import tasks
from ..core.host.interfaces import broadcast_addresses
from ..core.protocol import announcement
from ..core.protocol.announcement import Announcement, Goodbye, Probe

log = logging.getLogger("pyraface.beacon")

Address = tuple[str, int]

_RTMGRP_IPV4_IFADDR = 0x10
"""From linux/rtnetlink.h: tell this socket whenever an IPv4 address comes or goes."""


class Beacon:
    """Announces a server from `start()` to `stop()`, every interval, and whenever an interface gets an address.

    Args:
        words: the announcement.
        key: seals every datagram; None leaves them unsealed.
        port: the UDP port for announcements and probes.
        interfaces: names of network interfaces. One socket each, bound to that device: nothing is received from or sent
            to any other. Without names, one socket serves every interface.
        interval: seconds between announcements.
    """

    def __init__(
        self,
        words: Announcement,
        key: bytes | None,
        *,
        port: int,
        interfaces: tuple[str, ...],
        interval: float,
    ) -> None:
        self._port = port
        self._interfaces = interfaces
        self._interval = interval
        self._key = key
        self._announcement = words
        self._announcement_datagram = announcement.encode(words, key)
        self._goodbye_datagram = announcement.encode(Goodbye(words.instance), key)
        self._transports: dict[str, asyncio.DatagramTransport] = {}
        self._indices: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._netlink: socket.socket | None = None
        self._changed = asyncio.Event()
        self._reported_missing: set[str] = set()

    async def start(self) -> None:
        """Opens the sockets and begins to announce.

        Raises:
            OSError: the UDP port is not available.
        """
        if self._interfaces:
            await self._open_named()
        else:
            await self._open("")
        self._watch_addresses()
        self._task = asyncio.create_task(self._announce_repeatedly(), name="beacon")

    async def stop(self) -> None:
        """Broadcasts a goodbye and closes the sockets."""
        if self._task is not None:
            await tasks.end([self._task])
        if self._netlink is not None:
            asyncio.get_running_loop().remove_reader(self._netlink)
            self._netlink.close()
        self._broadcast(self._goodbye_datagram)
        for transport in self._transports.values():
            transport.close()

    async def _announce_repeatedly(self) -> None:
        while True:
            self._changed.clear()
            if self._interfaces:
                try:
                    await self._open_named()
                except OSError as error:
                    log.warning("beacon: %s", error)
            self._broadcast(self._announcement_datagram)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._interval)

    async def _open_named(self) -> None:
        """Opens a socket for each named interface that exists and has none yet."""
        present = broadcast_addresses(self._interfaces)
        for name in set(self._interfaces) - present.keys() - self._reported_missing:
            log.warning("beacon: no interface %s with an IPv4 address; it is used when it appears", name)
            self._reported_missing.add(name)
        for name in present:
            index = socket.if_nametoindex(name)
            # a socket stays bound to the device it was opened for, even if a new one appears under the same name
            if self._indices.get(name) != index:
                if name in self._transports:
                    self._transports.pop(name).close()
                await self._open(name)
                self._indices[name] = index

    async def _open(self, device: str) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            # several daemons on one machine all receive a broadcast
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            sock.bind(("", self._port))
        except OSError as error:
            sock.close()
            where = f" on {device}" if device else ""
            raise OSError(
                error.errno, f"UDP port {self._port}{where} is not available for the beacon: {error.strerror}"
            ) from error
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _ProbeProtocol(self._answer), sock=sock)
        self._transports[device] = transport

    def _answer(self, probe: Probe) -> bytes:
        return announcement.encode(dataclasses.replace(self._announcement, nonce=probe.nonce), self._key)

    def _broadcast(self, datagram: bytes) -> None:
        try:
            present = broadcast_addresses(self._interfaces)
        except OSError as error:  # an interface may disappear while it is read; the next interval is soon
            log.warning("beacon: %s", error)
            return
        for name, targets in present.items():
            transport = self._transports.get(name) or self._transports.get("")
            if transport is not None and not transport.is_closing():
                for target in targets:
                    transport.sendto(datagram, (target, self._port))

    def _watch_addresses(self) -> None:
        """Announces at once when an interface gets an address; where netlink is missing, at the next interval."""
        try:
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        except OSError as error:
            log.debug("beacon: no news of addresses: %s", error)
            return
        self._netlink.setblocking(False)
        self._netlink.bind((0, _RTMGRP_IPV4_IFADDR))
        asyncio.get_running_loop().add_reader(self._netlink, self._addresses_changed)

    def _addresses_changed(self) -> None:
        assert self._netlink is not None
        with contextlib.suppress(OSError):  # ENOBUFS: changes were dropped; addresses are read again anyway
            while self._netlink.recv(1 << 16):
                pass
        self._changed.set()


class _ProbeProtocol(asyncio.DatagramProtocol):
    """Answers probes, and ignores every other datagram, the announcements of other servers among them."""

    def __init__(self, answer: Callable[[Probe], bytes]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        received = announcement.decode(data)
        if self._transport is not None and received is not None and isinstance(received.words, Probe):
            self._transport.sendto(self._answer(received.words), addr)

    def error_received(self, exc: Exception) -> None:
        # a network that is down, a client that has gone: the next interval is soon
        log.debug("beacon: %s", exc)
