"""A device server whose data path goes wrong as planned; the units below it stay as they are.

    execute ── which plans strike? ── latency ── refusal ── the command itself ── corruption

Plans may be set and withdrawn at any time.  Without any, a command costs one look more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import BUSY, TASK_SET_FULL, Answer, Direction, check
from stuntdouble.scsi.blocks import extent_of
from stuntdouble.scsi.command import CDB_BYTES, Access
from stuntdouble.scsi.lun import unpack_lun
from stuntdouble.scsi.paths import LUNS_CHANGED
from stuntdouble.scsi.plans import OTHER, READ, WRITE, FaultKind, FaultPlan
from stuntdouble.scsi.sense import Key, Sense, Status
from stuntdouble.scsi.server import CONTROLLER_NAMES, DeviceServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stuntdouble.scsi.answers import Buffer, Nexus
    from stuntdouble.scsi.command import Command
    from stuntdouble.scsi.units import LunMap, Unit
    from stuntdouble.trace import Stream

_READS: Final = ("READ(", "VERIFY(", "COMPARE AND WRITE", "ORWRITE(")
_WRITES: Final = ("WRITE", "COMPARE AND WRITE", "ORWRITE(")


@cache
def kinds_of(command: Command) -> frozenset[str]:
    """Return what a command does to blocks: reads them, writes them, both, or neither."""
    kinds = {READ} if command.name.startswith(_READS) else set()
    if command.access is Access.WRITE and command.name.startswith(_WRITES):
        kinds.add(WRITE)
    return frozenset(kinds or {OTHER})


@dataclass(eq=False)
class Armed:
    """A plan at work: how many commands it could have hit so far, and how many it has."""

    plan: FaultPlan
    seen: int = 0
    fired: int = 0

    def strikes(self, stream: Stream) -> bool:
        """Say whether it strikes a command that it could."""
        plan = self.plan
        self.seen += 1
        if self.seen <= plan.after or (plan.times is not None and self.fired >= plan.times):
            return False
        if plan.probability < 1.0 and stream.uniform() >= plan.probability:
            return False
        self.fired += 1
        return True


class _Hiding:
    """A map of LUNs without the units that have been pulled."""

    def __init__(self, luns: LunMap) -> None:
        self._luns = luns
        self.pulled: set[tuple[str, str]] = set()

    def units(self, initiator_iqn: str) -> Mapping[int, Unit]:
        """Return what an initiator still sees."""
        units = self._luns.units(initiator_iqn)
        if not self.pulled:
            return units
        return {
            lun: unit for lun, unit in units.items() if (initiator_iqn, unit.naa) not in self.pulled
        }


class FaultyDeviceServer(DeviceServer):
    """A device server with faults; see ``DeviceServer``.

    Args:
        luns: which initiator sees which unit.
        target_name: the name of the SCSI target device.
        stream: decides what is left to chance.
        now: the time in seconds, for plans that begin later.
        sleep: lets latency pass.
        controller: vendor, product and revision of the controller.
    """

    def __init__(
        self,
        luns: LunMap,
        target_name: str,
        stream: Stream,
        now: Callable[[], float] = lambda: 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        controller: tuple[str, str, str] = CONTROLLER_NAMES,
    ) -> None:
        self._hiding = _Hiding(luns)
        super().__init__(self._hiding, target_name, controller)
        self._stream = stream
        self._now = now
        self._sleep = sleep
        self._armed: tuple[Armed, ...] = ()

    @property
    def faults(self) -> tuple[Armed, ...]:
        """The plans at work, and how far they are."""
        return self._armed

    def plan(self, plans: Iterable[FaultPlan]) -> None:
        """Have these faults from now on, and no others; what was pulled comes back."""
        self._armed = tuple(map(Armed, plans))
        back, self._hiding.pulled = self._hiding.pulled, set()
        for initiator_iqn in sorted({iqn for iqn, _ in back}):
            self.attention(initiator_iqn, *LUNS_CHANGED)

    def execute(
        self,
        nexus: Nexus,
        lun8: bytes,
        cdb: bytes,
        data_out: Buffer = b"",
        announced: int | None = None,
    ) -> Answer | Awaitable[Answer]:
        """Carry a command out, as well as the plans let it; see ``DeviceServer``."""
        if not self._armed:
            return super().execute(nexus, lun8, cdb, data_out, announced)
        call = (nexus, lun8, cdb, data_out, announced)
        unit = self.unit_at(nexus, lun8)
        padded = bytes(cdb[:CDB_BYTES]).ljust(CDB_BYTES, b"\0")
        command = None if unit is None else self.commands(unit).find(padded)
        if unit is None or command is None:
            return super().execute(*call)
        plans = [
            armed.plan
            for armed in self._armed
            if self._may(armed.plan, nexus, lun8, unit, command, padded)
            and armed.strikes(self._stream)
        ]
        seconds = sum(plan.seconds for plan in plans if plan.kind is FaultKind.LATENCY)
        if seconds:
            return self._late(seconds, plans, unit, call)
        return self._struck(plans, unit, call)

    def _may(
        self,
        plan: FaultPlan,
        nexus: Nexus,
        lun8: bytes,
        unit: Unit,
        command: Command,
        cdb: bytes,
    ) -> bool:
        """Say whether a plan could hit a command."""
        if plan.initiator_iqn not in (None, nexus.initiator_iqn) or plan.naa not in (
            None,
            unit.naa,
        ):
            return False
        if plan.lun is not None and plan.lun != unpack_lun(bytes(lun8)):
            return False
        if self._now() < plan.from_seconds or kinds_of(command).isdisjoint(plan.commands):
            return False
        return plan.kind is not FaultKind.MEDIUM_ERROR or _bad_block(plan, cdb) is not None

    async def _late(
        self,
        seconds: float,
        plans: list[FaultPlan],
        unit: Unit,
        call: tuple[Nexus, bytes, bytes, Buffer, int | None],
    ) -> Answer:
        await self._sleep(seconds)
        if not self.is_connected(call[0]):
            return Answer(Status.TASK_ABORTED)  # nobody is left who could be told
        answer = self._struck(plans, unit, call)
        return await answer if isinstance(answer, Awaitable) else answer

    def _struck(
        self,
        plans: list[FaultPlan],
        unit: Unit,
        call: tuple[Nexus, bytes, bytes, Buffer, int | None],
    ) -> Answer | Awaitable[Answer]:
        nexus, lun8, cdb, _, _ = call
        for plan in plans:
            refusal = self._refusal(plan, nexus, lun8, cdb, unit)
            if refusal is not None:
                return refusal
        after = [plan for plan in plans if plan.kind in (FaultKind.PULLED, FaultKind.CORRUPTION)]
        sends = self.transfer(nexus, lun8, cdb).direction is Direction.IN
        if not sends and any(plan.kind is FaultKind.PULLED for plan in plans):
            self._pull(nexus, unit)  # before anything is written
            return super().execute(*call)
        answer = super().execute(*call)
        if not after:
            return answer
        if isinstance(answer, Awaitable):
            return self._spoiled_later(answer, after, nexus, unit)
        return self._spoiled(answer, after, nexus, unit)

    def _refusal(
        self, plan: FaultPlan, nexus: Nexus, lun8: bytes, cdb: bytes, unit: Unit
    ) -> Answer | None:
        match plan.kind:
            case FaultKind.BUSY:
                return BUSY
            case FaultKind.TASK_SET_FULL:
                return TASK_SET_FULL
            case FaultKind.NOT_READY:
                sense = Sense(Key.NOT_READY, 0x04, plan.ascq)
            case FaultKind.NO_SPACE:
                sense = Sense(Key.DATA_PROTECT, 0x27, 0x07)
            case FaultKind.MEDIUM_ERROR:
                sense = Sense(Key.MEDIUM_ERROR, 0x11, 0x00, information=_bad_block(plan, cdb))
            case FaultKind.ATTENTION:
                self.attend(nexus, lun8, (plan.asc, plan.ascq))
                return None
            case _:
                return None
        return check(sense, descriptors=self._descriptors(unit))

    async def _spoiled_later(
        self, answer: Awaitable[Answer], plans: list[FaultPlan], nexus: Nexus, unit: Unit
    ) -> Answer:
        return self._spoiled(await answer, plans, nexus, unit)

    def _spoiled(self, answer: Answer, plans: list[FaultPlan], nexus: Nexus, unit: Unit) -> Answer:
        """Return an answer with bytes that are wrong, or half of it and a unit that is gone."""
        data = bytearray(b"".join(answer.parts))
        for plan in plans:
            if plan.kind is FaultKind.CORRUPTION and data:
                self._corrupt(data, plan.bytes)
        if not any(plan.kind is FaultKind.PULLED for plan in plans):
            return answer._replace(parts=(data,)) if data else answer
        self._pull(nexus, unit)
        gone = check(Sense(Key.ILLEGAL_REQUEST, 0x25), descriptors=self._descriptors(unit))
        return gone._replace(parts=(data[: len(data) // 2],))

    def _corrupt(self, data: bytearray, count: int) -> None:
        """Make *count* bytes others, each of them once."""
        places: set[int] = set()
        while len(places) < min(count, len(data)):
            places.add(self._stream.integers(0, len(data)))
        for place in sorted(places):
            data[place] ^= self._stream.integers(1, 256)

    def _descriptors(self, unit: Unit) -> bool:
        return self.state(unit.naa).modes.descriptors

    def _pull(self, nexus: Nexus, unit: Unit) -> None:
        self._hiding.pulled.add((nexus.initiator_iqn, unit.naa))
        self.luns_changed(nexus.initiator_iqn)


def _bad_block(plan: FaultPlan, cdb: bytes) -> int | None:
    """Return the first bad block that a CDB reads, or None."""
    block, count = extent_of(bytes(cdb).ljust(CDB_BYTES, b"\0"))
    first, stop = max(block, plan.block), min(block + count, plan.block + plan.blocks)
    return first if first < stop else None
