"""What a command is: the shape of its CDB, whom a reservation keeps from it, and who carries it out.

A command that touches the bytes of a unit is a generator: it yields whatever the unit answers and
is sent what that comes to.  ``carried_out`` drives it, at once as long as nothing has to be awaited,
so that a unit in memory costs no event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stuntdouble.scsi.answers import Answer, Direction, Transfer
from stuntdouble.scsi.sense import bad_cdb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from stuntdouble.scsi.answers import Buffer
    from stuntdouble.scsi.paths import Path
    from stuntdouble.scsi.server import DeviceServer
    from stuntdouble.scsi.units import Unit

    Steps: TypeAlias = Generator[Any, Any, Answer]
    Outcome: TypeAlias = Answer | Steps
    Run: TypeAlias = Callable[["Call"], Outcome]

CDB_BYTES: Final = 16
"""What a CDB is filled up to with zeros: the longest that is offered."""

NOTHING: Final = Transfer(Direction.NONE, 0)

_SERVICE_ACTION: Final = 0x1F  # byte 1 of most CDBs that have one (SPC-4 4.2.2)


class Access(Enum):
    """Whom a reservation of somebody else keeps from a command (SPC-4 tables 66 and 67, SBC-3 13).

    FREE: nobody.  TEST: whom RESERVE keeps away.  LOOK: as READ, but all registered may.
    READ: others, if access is exclusive.  WRITE: others.
    """

    FREE = "free"
    TEST = "test"
    LOOK = "look"
    READ = "read"
    WRITE = "write"


@dataclass(slots=True)
class Call:
    """One command on its way.

    Args:
        server: who serves it.
        path: whose it is, and what is known of the unit.
        unit: on which it works; None on the controller.
        cdb: 16 bytes.
        data: what the initiator has sent along.
        announced: how much it said that it would send, or None if that is not known.
    """

    server: DeviceServer
    path: Path
    unit: Unit | None
    cdb: bytes
    data: Buffer
    announced: int | None = None

    @property
    def disk(self) -> Unit:
        """The unit, for commands that the controller has not."""
        assert self.unit is not None, "a command of disks reached the controller"
        return self.unit


@dataclass(frozen=True, eq=False)
class Command:
    """One command of a table.

    Args:
        name: as the standards write it.
        usage: which bits of the CDB are looked at, in hexadecimal, from byte 1 on.
        opcode: byte 0.
        run: carries it out.
        moves: says what a CDB asks to be moved, given the size of a block.
        action: the service action, where the opcode has several.
        access: whom reservations keep from it; may depend on the CDB.
        exempt: whether it passes by unit attentions (SAM-5 5.14).
        unready: whether a stopped unit carries it out.
        thin: whether only units have it that give room back.
        seconds: the time after which a client may worry (REPORT SUPPORTED OPERATION CODES).
    """

    name: str
    opcode: int
    usage: str
    run: Run
    moves: Callable[[bytes, int], Transfer] = lambda _cdb, _block_bytes: NOTHING
    action: int | None = None
    access: Access | Callable[[bytes], Access] = Access.FREE
    exempt: bool = False
    unready: bool = False
    thin: bool = False
    seconds: int = 10

    @property
    def mask(self) -> bytes:
        """The bits of the CDB that may be set."""
        return bytes((0xFF, *bytes.fromhex(self.usage)))

    def access_of(self, cdb: bytes) -> Access:
        """Whom reservations keep from this CDB."""
        return self.access if isinstance(self.access, Access) else self.access(cdb)


def reserved_bits(command: Command) -> int:
    """The bits that have to be zero, of a CDB read as one number."""
    mask = command.mask
    if command.action is not None:
        mask = bytes((mask[0], mask[1] | _SERVICE_ACTION, *mask[2:]))
    return int.from_bytes(bytes(~byte & 0xFF for byte in mask).ljust(CDB_BYTES, b"\0"), "big")


def check_reserved(cdb: bytes, reserved: int) -> None:
    """Refuse a CDB with bits that have to be zero, and point at the first of them."""
    wrong = int.from_bytes(cdb, "big") & reserved
    if wrong:
        place = CDB_BYTES * 8 - wrong.bit_length()
        raise bad_cdb(place // 8, 7 - place % 8)


def carried_out(steps: Steps) -> Answer | Awaitable[Answer]:
    """Take the steps of a command; at once, as far as nothing has to be awaited."""
    try:
        given = next(steps)
        while not isawaitable(given):
            given = steps.send(given)
    except StopIteration as end:
        return _answer(end)
    return _awaited(steps, given)


async def _awaited(steps: Steps, given: Any) -> Answer:
    """Take the rest of the steps, each when what it waits for is there."""
    try:
        while True:
            try:
                value = await given if isawaitable(given) else given
            except Exception as error:  # noqa: BLE001  the command decides
                given = steps.throw(error)
            else:
                given = steps.send(value)
    except StopIteration as end:
        return _answer(end)
    finally:
        steps.close()


def _answer(end: StopIteration) -> Answer:
    value = end.value
    assert isinstance(value, Answer), f"a command ended with {value!r}"
    return value
