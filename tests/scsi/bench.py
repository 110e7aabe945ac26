"""A device server with a disk in memory, and two sessions with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from stuntdouble.scsi import Answer, DeviceServer, MemoryLuns, MemoryUnit, Nexus, pack_lun

ONE = "iqn.2026-11.test:one"
TWO = "iqn.2026-11.test:two"
TARGET = "iqn.2026-11.test:target"
ISID = b"\x00\x02\x3d\x00\x00\x01"
BLOCK = 512


@dataclass
class Bench:
    """A device server with one disk, at LUN 1 of the one initiator and at LUN 300 of the other."""

    unit: MemoryUnit = field(default_factory=MemoryUnit)

    def __post_init__(self) -> None:
        self.luns = MemoryLuns({ONE: {1: self.unit}, TWO: {300: self.unit}})
        self.server = self.make_server()
        self.one = Nexus(ONE, ISID, 1)
        self.two = Nexus(TWO, ISID, 2)
        for nexus in (self.one, self.two):
            self.connect(nexus)

    def make_server(self) -> DeviceServer:
        return DeviceServer(self.luns, TARGET)

    def connect(self, nexus: Nexus) -> None:
        """Begin a session and hear everything that there is to tell."""
        self.server.connect(nexus)
        self.settle(nexus)

    def settle(self, nexus: Nexus) -> None:
        while self.told("00 00 00 00 00 00", nexus=nexus).startswith("06"):
            pass

    def __call__(
        self,
        cdb: str | bytes,
        data: bytes = b"",
        *,
        nexus: Nexus | None = None,
        lun: int | bytes | None = None,
        announced: int | None = None,
    ) -> Answer:
        command = bytes.fromhex(cdb) if isinstance(cdb, str) else cdb
        who = nexus or self.one
        where = (1 if who.initiator_iqn == ONE else 300) if lun is None else lun
        address = where if isinstance(where, bytes) else pack_lun(where)
        answer = self.server.execute(who, address, command, data, announced)
        return answer if isinstance(answer, Answer) else asyncio.run(awaited(answer))

    def sent(self, cdb: str | bytes, data: bytes = b"", **where) -> bytes:
        """Return what comes back, which has to be without complaint."""
        answer = self(cdb, data, **where)
        assert (answer.status, answer.sense.hex(" ")) == (0, "")
        return b"".join(answer.parts)

    def told(self, cdb: str | bytes, data: bytes = b"", **where) -> str:
        """Return key/asc/ascq of what is told instead, or the status."""
        return complaint(self(cdb, data, **where))


async def awaited(answer):
    return await answer


def complaint(answer: Answer) -> str:
    """Return key/asc/ascq of an answer, or its status in hexadecimal."""
    sense = answer.sense
    if answer.status != 2:
        assert not sense
        return f"{answer.status:02x}"
    if sense[0] & 0x7F == 0x72:
        key, asc, ascq = sense[1:4]
        assert sense[7] == len(sense) - 8
    else:
        assert (sense[0] & 0x7F, sense[7], len(sense)) == (0x70, 10, 18)
        key, asc, ascq = sense[2], *sense[12:14]
    return f"{key:02x}/{asc:02x}/{ascq:02x}"


def pointer(answer: Answer) -> tuple[bool, int, int | None]:
    """Return whether the CDB is meant, the byte and the bit that sense data points at."""
    assert answer.sense[15] & 0x80
    bit = answer.sense[15] & 7 if answer.sense[15] & 8 else None
    return bool(answer.sense[15] & 0x40), int.from_bytes(answer.sense[16:18], "big"), bit


def information(answer: Answer) -> int | None:
    """Return the information field of fixed sense data, or None where it is not valid."""
    return int.from_bytes(answer.sense[3:7], "big") if answer.sense[0] & 0x80 else None


def ten(opcode: int, block: int, count: int, flags: int = 0) -> bytes:
    """Return a CDB of 10 bytes."""
    return (
        bytes((opcode, flags)) + block.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big") + b"\0"
    )


def sixteen(opcode: int, block: int, count: int, flags: int = 0) -> bytes:
    """Return a CDB of 16 bytes."""
    return bytes((opcode, flags)) + block.to_bytes(8, "big") + count.to_bytes(4, "big") + b"\0\0"


def twelve(opcode: int, block: int, count: int, flags: int = 0) -> bytes:
    """Return a CDB of 12 bytes."""
    return bytes((opcode, flags)) + block.to_bytes(4, "big") + count.to_bytes(4, "big") + b"\0\0"
