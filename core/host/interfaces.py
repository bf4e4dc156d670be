"""Interfaces: this machine's networks, with their broadcast addresses, and its name there."""

from __future__ import annotations

import array
import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
from typing import NamedTuple

import psutil

from ..text import sendable

LOOPBACK_BROADCAST = "127.255.255.255"
"""Reaches every listener on this machine: a machine finds its own servers, and no packet leaves it."""

_SIOCGIFCONF, _SIOCGIFFLAGS, _SIOCGIFBRDADDR, _SIOCGIFNETMASK = 0x8912, 0x8913, 0x8919, 0x891B
"""From linux/sockios.h; netdevice(7) describes them."""

_IFF_UP = 1

_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
"""Made in every container, by Docker and by Podman; Kubernetes makes neither, and sets a variable."""

_IPV6_ADDRESSES = "/proc/net/if_inet6"

_IFREQ_BYTES = 40 if struct.calcsize("P") == 8 else 32
"""Bytes of a struct ifreq: a name of 16 bytes, and a union."""

_MOST_INTERFACES = 256


def machine_name() -> str:
    """Returns the name of this machine, at most 64 characters, read as UTF-8 whatever the locale is."""
    return sendable(os.fsencode(socket.gethostname()).decode("utf-8", "replace"), 64)


def broadcast_advice() -> str:
    """Returns why broadcasts do not reach other machines: in a container, or on a network of IPv6 alone; elsewhere ""."""
    if _has_ipv6() and all(network.address.startswith("127.") for network in networks()):
        return "machines are found over IPv4 alone, and this one has no IPv4 network"
    if any(map(os.path.exists, _CONTAINER_FILES)) or "KUBERNETES_SERVICE_HOST" in os.environ:
        return "broadcasts reach other machines from a container only on the host's network (docker run --network host)"
    return ""


def _has_ipv6() -> bool:
    """Returns whether this machine has an address of IPv6 that is of use beyond one link."""
    with contextlib.suppress(OSError), open(_IPV6_ADDRESSES, encoding="ascii") as file:
        return any(line.split()[3] == "00" for line in file)  # the scope
    return False


def loopback_is_down() -> bool:
    """Returns whether the loopback interface is switched off: this machine then cannot reach itself."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return not struct.unpack_from("H", _ask(sock, _SIOCGIFFLAGS, "lo"), 16)[0] & _IFF_UP
    return False


class Network(NamedTuple):
    """An IPv4 network of this machine: an interface, its address there, and the network's broadcast address."""

    interface: str
    address: str
    broadcast: str


def networks(names: tuple[str, ...] = ()) -> list[Network]:
    """Returns this machine's IPv4 networks; an interface with two addresses in a network is listed with both.

    Args:
        names: the interfaces wanted; missing ones are omitted. Empty: all interfaces.
    """
    return [
        Network(name, address, target)
        for name, address, netmask, broadcast in _addresses()
        if (not names or name in names) and (target := _broadcast(address, netmask, broadcast))
    ]


def broadcast_addresses(names: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Returns the IPv4 broadcast addresses of each network interface, by the interface's name; `names` as for `networks`."""
    found: dict[str, list[str]] = {}
    for network in networks(names):
        if network.broadcast not in found.setdefault(network.interface, []):
            found[network.interface].append(network.broadcast)
    return found


def _addresses() -> list[tuple[str, str, str | None, str | None]]:
    """Returns interface, address, netmask and broadcast address of each IPv4 address."""
    try:
        listed = psutil.net_if_addrs()
    except OSError:  # a sandbox without the netlink family, which the C library uses
        return _addresses_without_netlink()
    return [
        (name, one.address, one.netmask, one.broadcast)
        for name, addresses in listed.items()
        for one in addresses
        if one.family == socket.AF_INET
    ]


def _addresses_without_netlink() -> list[tuple[str, str, str | None, str | None]]:
    buffer = array.array("B", bytes(_MOST_INTERFACES * _IFREQ_BYTES))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
        size = struct.unpack("iP", fcntl.ioctl(sock, _SIOCGIFCONF, request))[0]
        entries = [bytes(buffer[at : at + _IFREQ_BYTES]) for at in range(0, size, _IFREQ_BYTES)]
        found: list[tuple[str, str, str | None, str | None]] = []
        for entry in entries:
            name = os.fsdecode(entry[:16].partition(b"\0")[0])
            netmask, broadcast = (_address(sock, name, which) for which in (_SIOCGIFNETMASK, _SIOCGIFBRDADDR))
            found.append((name, socket.inet_ntoa(entry[20:24]), netmask, broadcast))
        return found


def _address(sock: socket.socket, name: str, which: int) -> str | None:
    try:
        return socket.inet_ntoa(_ask(sock, which, name)[20:24])
    except OSError:
        return None


def _ask(sock: socket.socket, which: int, name: str) -> bytes:
    return fcntl.ioctl(sock, which, os.fsencode(name).ljust(_IFREQ_BYTES, b"\0"))


def _broadcast(address: str, netmask: str | None, listed: str | None) -> str | None:
    # loopback lists no broadcast address, but 127.255.255.255 works
    if address.startswith("127."):
        return LOOPBACK_BROADCAST
    # an unset broadcast address (`ip addr add` sets none) is listed as the address itself; None: a point-to-point interface
    if listed not in (address, "0.0.0.0") or not netmask:  # nosec B104: compared with, not bound to
        return listed
    network = ipaddress.IPv4Network((address, netmask), strict=False)
    return str(network.broadcast_address) if network.prefixlen < 31 else None
