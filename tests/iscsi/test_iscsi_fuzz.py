"""Hostile initiators: mutated logins, commands and data never crash, never reach data, cost no room."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

import pytest

from iscsi.hostile import (
    EACH,
    LIMITS,
    MIB,
    SECRET,
    WRITTEN_BLOCKS,
    Memory,
    Treasure,
    command_pdu,
    data_pdu,
    hostile_world,
    login_pdu,
    mutated,
    other_pdu,
    write_pdu,
)
from iscsi.initiating import IQN, LUN1, TARGET, read10
from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import Opcode
from stuntdouble.iscsi import Server

WARM = 500  # of these PDUs, after which there is nothing left to be made once and kept
M32 = 0xFFFFFFFF

REQUESTS = {opcode for opcode in Opcode if opcode < 0x20} | {
    Opcode.LOGIN_RESPONSE,
    Opcode.ASYNC_MESSAGE,
    Opcode.LOGOUT_RESPONSE,
}


def feed(initiator, wire: bytes) -> bytes:
    """Send bytes, all at once; return what came back, whatever it is."""
    connection = initiator.connection
    sent = b""
    connection.framer.feed(wire[:MIB])
    more = True
    while more:
        more = connection.work()
        out, _ = connection.take()
        sent += b"".join(bytes(part) for part in out)
    return sent


class Attacker:
    """One initiator after the other: where a session has come to nothing, another begins."""

    def __init__(self, world, dice) -> None:
        self.world, self.dice = world, dice
        self.initiator = world.logged_in(InitialR2T="No")
        self.answers: Counter[int | None] = Counter()

    def renewed(self) -> bool:
        """Begin anew where the session is closed, or may wait for ever; say so."""
        connection = self.initiator.connection
        stuck = len(connection.framer) > 0 and self.dice.random() < 0.5
        if not connection.closed and not stuck:
            return False
        self.end()
        self.initiator = self.world.logged_in(InitialR2T="No")
        return True

    def end(self) -> None:
        self.initiator.connection.lost()
        assert self.world.node.held_bytes == 0
        assert list(self.world.target.of()) == []

    @property
    def cmdsn(self) -> int:
        """A number of a command that is mostly the one that is expected."""
        near = self.dice.choice((0, 0, 0, 0, 1, -1, 5))
        return self.initiator.connection.expcmdsn + near & M32

    def send(self, wire: bytes) -> bytes:
        sent = feed(self.initiator, wire)
        self.answers[sent[0] & 0x3F if sent else None] += 1
        connection = self.initiator.connection
        assert self.world.node.held_bytes <= LIMITS.write_bytes
        assert connection.framer.holds_bytes < MIB
        assert len(connection.commands) <= LIMITS.commands + LIMITS.immediate
        return sent


@pytest.mark.skipif(not os.environ.get("CI"), reason="fewer are enough where nobody waits for them")
@pytest.mark.skipif("FUZZ" in os.environ, reason="somebody has said how many")
def test_there_are_enough_of_them():
    assert 3 * EACH >= 100_000


def test_mutated_logins_never_get_in_and_never_crash():
    dice = random.Random(1)
    world = hostile_world(guarded=True)
    treasure, memory, count = Treasure(world), None, 0
    while count < EACH:
        initiator = world.initiator()
        for _ in range(dice.randrange(1, 4)):
            sent = feed(initiator, mutated(login_pdu(dice), dice, same_length=dice.random() < 0.5))
            count += 1
            read = iscsi.ScsiCommand(LUN1, 1, 512, 1, 0, read10(0, 1), 0xC1).pack()
            sent += feed(initiator, read) if dice.random() < 0.2 else b""
            treasure.check(sent)
            assert SECRET.encode() not in sent
            if initiator.connection.closed:
                break
        assert list(world.target.of()) == []
        assert initiator.connection.framer.holds_bytes < 256 << 10
        initiator.connection.lost()
        if memory is None and count > WARM:
            memory = Memory()
    assert memory is not None
    memory.check()
    treasure.check_content()


def test_mutated_commands_never_crash_and_never_reach_what_is_not_theirs():
    dice = random.Random(2)
    world = hostile_world()
    treasure, memory = Treasure(world), None
    attacker = Attacker(world, dice)
    for number in range(EACH):
        attacker.renewed()
        wire = command_pdu(dice, attacker.cmdsn)
        treasure.check(attacker.send(mutated(wire, dice, same_length=dice.random() < 0.8)))
        if number % 4 == 0:  # so that there is something to be disturbed
            treasure.check(attacker.send(command_pdu(dice, attacker.cmdsn)))
        if number == WARM:
            memory = Memory()
    attacker.end()
    assert memory is not None
    memory.check()
    treasure.check_content()
    wanted = {Opcode.SCSI_RESPONSE, Opcode.DATA_IN, Opcode.REJECT, Opcode.R2T}
    assert set(attacker.answers) > wanted


def test_mutated_data_never_crash_and_never_go_elsewhere():
    """The commands are right, their data are not: nothing but what they are to write is written."""
    dice = random.Random(3)
    world = hostile_world()
    treasure, memory, count = Treasure(world), None, 0
    beyond = bytes(world.unit.data[WRITTEN_BLOCKS * 512 :])
    attacker = Attacker(world, dice)
    while count < EACH:
        attacker.renewed()
        itt, asks = dice.randrange(6), dice.random() < 0.5
        blocks = dice.choice((1, 8, 16))
        block = dice.randrange(WRITTEN_BLOCKS - blocks + 1)
        cmdsn = attacker.initiator.connection.expcmdsn
        attacker.send(write_pdu(itt, cmdsn, block, blocks, asks=asks))
        for _ in range(dice.randrange(1, 5)):
            length = dice.choice((512, blocks * 512, blocks * 512))
            wire = data_pdu(dice, itt, asked=asks, length=length)
            treasure.check(attacker.send(mutated(wire, dice, same_length=dice.random() < 0.8)))
            count += 1
        if dice.random() < 0.3:
            attacker.send(data_pdu(dice, itt, asked=asks, length=blocks * 512))
        if memory is None and count > WARM:
            memory = Memory()
    attacker.end()
    assert memory is not None
    memory.check()
    treasure.check_content()
    assert world.unit.data[WRITTEN_BLOCKS * 512 :] == beyond
    assert any(world.unit.data[: WRITTEN_BLOCKS * 512]), "some got through, where they may"
    assert set(attacker.answers) >= {Opcode.SCSI_RESPONSE, Opcode.R2T, None}


def any_pdu(dice, cmdsn: int) -> bytes:
    match dice.randrange(4):
        case 0:
            return command_pdu(dice, cmdsn)
        case 1:
            return write_pdu(dice.randrange(6), cmdsn, 0, 8, asks=dice.random() < 0.5)
        case 2:
            return data_pdu(dice, dice.randrange(6), asked=dice.random() < 0.5, length=4096)
        case _:
            return other_pdu(dice, cmdsn)


def test_everything_mutated_that_a_session_knows():
    dice = random.Random(4)
    world = hostile_world()
    treasure = Treasure(world)
    attacker = Attacker(world, dice)
    for _ in range(2 * EACH // 3):
        attacker.renewed()
        wire = any_pdu(dice, attacker.cmdsn)
        treasure.check(attacker.send(mutated(wire, dice) if dice.random() < 0.8 else wire))
    attacker.end()
    treasure.check_content()
    assert set(attacker.answers) >= {None, *Opcode} - REQUESTS, "every kind of answer was provoked"


def test_mutated_streams_of_bytes_never_crash():
    dice = random.Random(5)
    for _ in range(EACH // 8):
        world = hostile_world()
        initiator = world.initiator()
        stream = b"".join([login_pdu(dice), *(any_pdu(dice, 1 + n) for n in range(8))])
        feed(initiator, mutated(stream, dice))
        initiator.connection.lost()
        assert world.node.held_bytes == 0
        assert list(world.target.of()) == []


# Over sockets. --------------------------------------------------------------------------------

BATCH = 10  # PDUs of a connection


async def attacked(server, wires: list[bytes]) -> bytes:
    """Send PDUs over a connection of their own; return what came back until it ended."""
    reader, writer = await asyncio.open_connection(*server.address)
    sent = b""
    try:
        for wire in wires:
            writer.write(wire)
        await writer.drain()
        writer.write_eof()
        sent = await reader.read()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has closed the connection while there was something to be read
    finally:
        writer.close()
    return sent


def batch(dice, kind: str) -> list[bytes]:
    """What one connection says: mutated logins, or a login and mutated commands or data."""
    if kind == "logins":
        return [mutated(login_pdu(dice), dice, same_length=True) for _ in range(BATCH)]
    text = iscsi.pack_text([("InitiatorName", IQN), ("TargetName", TARGET), ("InitialR2T", "No")])
    isid = b"\x80" + dice.randbytes(5)
    header = iscsi.LoginRequest(isid, 0, 1, 0, 1, 0, 1, 3, True).pack(len(text))
    wires = [b"".join(iscsi.pack_pdu(header, [text]))]
    for number in range(1, BATCH + 1):
        if kind == "commands":
            wires.append(mutated(command_pdu(dice, number), dice, same_length=True))
        else:
            asks = dice.random() < 0.5
            wires.append(write_pdu(number, number, 0, 8, asks=asks))
            data = data_pdu(dice, number, asked=asks, length=4096)
            wires.append(mutated(data, dice, same_length=True))
    return wires


@pytest.mark.parametrize("kind", ["logins", "commands", "data"])
def test_over_sockets_too(kind):
    """The attacker has a unit of his own; the host's is the one that he must never reach."""
    dice = random.Random(6)
    world = hostile_world()
    treasure, complaints = Treasure(world), []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))
        server = Server(world.node)
        await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(300):
                await attacks(server)
        finally:
            await server.close()

    async def attacks(server):
        memory = None
        for number in range(EACH // 10 // BATCH):
            treasure.check(await attacked(server, batch(dice, kind)))
            if number == 10:
                memory = Memory()
        while server.connections:  # noqa: ASYNC110  (there is no event of it)
            await asyncio.sleep(0.001)
        assert memory is not None
        memory.check()

    asyncio.run(main())
    assert complaints == []
    assert world.node.held_bytes == 0
    assert list(world.target.of()) == []
    treasure.check_content()
