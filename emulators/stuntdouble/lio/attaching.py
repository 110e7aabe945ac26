"""The step ``nbd``: an NBD export as ``/dev/nbdN``, by the kernel's own client.

It is told over netlink, as ``nbd-client`` does it: the kernel picks the device, keeps the
connection without a process of ours, and shows under ``backend`` in sysfs (Linux 5.14) whose it is.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, Final

from stuntdouble.codecs.nbd import TransmissionFlag
from stuntdouble.errors import AccessDenied, TimedOut, Unsupported
from stuntdouble.lio import devices
from stuntdouble.lio.negotiated import Negotiated
from stuntdouble.lio.requests import NbdSource, Session
from stuntdouble.lio.work import KernelError, Made, wait_for
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.lio.machine import Machine
    from stuntdouble.lio.work import Work

_HEADER: Final = Struct("=IHHII")  # linux/netlink.h, nlmsghdr: length, type, flags, sequence, port
_GENERIC: Final = Struct("=BBH")  # linux/genetlink.h, genlmsghdr: command, version, reserved
_ATTRIBUTE: Final = Struct("=HH")  # linux/netlink.h, nlattr: length, type
_U32, _U64 = Struct("=I"), Struct("=Q")
_NETLINK_GENERIC: Final = 16  # linux/netlink.h
_REQUEST_AND_ACK: Final = 0x1 | 0x4  # NLM_F_REQUEST, NLM_F_ACK
_ERROR: Final = 2  # NLMSG_ERROR, which an acknowledgement is too
_CONTROL, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2  # linux/genetlink.h
_NESTED: Final = 0x8000  # NLA_F_NESTED

# linux/nbd-netlink.h
_CONNECT, _DISCONNECT = 1, 2
_INDEX, _SIZE, _BLOCK, _TIMEOUT, _FLAGS, _SOCKETS, _DEAD, _BACKEND = 1, 2, 3, 4, 5, 7, 8, 10
_ITEM, _DESCRIPTOR = 1, 1

_ANSWER_SECONDS: Final = 30.0
"""What a server has for an answer, before the kernel fails what waits for it: as ``copying``'s."""

_APPEARS_SECONDS: Final = 10.0  # a device is there within 0.1 s, under emulation within one


@dataclass(frozen=True)
class NbdStep:
    """An NBD export, attached.

    Args:
        uri: the export.
        read_only: whether the device refuses writes.
    """

    kind: ClassVar[str] = "nbd"
    uri: str
    read_only: bool

    def check(self, work: Work) -> None:
        """Look whether the kernel has the client."""
        if why := lacking(work.machine):
            raise Unsupported("attaching NBD exports", why)

    def do(self, work: Work, below: Made) -> Made:
        """Connect, negotiate, and let the kernel go on."""
        del below
        with Negotiated(NbdSource(self.uri), _ANSWER_SECONDS, structured=False) as link:
            flags = link.flags | (TransmissionFlag.READ_ONLY if self.read_only else 0)
            if TransmissionFlag.READ_ONLY in link.flags and not self.read_only:
                raise AccessDenied("an NBD client", f"{self.uri} for writing")
            link.socket.settimeout(None)  # the kernel has time limits of its own
            item = _attribute(_DESCRIPTOR, _U32.pack(link.socket.fileno()))
            _tell(
                f"attach {self.uri}",
                _CONNECT,
                _attribute(_SIZE, _U64.pack(link.size_bytes)),
                _attribute(_BLOCK, _U64.pack(max(link.block_bytes, SECTOR_BYTES))),
                _attribute(_TIMEOUT, _U64.pack(int(_ANSWER_SECONDS))),
                _attribute(_DEAD, _U64.pack(0)),
                _attribute(_FLAGS, _U64.pack(int(flags))),
                _attribute(_SOCKETS | _NESTED, _attribute(_ITEM | _NESTED, item)),
                _attribute(_BACKEND, work.mark.encode() + b"\0"),
            )
            size = link.size_bytes
        try:
            wait_for(f"attaching {self.uri}", lambda: self._there(work, size), _APPEARS_SECONDS)
        except TimedOut:
            text = "the kernel shows no device of ours: it is older than Linux 5.14"
            raise Unsupported("attaching NBD exports", text) from None
        return Made(str(Path(work.machine.dev, next(marked(work.machine, work.mark)))))

    def _there(self, work: Work, size: int) -> bool:
        names = marked(work.machine, work.mark)
        return any(
            devices.sectors(work.machine, name) == size and Path(work.machine.dev, name).exists()
            for name in names
        )

    def undo(self, work: Work) -> None:
        """Disconnect."""
        for name in marked(work.machine, work.mark):
            index = int(name.removeprefix("nbd"))
            _tell(f"detach {name}", _DISCONNECT, _attribute(_INDEX, _U32.pack(index)))
        gone = lambda: not list(marked(work.machine, work.mark))  # noqa: E731
        wait_for(f"detaching {self.uri}", gone, _APPEARS_SECONDS)

    def users(self, work: Work) -> list[Session]:
        """Return who has the device open."""
        paths = [str(Path(work.machine.dev, name)) for name in marked(work.machine, work.mark)]
        return [Session(who, path) for path in paths for who in devices.users(work.machine, path)]

    def words(self) -> str:
        """Say what it is."""
        return f"{self.uri} by the kernel's NBD client"


