"""Beacon: announcements of a server by UDP broadcast, and an answer to each probe."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
import struct
from collections.abc import Collection

from ..core.host import tasks
from ..core.host.interfaces import Network, networks
from ..core.protocol import announcement
from ..core.protocol.announcement import Announcement, Goodbye, Probe
from .sockets import EVERY_IPV4

log = logging.getLogger("pyraface.beacon")

MOST_AT_ONCE = 64
"""Datagrams read before the rest of the daemon gets a turn."""

_RTMGRP_IPV4_IFADDR = 0x10
"""From linux/rtnetlink.h: tell this socket whenever an IPv4 address comes or goes."""

_IP_PKTINFO = 8
"""From linux/in.h: of a datagram, the interface and the address of this machine. ip(7) describes both uses."""

_PKTINFO = struct.Struct("@i4s4s")

_LIMITED_BROADCAST = "255.255.255.255"


class Beacon:
    """Announces a server from `start()` to `stop()`, every interval, and whenever an interface gets an address.

    A server is announced on the networks where it can be reached: from each of its addresses that an interface has at
    that moment, which is where clients then connect to. A probe on another network gets no answer.

    Args:
        words: the announcement.
        key: seals every datagram; None leaves them unsealed.
        port: the UDP port for announcements and probes.
        interfaces: names of network interfaces. One socket each, bound to that device: nothing is received from or sent
            to any other. Without names, one socket serves every interface.
        interval: seconds between announcements.
        addresses: of the server, as `sockets.addresses` returns them; those of IPv6 are not announced.
    """

    def __init__(
        self,
        words: Announcement,
        key: bytes | None,
        *,
        port: int,
        interfaces: tuple[str, ...],
        interval: float,
        addresses: Collection[str],
    ) -> None:
        self._port = port
        self._interfaces = interfaces
        self._interval = interval
        self._key = key
        self._addresses = [address for address in addresses if ":" not in address]
        self._announcement = words
        self._announcement_datagram = announcement.encode(words, key)
        self._goodbye_datagram = announcement.encode(Goodbye(words.instance), key)
        self._sockets: dict[str, socket.socket] = {}
        self._indices: dict[str, int] = {}
        self._networks: dict[Network, int] = {}
        """Those on which the server is announced, each with the index of its interface."""
        self._told: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._netlink: socket.socket | None = None
        self._changed = asyncio.Event()
        self._reported_missing: set[str] = set()

    def start(self) -> None:
        """Opens the sockets and begins to announce.

        Raises:
            OSError: the UDP port is not available.
        """
        if not self._addresses:
            log.info(
                "not announced: announcements are IPv4, and this server listens on IPv6 alone; clients name it"
            )
            return
        if self._interfaces:
            self._open_named()
        else:
            self._open("")
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
        for name in list(self._sockets):
            self._close(name)

    async def _announce_repeatedly(self) -> None:
        while True:
            self._changed.clear()
            try:
                if self._interfaces:
                    self._open_named()
                self._look()
            except OSError as error:  # an interface may disappear while it is read; the next interval is soon
                log.warning("beacon: %s", error)
            self._broadcast(self._announcement_datagram)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._interval)

    def _open_named(self) -> None:
        """Opens a socket for each named interface that exists and has none yet."""
        present = {network.interface for network in networks(self._interfaces)}
        for name in set(self._interfaces) - present - self._reported_missing:
            log.warning("beacon: no interface %s with an IPv4 address; it is used when it appears", name)
            self._reported_missing.add(name)
        for name in present:
            index = socket.if_nametoindex(name)
            # a socket stays bound to the device it was opened for, even if a new one appears under the same name
            if self._indices.get(name) != index:
                if name in self._sockets:
                    self._close(name)
                self._open(name)
                self._indices[name] = index

    def _open(self, device: str) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            # several daemons on one machine all receive a broadcast
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            sock.bind(("", self._port))
        except OSError as error:
            sock.close()
            where = f" on {device}" if device else ""
            raise OSError(
                error.errno, f"UDP port {self._port}{where} is not available for the beacon: {error.strerror}"
            ) from error
        asyncio.get_running_loop().add_reader(sock, self._receive, sock)
        self._sockets[device] = sock

    def _close(self, device: str) -> None:
        sock = self._sockets.pop(device)
        asyncio.get_running_loop().remove_reader(sock)
        sock.close()

    def _look(self) -> None:
        """Finds the networks on which the server can be reached now."""
        found: dict[tuple[str, str], Network] = {}
        for network in networks(self._interfaces):
            for address in self._addresses:
                source = _source(network, address)
                if source is not None:
                    # one address is enough for a network
                    found.setdefault((network.interface, network.broadcast), network._replace(address=source))
        self._networks = {network: socket.if_nametoindex(network.interface) for network in found.values()}
        self._tell()

    def _tell(self) -> None:
        """Logs where the server is announced, if that is not on every network, and every change of it."""
        everywhere = EVERY_IPV4 in self._addresses and any(
            not network.address.startswith("127.") for network in self._networks
        )
        if everywhere and self._told is None:
            return
        if self._networks:
            places = ", ".join(f"{network.address} on {network.interface}" for network in self._networks)
            rest = "" if everywhere else " alone: on other networks clients do not find this server"
            text = f"announced from {places}{rest}"
        else:
            which = "interface of params/beacon/interfaces" if self._interfaces else "interface"
            every = EVERY_IPV4 in self._addresses
            address = "an IPv4 address" if every else f"the address {' or '.join(self._addresses)}"
            text = f"not announced: no {which} has {address} in a network with broadcasts"
        if text != self._told:
            log.info(text)
        self._told = None if everywhere else text

    def _broadcast(self, datagram: bytes) -> None:
        for network, index in self._networks.items():
            sock = self._sockets.get(network.interface) or self._sockets.get("")
            if sock is not None:
                self._send(sock, datagram, (network.broadcast, self._port), network.address, index)

    def _receive(self, sock: socket.socket) -> None:
        """Answers probes, and ignores every other datagram, the announcements of other servers among them."""
        for _ in range(MOST_AT_ONCE):
            try:
                data, ancillary, _, sender = sock.recvmsg(
                    announcement.MAX_DATAGRAM + 1, socket.CMSG_SPACE(_PKTINFO.size)
                )
            except BlockingIOError:
                return
            except OSError as error:  # a network that is down
                log.debug("beacon: %s", error)
                return
            received = announcement.decode(data)
            if received is None or not isinstance(received.words, Probe):
                continue
            for level, kind, content in ancillary:
                if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                    index, _, target = _PKTINFO.unpack(content)
                    source = self._answers_from(socket.inet_ntoa(target), index)
                    if source is not None:
                        self._send(sock, self._answer(received.words), sender, source)

    def _answers_from(self, target: str, index: int) -> str | None:
        """Returns the address from which a probe is answered, 0.0.0.0 for any; None: the server is not reached there.

        Args:
            target: the address to which the probe was sent.
            index: of the interface by which it came.
        """
        if target in self._addresses:
            return target
        probed = [
            (there != index, network.address)
            for network, there in self._networks.items()
            if target == network.broadcast or (target == _LIMITED_BROADCAST and there == index)
        ]
        if probed:
            return min(probed)[1]
        return EVERY_IPV4 if EVERY_IPV4 in self._addresses else None

    def _answer(self, probe: Probe) -> bytes:
        return announcement.encode(dataclasses.replace(self._announcement, nonce=probe.nonce), self._key)

    def _send(
        self, sock: socket.socket, datagram: bytes, target: tuple[str, int], source: str, index: int = 0
    ) -> None:
        """Sends a datagram from an address, 0.0.0.0 for any, and by the interface with this index, 0 for any."""
        where = _PKTINFO.pack(index, socket.inet_aton(source), bytes(4))
        try:
            sock.sendmsg([datagram], [(socket.IPPROTO_IP, _IP_PKTINFO, where)], 0, target)
        except OSError as error:  # a network that is down, a client that has gone: the next interval is soon
            log.debug("beacon: %s", error)

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


def _source(network: Network, address: str) -> str | None:
    """Returns the address from which a server that listens at `address` is announced on a network; None: it is not."""
    if address in (EVERY_IPV4, network.address):
        return network.address
    # loopback has every address that begins with 127
    return address if address.startswith("127.") and network.address.startswith("127.") else None
