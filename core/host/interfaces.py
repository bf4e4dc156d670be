"""Interfaces: the broadcast addresses of this machine's networks."""

from __future__ import annotations

import ipaddress
import socket

import psutil

LOOPBACK_BROADCAST = "127.255.255.255"
"""Reaches every listener on this machine: a machine finds its own servers, and no packet leaves it."""


def broadcast_addresses(names: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Returns the IPv4 broadcast addresses of each network interface, by the interface's name.

    Args:
        names: the interfaces wanted; missing ones are omitted. Empty: all interfaces.
    """
    found: dict[str, list[str]] = {}
    for name, addresses in psutil.net_if_addrs().items():
        if names and name not in names:
            continue
        for address in addresses:
            if address.family != socket.AF_INET:
                continue
            target = _broadcast(address.address, address.netmask, address.broadcast)
            if target and target not in found.setdefault(name, []):
                found[name].append(target)
    return {name: targets for name, targets in found.items() if targets}


def _broadcast(address: str, netmask: str | None, listed: str | None) -> str | None:
    # loopback lists no broadcast address, but 127.255.255.255 works
    if address.startswith("127."):
        return LOOPBACK_BROADCAST
    # an unset broadcast address (`ip addr add` sets none) is listed as the address itself; None: a point-to-point interface
    if listed not in (address, "0.0.0.0") or not netmask:  # nosec B104: compared with, not bound to
        return listed
    network = ipaddress.IPv4Network((address, netmask), strict=False)
    return str(network.broadcast_address) if network.prefixlen < 31 else None