def lacking(machine: Machine) -> str:
    """Say what is missing for NBD devices; nothing where they work."""
    if not any(machine.blocks.glob("nbd*")):
        return f"no nbd* in {machine.blocks}: modprobe nbd"
    return "" if os.geteuid() == 0 else "for root only"


def marked(machine: Machine, mark: str) -> Iterator[str]:
    """Yield the names of NBD devices that carry a mark."""
    for entry in sorted(machine.blocks.glob("nbd*")):
        try:
            found = (entry / "backend").read_text("utf-8").strip()
        except OSError:  # not attached, or not by one who says who he is
            continue
        if found == mark:
            yield entry.name


# Netlink. -------------------------------------------------------------------------------------


def _attribute(kind: int, data: bytes) -> bytes:
    row = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data
    return row + bytes(-len(row) % 4)


def _tell(what: str, command: int, *attributes: bytes) -> None:
    """Give a command to the kernel's NBD client.

    Raises:
        KernelError: it does not do it.
        Unsupported: there is no such client.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as link:
            link.settimeout(_ANSWER_SECONDS)
            link.bind((0, 0))
            _exchange(link, _family(link), command, *attributes)
    except OSError as error:
        raise KernelError(what, error.strerror or str(error)) from None


def _family(link: socket.socket) -> int:
    """Return the number of the family ``nbd``."""
    rest = _exchange(link, _CONTROL, _GET_FAMILY, _attribute(_FAMILY_NAME, b"nbd\0"))
    while rest:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if kind == _FAMILY_ID:
            return int.from_bytes(rest[_ATTRIBUTE.size : _ATTRIBUTE.size + 2], "little")
        rest = rest[length + -length % 4 :]
    raise Unsupported("attaching NBD exports", "the kernel's netlink has no nbd: modprobe nbd")


def _exchange(link: socket.socket, family: int, command: int, *attributes: bytes) -> bytes:
    """Send a message; return the attributes of the answer, if there is one beside the end."""
    body = _GENERIC.pack(command, 1, 0) + b"".join(attributes)
    link.send(_HEADER.pack(_HEADER.size + len(body), family, _REQUEST_AND_ACK, 1, 0) + body)
    found = b""
    while True:
        data = link.recv(1 << 16)
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            rest, data = data[_HEADER.size : length], data[length + -length % 4 :]
            if kind != _ERROR:
                found = rest[_GENERIC.size :]
            elif number := -int.from_bytes(rest[:4], "little", signed=True):
                raise OSError(number, os.strerror(number))
            else:
                return found
