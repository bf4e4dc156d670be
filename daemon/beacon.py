"""Makes the daemon known on the network: announcements by UDP broadcast, and an answer to whoever asks."""

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
from ..core.parameters import Parameters
from ..core.protocol import announcement
from ..core.protocol.announcement import Announcement, Goodbye, Probe

log = logging.getLogger("pyraface.beacon")

Address = tuple[str, int]

_RTMGRP_IPV4_IFADDR = 0x10
"""From linux/rtnetlink.h: tell this socket whenever an IPv4 address comes or goes."""


class Beacon:
    """Announces a server until it is stopped.

    What it says is sealed with the key, if there is one.

    With interfaces named in parameters.xml there is one socket for each, bound to that device: nothing comes from or
    goes to any other. Without, one socket serves them all.
    """

    def __init__(self, parameters: Parameters, words: Announcement, key: bytes | None) -> None:
        self._parameters = parameters
        self._key = key
        self._said = words
        self._words = announcement.encode(words, key)
        self._goodbye = announcement.encode(Goodbye(words.instance), key)
        self._transports: dict[str, asyncio.DatagramTransport] = {}
        self._indices: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._netlink: socket.socket | None = None
        self._changed = asyncio.Event()
        self._known: set[str] = set()

    async def start(self) -> None:
        """Announces the server, and goes on doing so.

        Raises:
            OSError: the port cannot be had.
        """
        if self._parameters.beacon.interfaces:
            await self._open_named()
        else:
            await self._open("")
        self._watch_addresses()
        self._task = asyncio.create_task(self._announce_for_ever(), name="beacon")

    async def stop(self) -> None:
        """Says goodbye."""
        if self._task is not None:
            await tasks.end([self._task])
        if self._netlink is not None:
            asyncio.get_running_loop().remove_reader(self._netlink)
            self._netlink.close()
        self._broadcast(self._goodbye)
        for transport in self._transports.values():
            transport.close()

    async def _announce_for_ever(self) -> None:
        while True:
            self._changed.clear()
            if self._parameters.beacon.interfaces:
                try:
                    await self._open_named()
                except OSError as error:
                    log.warning("beacon: %s", error)
            self._broadcast(self._words)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._parameters.beacon.interval)

    async def _open_named(self) -> None:
        """Opens a socket for each named interface that is there and has none yet."""
        there = broadcast_addresses(self._parameters.beacon.interfaces)
        for name in set(self._parameters.beacon.interfaces) - there.keys() - self._known:
            log.warning("beacon: no interface %s with an IPv4 address; it is used when it appears", name)
            self._known.add(name)
        for name in there:
            index = socket.if_nametoindex(name)
            # a socket belongs to the device it was bound to, not to a later one of the same name
            if self._indices.get(name) != index:
                if name in self._transports:
                    self._transports.pop(name).close()
                await self._open(name)
                self._indices[name] = index

    async def _open(self, device: str) -> None:
        port = self._parameters.ports.discovery
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            # several daemons on one machine all hear a broadcast
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            sock.bind(("", port))
        except OSError as error:
            sock.close()
            where = f" on {device}" if device else ""
            raise OSError(
                error.errno, f"UDP port {port}{where} cannot be had for the beacon: {error.strerror}"
            ) from error
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Listener(self._answer), sock=sock)
        self._transports[device] = transport

    def _answer(self, probe: Probe) -> bytes:
        return announcement.encode(dataclasses.replace(self._said, nonce=probe.nonce), self._key)

    def _broadcast(self, words: bytes) -> None:
        port = self._parameters.ports.discovery
        try:
            there = broadcast_addresses(self._parameters.beacon.interfaces)
        except OSError as error:  # an interface may go while it is looked at; the next interval is soon
            log.warning("beacon: %s", error)
            return
        for name, targets in there.items():
            transport = self._transports.get(name) or self._transports.get("")
            if transport is not None and not transport.is_closing():
                for target in targets:
                    transport.sendto(words, (target, port))

    def _watch_addresses(self) -> None:
        """Announces at once when an interface gets an address; without this, the interval still does."""
        if not hasattr(socket, "AF_NETLINK"):
            return
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._netlink.setblocking(False)
        self._netlink.bind((0, _RTMGRP_IPV4_IFADDR))
        asyncio.get_running_loop().add_reader(self._netlink, self._addresses_changed)

    def _addresses_changed(self) -> None:
        assert self._netlink is not None
        with contextlib.suppress(OSError):  # ENOBUFS: more changes than it could tell; we look anyway
            while self._netlink.recv(1 << 16):
                pass
        self._changed.set()


class _Listener(asyncio.DatagramProtocol):
    """Answers probes. Everything else, other servers' announcements too, is none of a server's business."""

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
        log.debug(
            "beacon: %s", exc
        )  # a network that is down, a client that is gone: the next interval is soon
