"""What hostile initiators say: PDUs that are nearly right, and what they must never bring about."""

from __future__ import annotations

import gc
import os
import random
import resource
import sys
from pathlib import Path

from iscsi.initiating import IQN, LUN1, TARGET, World, write10
from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import NO_TAG, Credentials
from stuntdouble.iscsi import Limits
from stuntdouble.scsi import Direction, MemoryUnit, table

MIB = 1 << 20
EACH = int(os.environ.get("FUZZ", "40000" if os.environ.get("CI") else "2000"))
"""How many mutated PDUs of each kind a run sends: logins, SCSI commands, data.  Where ``CI`` is set,
the three together are 120,000; ``FUZZ`` in the environment says otherwise."""

OWNER = "iqn.2026-01.com.example:owner"
SECRET = "a secret that nobody sees"
MARK = b"these bytes are nobody's but the host's"
LIMITS = Limits(write_bytes=MIB, text_bytes=16384)
LUN2 = b"\0\2" + bytes(6)
COMMANDS = table.DISK.commands
WRITTEN_BLOCKS = 64  # of the unit, from its beginning, are where data of well-formed writes go


def hostile_world(*, guarded: bool = False) -> World:
    """A target with what must never be reached: a unit of somebody else, and one that is read-only.

    Args:
        guarded: have initiators prove who they are.
    """
    secrets = {IQN: Credentials("me", SECRET, "array", SECRET + "!")} if guarded else {}
    world = World(limits=LIMITS, secrets=secrets)
    world.other_unit.data[:] = (MARK * (world.other_unit.size_bytes // len(MARK) + 1))[
        : world.other_unit.size_bytes
    ]
    kept = MemoryUnit("6000" + "0" * 27 + "3", MIB, read_only=True)
    kept.data[:] = bytes(range(256)) * (MIB // 256)
    world.luns.by_initiator = {IQN: {1: world.unit, 2: kept}, OWNER: {1: world.other_unit}}
    if guarded:
        world.unit.data[:512] = (MARK * 20)[:512]
    return world


class Treasure:
    """What has to be as it was: the unit of somebody else, and the one that is read-only."""

    def __init__(self, world: World) -> None:
        units = [unit for luns in world.luns.by_initiator.values() for unit in luns.values()]
        self.units = [unit for unit in units if unit is not world.unit]
        self.held = [bytes(unit.data) for unit in self.units]

    def check(self, sent: bytes) -> None:
        """Look whether any of it was sent, which is no secret where it may be read."""
        assert MARK not in sent
        assert MARK[8:24] not in sent, "not even a part of it"

    def check_content(self) -> None:
        assert [bytes(unit.data) for unit in self.units] == self.held


class Memory:
    """What the process holds more than when this was made, after it has warmed up."""

    def __init__(self) -> None:
        self.blocks, self.bytes = self._now()

    @staticmethod
    def _now() -> tuple[int, int]:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return sys.getallocatedblocks(), pages * resource.getpagesize()

    def check(self) -> None:
        """Look whether it holds more objects, or more memory, than what a few sessions take.

        Something small that stayed of every tenth PDU would be found.  LUNs that were heard of do
        stay, a bounded number of them.
        """
        now_blocks, now_bytes = self._now()
        assert now_blocks - self.blocks < 500 + EACH // 10
        assert now_bytes - self.bytes < 32 * MIB


# Nearly right. --------------------------------------------------------------------------------


def mutated(wire: bytes, dice: random.Random, *, same_length: bool = False) -> bytes:
    """Return *wire* with a few bytes or bits changed, a piece cut out, or one put in.

    It is never what it was.  With *same_length* nothing is cut out or put in, so that what follows
    is still found.
    """
    made = bytearray(wire)
    while bytes(made) == wire:
        for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
            at = dice.randrange(len(made)) if made else 0
            if dice.random() < 0.5:
                at = min(at, dice.randrange(48))  # most of what can be wrong is in the header
            _mutate(made, at, dice.randrange(4 if same_length else 6), dice)
            del made[len(wire) if same_length else len(wire) + 128 :]
    return bytes(made)


def _mutate(made: bytearray, at: int, how: int, dice: random.Random) -> None:
    match how:
        case 0 | 1:
            made[at : at + 1] = bytes([dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))])
        case 2:
            made[at : at + 1] = bytes([(made[at] if made else 0) ^ 1 << dice.randrange(8)])
        case 3:
            made[at : at + 4] = dice.choice((0, 1, 0xFFFFFFFF, 1 << 31)).to_bytes(4, "big")
        case 4:
            del made[at : at + dice.randrange(1, 8)]
        case 5:
            made[at:at] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 8)))


