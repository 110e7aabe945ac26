"""Addresses, sockets that listen there, and how an endpoint that does is told to others."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from stuntdouble.errors import Misuse


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can get there."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class ArrayAddress:
    """Where an array is served; an empty name is the scenario's first."""

    array: str
    at: Address


def array_address(text: str, option: str) -> ArrayAddress:
    """Return what ``HOST:PORT`` or ``ARRAY=HOST:PORT`` says; Misuse where it says nothing."""
    array, _, where = text.rpartition("=")
    return ArrayAddress(array, address(where, option))


def address(text: str, option: str) -> Address:
    """Return what ``HOST:PORT``, ``[HOST]:PORT`` or ``:PORT`` says; Misuse where it says nothing."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Misuse(option, f"{text!r} is not HOST:PORT, as in 127.0.0.1:0 for any free port")
    if ":" in host and not text.startswith("["):
        raise Misuse(option, f"{text!r}: write an IPv6 address in brackets, as in [::1]:8080")
    return Address(host or "127.0.0.1", int(port))


def listening(at: Address, option: str) -> socket.socket:
    """Return a socket that listens; Misuse where the address is taken, or not of this machine."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            at.host, at.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol: asyncio sends without delay only where it sees that it is TCP, and an
        # answer in two writes would otherwise wait 40 ms for the client's acknowledgement.
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Misuse(option, f"cannot listen at {at}: {error.strerror}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(128)
        made.settimeout(0)
    except OSError as error:
        made.close()
        raise Misuse(option, f"cannot listen at {at}: {error.strerror}") from None
    return made


@dataclass(frozen=True, slots=True)
class Listening:
    """An endpoint that listens, as the ready file tells it."""

    name: str
    url: str
    user: str = ""
    fingerprint_sha256: str = ""
