"""Hostile initiators: mutated logins, commands and data never crash, never reach data, cost no room.

``FUZZ`` in the environment says how many PDUs are mutated; where ``CI`` is set, 100,000.
"""

from __future__ import annotations

import os
import random
from collections import Counter

from iscsi.initiating import IQN, LUN1, MIB, TARGET, World, read10, write10
from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import NO_TAG, Credentials, Opcode
from stuntdouble.iscsi import Limits

COUNT = int(os.environ.get("FUZZ", "100000" if os.environ.get("CI") else "6000"))
SECRET = "a secret that nobody sees"
MARK = b"these bytes are nobody's but the host's"
LIMITS = Limits(write_bytes=MIB, text_bytes=16384)

REQUESTS = {opcode for opcode in Opcode if opcode < 0x20} | {
    Opcode.LOGIN_RESPONSE,
    Opcode.ASYNC_MESSAGE,
    Opcode.LOGOUT_RESPONSE,
}


def mutated(wire: bytes, dice: random.Random) -> bytes:
    """Return *wire* with a few bytes or bits changed, a piece cut out, or one put in."""
    made = bytearray(wire)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
        at = dice.randrange(len(made)) if made else 0
        match dice.randrange(6):
            case 0 | 1:
                made[at : at + 1] = bytes(
                    [dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))]
                )
            case 2:
                made[at : at + 1] = bytes([(made[at] if made else 0) ^ 1 << dice.randrange(8)])
            case 3:
                made[at : at + 4] = dice.choice((0, 1, 0xFFFFFFFF, 1 << 31)).to_bytes(4, "big")
            case 4:
                del made[at : at + dice.randrange(1, 8)]
            case 5:
                made[at:at] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 8)))
    return bytes(made)


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


def session_pdu(dice: random.Random, cmdsn: int) -> bytes:
    size = dice.choice((0, 512, 4096))
    kind = dice.randrange(8)
    data, itt = bytes(size), dice.randrange(6)
    if kind == 0:
        header = iscsi.ScsiCommand(LUN1, itt, 4096, cmdsn, 0, read10(0, 8), 0xC1).pack()
        data = b""
    elif kind in (1, 2):
        final = dice.choice((0x80, 0))
        command = iscsi.ScsiCommand(LUN1, itt, 4096, cmdsn, 0, write10(0, 8), 0x21 | final)
        header = command.pack(size)
    elif kind in (3, 4):
        tag = dice.choice((NO_TAG, 0, 1))
        header = iscsi.DataOut(LUN1, itt, tag, 0, dice.randrange(3), size, True).pack(size)
    elif kind == 5:
        request = iscsi.TaskRequest(dice.randrange(1, 9), LUN1, 99, itt, cmdsn, 0, cmdsn)
        header, data = request.pack(), b""
    elif kind == 6:
        data = iscsi.pack_text([("SendTargets", "")])
        header = iscsi.TextRequest(itt, NO_TAG, cmdsn, 0).pack(len(data))
    else:
        header = iscsi.NopOut(itt, NO_TAG, cmdsn, 0).pack(size)
    return b"".join(iscsi.pack_pdu(header, [data]))


def feed(initiator, wire: bytes) -> bytes:
    """Send bytes, all at once; return what came back, whatever it is."""
    connection = initiator.connection
    sent = b""
    connection.framer.feed(wire[: 1 << 20])
    more = True
    while more:
        more = connection.work()
        out, _ = connection.take()
        sent += b"".join(bytes(part) for part in out)
    return sent


def test_mutated_logins_never_get_in_and_never_crash():
    dice = random.Random(1)
    world = World(limits=LIMITS, secrets={IQN: Credentials("me", SECRET, "array", SECRET + "!")})
    world.unit.data[:512] = (MARK * 20)[:512]
    for _ in range(COUNT // 3):
        initiator = world.initiator()
        for _ in range(dice.randrange(1, 4)):
            sent = feed(initiator, mutated(login_pdu(dice), dice))
            read = iscsi.ScsiCommand(LUN1, 1, 512, 1, 0, read10(0, 1), 0xC1).pack()
            sent += feed(initiator, read) if dice.random() < 0.2 else b""
            assert MARK not in sent
            assert SECRET.encode() not in sent
            if initiator.connection.closed:
                break
        assert list(world.target.of()) == []
        assert initiator.connection.framer.holds_bytes < 256 << 10
        initiator.connection.lost()


def test_mutated_commands_and_data_never_crash_and_never_cost_room():
    dice = random.Random(2)
    world = World(limits=LIMITS)
    world.other_unit.data[:512] = (MARK * 20)[:512]
    before = bytes(world.other_unit.data)
    initiator = world.logged_in()
    answers: Counter[int | None] = Counter()
    for _ in range(COUNT):
        stuck = len(initiator.connection.framer) > 0 and dice.random() < 0.5
        if initiator.connection.closed or stuck:
            initiator.connection.lost()
            assert world.node.held_bytes == 0
            initiator = world.logged_in()
        cmdsn = initiator.connection.expcmdsn + dice.choice((0, 0, 0, 0, 1, -1, 5))
        wire = session_pdu(dice, cmdsn & 0xFFFFFFFF)
        sent = feed(initiator, mutated(wire, dice) if dice.random() < 0.8 else wire)
        answers[sent[0] & 0x3F if sent else None] += 1
        assert MARK not in sent
        assert world.node.held_bytes <= LIMITS.write_bytes
        assert initiator.connection.framer.holds_bytes < MIB
        assert len(initiator.connection.commands) <= LIMITS.commands + LIMITS.immediate
    initiator.connection.lost()
    assert world.node.held_bytes == 0
    assert world.other_unit.data == before
    assert set(answers) >= {None, *Opcode} - REQUESTS, "every kind of answer was provoked"


def test_mutated_streams_of_bytes_never_crash():
    dice = random.Random(3)
    for _ in range(COUNT // 20):
        world = World(limits=LIMITS)
        initiator = world.initiator()
        stream = b"".join([login_pdu(dice), *(session_pdu(dice, 1 + n) for n in range(8))])
        feed(initiator, mutated(stream, dice))
        initiator.connection.lost()
        assert world.node.held_bytes == 0
        assert list(world.target.of()) == []
