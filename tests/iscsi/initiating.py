"""An initiator for tests: it speaks to a connection without a socket, PDU by PDU.

It says what a test tells it to say, right or wrong, and has no opinion about the answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import NO_TAG, Opcode, Stage
from stuntdouble.iscsi import Connection, Limits, Node, Target
from stuntdouble.scsi import DeviceServer, MemoryLuns, MemoryUnit

IQN = "iqn.2026-01.com.example:host"
OTHER = "iqn.2026-01.com.example:other"
STRANGER = "iqn.2026-01.com.example:stranger"
TARGET = "iqn.2026-01.com.example:array"
PORTAL = "192.0.2.1:3260"
LUN0 = bytes(8)
LUN1 = b"\0\1" + bytes(6)
MIB = 1 << 20

PARSERS: dict[int, Any] = {
    Opcode.NOP_IN: iscsi.NopIn,
    Opcode.SCSI_RESPONSE: iscsi.ScsiResponse,
    Opcode.TASK_RESPONSE: iscsi.TaskResponse,
    Opcode.LOGIN_RESPONSE: iscsi.LoginResponse,
    Opcode.TEXT_RESPONSE: iscsi.TextResponse,
    Opcode.DATA_IN: iscsi.DataIn,
    Opcode.LOGOUT_RESPONSE: iscsi.LogoutResponse,
    Opcode.R2T: iscsi.R2t,
    Opcode.ASYNC_MESSAGE: iscsi.AsyncMessage,
    Opcode.REJECT: iscsi.Reject,
}


def read10(block: int, count: int) -> bytes:
    return b"\x28\0" + block.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big") + bytes(7)


def write10(block: int, count: int) -> bytes:
    return b"\x2a\0" + block.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big") + bytes(7)


TEST_UNIT_READY = bytes(16)
READ_CAPACITY = b"\x25" + bytes(15)


class Later:
    """A runner whose commands end when a test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Any, Any]] = []
        self.cancelled: list[Any] = []

    def run(self, answer, done):
        self.begun.append((answer, done))
        later = self

        class Running:
            def cancel(self) -> None:
                later.cancelled.append(answer)
                answer.close()

        return Running()

    def __del__(self) -> None:
        for answer, _ in self.begun:
            answer.close()

    def end(self, at: int = 0) -> None:
        answer, done = self.begun.pop(at)
        done(asyncio.run(_awaited(answer)))


async def _awaited(answer):
    return await answer


class SlowUnit(MemoryUnit):
    """A unit that answers later."""

    def read(self, offset, length):
        return Soon(lambda: MemoryUnit.read(self, offset, length))

    def write(self, offset, data):
        kept = bytes(data)
        return Soon(lambda: MemoryUnit.write(self, offset, kept))


class Soon:
    """Something to be awaited, or left alone."""

    def __init__(self, act) -> None:
        self.act = act

    def __await__(self):
        yield from ()
        return self.act()


@dataclass
class World:
    """A target with two hosts that see a unit each, and a stranger who sees nothing."""

    unit: MemoryUnit = field(default_factory=lambda: MemoryUnit(size_bytes=4 * MIB))
    limits: Limits = field(default_factory=Limits)
    secrets: dict[str, iscsi.Credentials] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.other_unit = MemoryUnit("6000" + "0" * 27 + "2")
        self.luns = MemoryLuns({IQN: {1: self.unit}, OTHER: {1: self.other_unit}})
        self.device = DeviceServer(self.luns, TARGET)
        self.target = Target(
            TARGET, self.device, lambda iqn: iqn in self.luns.by_initiator, self.secrets.get
        )
        self.node = Node({TARGET: self.target}, self.limits)
        self.runner = Later()

    def initiator(self, name: str = IQN, isid: bytes = b"\x80\0\0\0\0\1") -> Initiator:
        return Initiator(self, name, isid)

    def logged_in(self, name: str = IQN, isid: bytes = b"\x80\0\0\0\0\1", **keys: str) -> Initiator:
        """An initiator in the full feature phase, that has heard of the power on."""
        initiator = self.initiator(name, isid)
        initiator.log_in(**keys)
        initiator.command(TEST_UNIT_READY, LUN1)
        initiator.replies()
        return initiator