def login_pdu(dice: random.Random) -> bytes:
    pairs = [("InitiatorName", IQN), ("SessionType", "Normal"), ("TargetName", TARGET)]
    more = [
        ("AuthMethod", "CHAP,None"), ("CHAP_A", "7,5"), ("CHAP_N", "me"), ("CHAP_R", "0x" + "00" * 32),
        ("CHAP_I", "1"), ("CHAP_C", "0x00"), ("MaxBurstLength", "262144"), ("HeaderDigest", "CRC32C"),
    ]  # fmt: skip
    text = iscsi.pack_text(pairs + dice.sample(more, dice.randrange(len(more))))
    csg, nsg = dice.choice(((0, 1), (0, 3), (1, 3), (0, 0)))
    header = iscsi.LoginRequest(bytes(6), 0, 1, 0, 1, 0, csg, nsg, csg != nsg).pack(len(text))
    return b"".join(iscsi.pack_pdu(header, [text]))


def command_pdu(dice: random.Random, cmdsn: int) -> bytes:
    """A command of any kind, with the data that it needs, to a unit of one's own."""
    command = dice.choice(COMMANDS)
    fields = (dice.randrange(256) if dice.random() < 0.25 else 0 for _ in command.mask[1:])
    cdb = bytes((command.opcode, *fields)).ljust(16, b"\0")
    cdb = bytes(a & b for a, b in zip(cdb, command.mask.ljust(16, b"\0"), strict=True))
    if command.action is not None:
        cdb = bytes((cdb[0], cdb[1] & 0xE0 | command.action)) + cdb[2:]
    transfer = command.moves(cdb, 512)
    out = transfer.direction is Direction.OUT
    length = transfer.length if transfer.length <= 8192 else dice.choice((512, 8192))
    data = dice.randbytes(length) if out else b""
    flags = 0x81 | (0x20 if out else 0x40 if length else 0)
    lun = dice.choice((LUN1, LUN2))
    return _pdu(iscsi.ScsiCommand(lun, dice.randrange(6), length, cmdsn, 0, cdb, flags), data)


def write_pdu(itt: int, cmdsn: int, block: int, blocks: int, *, asks: bool) -> bytes:
    """A write whose data are still to come: asked for, or without being asked."""
    flags = 0x21 | (0x80 if asks else 0)
    command = iscsi.ScsiCommand(LUN1, itt, blocks * 512, cmdsn, 0, write10(block, blocks), flags)
    return _pdu(command, b"")


def data_pdu(dice: random.Random, itt: int, *, asked: bool, length: int) -> bytes:
    tag = 0 if asked else NO_TAG
    return _pdu(iscsi.DataOut(LUN1, itt, tag, 0, 0, 0, True), dice.randbytes(length))


def other_pdu(dice: random.Random, cmdsn: int) -> bytes:
    """Task management, text, or a ping."""
    itt = dice.randrange(6)
    match dice.randrange(3):
        case 0:
            function = dice.randrange(1, 9)
            return _pdu(iscsi.TaskRequest(function, LUN1, 99, itt, cmdsn, 0, cmdsn), None)
        case 1:
            text = iscsi.pack_text([("SendTargets", "")])
            return _pdu(iscsi.TextRequest(itt, NO_TAG, cmdsn, 0), text)
        case _:
            return _pdu(iscsi.NopOut(itt, NO_TAG, cmdsn, 0), bytes(dice.choice((0, 512, 4096))))


def _pdu(request, data: bytes | None) -> bytes:
    header = request.pack() if data is None else request.pack(len(data))
    return b"".join(iscsi.pack_pdu(header, [data or b""]))
