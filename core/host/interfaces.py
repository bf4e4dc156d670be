"""Where a broadcast has to go so that every machine on every network hears it."""

from __future__ import annotations

import ipaddress
import socket

import psutil

LOOPBACK_BROADCAST = "127.255.255.255"
"""Reaches every listener on this machine: one machine finds itself, and nothing leaves it."""


def broadcast_addresses(names: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Returns the IPv4 broadcast addresses of each network interface, by the interface's name.

    Args:
        names: the interfaces wanted; those that are not there (yet) are left out. None named: every one.
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
    # loopback has no broadcast address to list, but 127.255.255.255 is one
    if address.startswith("127."):
        return LOOPBACK_BROADCAST
    # one that nobody set (`ip addr add` does not) is listed as the address itself; None: there is none, point to point
    if listed not in (address, "0.0.0.0") or not netmask:  # nosec B104: compared with, not bound to
        return listed
    network = ipaddress.IPv4Network((address, netmask), strict=False)
    return str(network.broadcast_address) if network.prefixlen < 31 else None
