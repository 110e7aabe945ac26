"""A disk in memory, and a session with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from stuntdouble.scsi import Answer, DeviceServer, MemoryLuns, MemoryUnit, Nexus, pack_lun

IQN = "iqn.2026-11.test:one"
OTHER = "iqn.2026-11.test:two"
TARGET = "iqn.2026-11.test:target"


@dataclass
class Bench:
    """A device server with one disk at LUN 1 of two initiators, and sessions of both."""

    unit: MemoryUnit = field(default_factory=MemoryUnit)

    def __post_init__(self) -> None:
        self.luns = MemoryLuns({IQN: {1: self.unit}, OTHER: {1: self.unit}})
        self.server = DeviceServer(self.luns, TARGET)
        self.one = Nexus(IQN, b"\x00\x02\x3d\x00\x00\x01", 1)
        self.two = Nexus(OTHER, b"\x00\x02\x3d\x00\x00\x01", 2)
        for nexus in (self.one, self.two):
            self.server.connect(nexus)
            self.settle(nexus)

    def settle(self, nexus: Nexus, lun: int = 1) -> None:
        """Take note of everything that a unit has to tell."""
        while self("000000000000", nexus=nexus, lun=lun).status == 2:
            pass

    def __call__(
        self, cdb: str, data: bytes = b"", *, nexus: Nexus | None = None, lun: int = 1
    ) -> Answer:
        command = bytes.fromhex(cdb)
        answer = self.server.execute(nexus or self.one, pack_lun(lun), command, data)
        if not isinstance(answer, Answer):
            answer = asyncio.run(_await(answer))
        return answer

    def sent(self, cdb: str, data: bytes = b"", **where: object) -> bytes:
        """Return what comes back, which has to be without complaint."""
        answer = self(cdb, data, **where)
        assert (answer.status, answer.sense.hex()) == (0, "")
        return b"".join(answer.parts)

    def told(self, cdb: str, data: bytes = b"", **where: object) -> str:
        """Return key/asc/ascq of what is told instead."""
        answer = self(cdb, data, **where)
        assert answer.status == 2
        return code_of(answer)


async def _await(answer):
    return await answer


def code_of(answer: Answer) -> str:
    """Return key/asc/ascq of an answer."""
    sense = answer.sense
    assert sense[0] & 0x7F in (0x70, 0x72)
    key, asc, ascq = sense[2:3] + sense[12:14] if sense[0] & 2 == 0 else sense[1:4]
    return f"{key & 0xF:02x}/{asc:02x}/{ascq:02x}"


@pytest.fixture
def bench() -> Iterator[Bench]:
    return Bench()