class Initiator:
    def __init__(self, world: World, name: str, isid: bytes) -> None:
        self.world = world
        self.name = name
        self.isid = isid
        self.woken = 0
        self.connection = Connection(world.node, world.runner, [PORTAL], self._wake)
        self.digests = iscsi.Digests()
        self.framer = iscsi.Framer()
        self.cmdsn = 100
        self.itt = 0
        self.tsih = 0

    def _wake(self) -> None:
        self.woken += 1

    # Saying. -----------------------------------------------------------------------------------

    def say(self, header: bytes, data: bytes = b"", ahs: bytes = b"") -> None:
        self.raw(b"".join(iscsi.pack_pdu(header, [data], self.digests, ahs)))

    def raw(self, wire: bytes) -> None:
        self.connection.framer.feed(wire)
        while self.connection.work():
            self._collect()

    def _collect(self) -> None:
        out, size = self.connection.take()
        assert size >= sum(map(len, out))
        for buffer in out:
            self.framer.feed(buffer)

    def replies(self) -> list[tuple[Any, bytes]]:
        """All that has been answered since the last look, parsed, each with its data."""
        self._collect()
        found = []
        while (pdu := self.framer.next()) is not None:
            assert pdu.intact
            found.append((PARSERS[pdu.header[0] & 0x3F].parse(pdu.header), bytes(pdu.data)))
            if found[-1][0].__class__ is iscsi.LoginResponse:
                self._entered(found[-1][0])
        return found

    def reply(self) -> tuple[Any, bytes]:
        (only,) = self.replies()
        return only

    def _entered(self, answer: iscsi.LoginResponse) -> None:
        if answer.transit and answer.nsg == Stage.FULL_FEATURE:
            self.digests = self.framer.digests = self.connection.digests
            self.tsih = answer.tsih

    # Login. ------------------------------------------------------------------------------------

    def login(
        self, pairs, csg=Stage.OPERATIONAL, nsg=Stage.FULL_FEATURE, *, transit=True, **fields
    ) -> tuple[iscsi.LoginResponse, dict[str, str]]:
        """One step of a login, and its answer."""
        values = {
            "isid": self.isid,
            "tsih": 0,
            "itt": 7,
            "cid": 0,
            "cmdsn": self.cmdsn,
            "expstatsn": 0,
        }
        request = iscsi.LoginRequest(
            **(values | {"csg": csg, "nsg": nsg if transit else 0, "transit": transit} | fields)
        )
        text = iscsi.pack_text(pairs)
        self.say(request.pack(len(text)), text)
        answer, data = self.reply()
        return answer, dict(iscsi.parse_text(data))

    def names(self) -> list[tuple[str, str]]:
        return [
            ("InitiatorName", self.name),
            ("SessionType", "Normal"),
            ("TargetName", TARGET),
        ]

    def log_in(self, **keys: str) -> dict[str, str]:
        answer, told = self.login([*self.names(), *keys.items()])
        assert answer.status == 0, hex(answer.status)
        assert answer.transit
        assert answer.nsg == Stage.FULL_FEATURE
        return told

    def discover(self) -> None:
        answer, _ = self.login([("InitiatorName", self.name), ("SessionType", "Discovery")])
        assert answer.status == 0, hex(answer.status)

    # The full feature phase. -------------------------------------------------------------------

    def next_itt(self) -> int:
        self.itt += 1
        return self.itt

    def command(
        self, cdb, lun=LUN1, *, read=0, write=0, data=b"", final=True, immediate=False, itt=None,
        cmdsn=None, ahs=b"",
    ) -> int:  # fmt: skip
        """Send a command; return its tag."""
        itt = self.next_itt() if itt is None else itt
        flags = (0x80 if final else 0) | (0x40 if read else 0) | (0x20 if write else 0) | 1
        number = self.cmdsn if cmdsn is None else cmdsn
        command = iscsi.ScsiCommand(lun, itt, read or write, number, 0, cdb, flags, immediate)
        if not immediate and cmdsn is None:
            self.cmdsn += 1
        self.say(command.pack(len(data), len(ahs) // 4), data, ahs)
        return itt

    def data_out(self, itt, tag, number, offset, data, *, final, lun=LUN1) -> None:
        header = iscsi.DataOut(lun, itt, tag, 0, number, offset, final).pack(len(data))
        self.say(header, data)

    def manage(self, function, lun=LUN1, referenced=NO_TAG, refcmdsn=0) -> int:
        header = iscsi.TaskRequest(
            function, lun, self.next_itt(), referenced, self.cmdsn, 0, refcmdsn
        ).pack()
        self.say(header)
        answer, _ = self.reply()
        return answer.answer

    def text(self, pairs, itt=None, tag=NO_TAG, **fields) -> None:
        text = iscsi.pack_text(pairs)
        request = iscsi.TextRequest(
            self.next_itt() if itt is None else itt, tag, self.cmdsn, 0, **fields
        )
        self.cmdsn += 1
        self.say(request.pack(len(text)), text)

    def read(self, block: int, count: int) -> bytes:
        """Read blocks, and put together what comes; the order has to be right."""
        self.command(read10(block, count), read=count * 512)
        found = b""
        for number, (answer, data) in enumerate(self.replies()):
            assert isinstance(answer, iscsi.DataIn)
            assert (answer.datasn, answer.offset) == (number, len(found))
            found += data
        assert answer.flags & iscsi.ResponseFlag.STATUS
        assert answer.status == 0
        return found
