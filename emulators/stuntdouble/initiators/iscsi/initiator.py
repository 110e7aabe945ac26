"""The backup server's own way to LUNs over iSCSI: from a mapping to a device."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import scsi
from stuntdouble.errors import AccessDenied, InvalidState, Misuse, NotFound
from stuntdouble.initiators.iscsi.device import IscsiDevice, identify
from stuntdouble.initiators.iscsi.discovery import discover
from stuntdouble.initiators.iscsi.login import DigestUse, Who, new_isid
from stuntdouble.initiators.iscsi.pool import PATIENCE_SECONDS, Pool
from stuntdouble.initiators.reading import GAP_BYTES
from stuntdouble.initiators.wall import Patience, Wall

if TYPE_CHECKING:
    from stuntdouble.codecs.iscsi import Credentials
    from stuntdouble.ports import Mapping

SESSIONS: Final = 2
"""Sessions with a target, unless somebody says otherwise.  Chosen: a second one lets a target that
serves each connection in a thread of its own use a second processor."""

SESSIONS_MAX: Final = 64  # chosen: the qualifier of an ISID would allow 65,536


@dataclass(frozen=True, slots=True)
class Limits:
    """What an initiator puts up with.

    Args:
        patience_seconds: wall time for which something is tried again.
        rescan_seconds: wall time that a LUN that has just been mapped may take to show.  Chosen.
        gap_bytes: what is read along between two extents.
    """

    patience_seconds: float = PATIENCE_SECONDS
    rescan_seconds: float = 10.0
    gap_bytes: int = GAP_BYTES


class IscsiInitiator:
    """Implements ``ports.Initiator`` in user space.

    Sessions are logged in when the first LUN of a target is attached, shared by all that follow,
    and logged out when the last is closed.

    Args:
        portal: ``host:port`` of a portal of the array.
        iqn: the name by which the array masks.
        target: the target's name; empty to ask the portal for all that it shows us.
        chap: what proves us to the target, and perhaps the target to us.
        sessions: how many to have with each target.
        digests: whether a CRC32C goes with headers and data.
        limits: what it puts up with.
    """

    def __init__(
        self,
        portal: str,
        iqn: str,
        target: str = "",
        *,
        chap: Credentials | None = None,
        sessions: int = SESSIONS,
        digests: DigestUse = DigestUse.PREFERRED,
        limits: Limits = Limits(),
    ) -> None:
        if not 1 <= sessions <= SESSIONS_MAX:
            raise Misuse("sessions", f"{sessions}: use 1 to {SESSIONS_MAX}")
        self.iqn = iqn
        self.portal = portal
        self._target = target
        self._chap = chap
        self._digests = digests
        self._limits = limits
        random = secrets.token_bytes(3)
        self._isids = [new_isid(random, number) for number in range(sessions)]
        self._pools: dict[str, Pool] = {}
        self._lock = asyncio.Lock()

    async def targets(self) -> tuple[str, ...]:
        """Return the names of the targets that the portal shows us."""
        if self._target:
            return (self._target,)
        who = Who(self.iqn, "", self._isids[0], self._chap, DigestUse.NONE)
        return tuple(await discover(self.portal, who))

    async def attach(self, mapping: Mapping) -> IscsiDevice:
        """Open the mapped LUN: the one whose NAA identifier is the mapping's, whatever its number.

        Raises:
            Misuse: a mapping for another initiator.
            InvalidState: another volume is at the mapping's LUN, and ours is nowhere.
            NotFound: there is nothing at the mapping's LUN, and ours is nowhere.
            AccessDenied: the target does not let us in.
            Unreachable, TimedOut: nobody answers at the portal.
        """
        if mapping.initiator_iqn != self.iqn:
            raise Misuse(f"LUN {mapping.lun}", f"is mapped to {mapping.initiator_iqn}, not to us")
        patience = Patience(Wall(), self._limits.rescan_seconds)
        while True:
            async with self._lock:
                device, there = await self._look(mapping)
            if device is not None:
                return device
            where = f"LUN {mapping.lun} at {self.portal} for {self.iqn}"
            if there:
                error = InvalidState(where, f"volume {there}", f"read {mapping.naa} there")
                await patience.again(error)
            else:
                await patience.again(NotFound("volume", f"{mapping.naa} ({where})"))

    async def _look(self, mapping: Mapping) -> tuple[IscsiDevice | None, str]:
        """Look for the volume at all targets; also return what is at the mapping's LUN instead."""
        there = ""
        for target in await self.targets():
            try:
                pool = await self._pool(target)
            except AccessDenied:
                if self._target:
                    raise
                continue  # one of several, and not for us
            pool.users += 1
            try:
                lun, found = await _find(pool, mapping)
                there = there or found
                if lun is not None:
                    leave = partial(self._leave, target, pool)
                    device = IscsiDevice(
                        pool, lun, mapping.naa.lower(), self._limits.gap_bytes, leave
                    )
                    await device.open()
                    pool.users += 1
                    return device, ""
            finally:
                await self._leave_locked(target, pool)
        return None, there

    async def _pool(self, target: str) -> Pool:
        pool = self._pools.get(target)
        if pool is None:
            whos = [Who(self.iqn, target, isid, self._chap, self._digests) for isid in self._isids]
            pool = Pool(self.portal, whos, Wall(), self._limits.patience_seconds)
            await pool.open()
            self._pools[target] = pool
        return pool

    async def _leave(self, target: str, pool: Pool) -> None:
        async with self._lock:
            await self._leave_locked(target, pool)

    async def _leave_locked(self, target: str, pool: Pool) -> None:
        pool.users -= 1
        if not pool.users:
            self._pools.pop(target, None)
            await pool.close()


async def _find(pool: Pool, mapping: Mapping) -> tuple[bytes | None, str]:
    """Return the LUN field of the mapping's volume, or what is at the mapping's LUN instead.

    The mapping's own LUN is looked at first: the others only where it has another volume.
    """
    session = await pool.pick()
    there = ""
    fields = await pool.luns(session)
    for field in sorted(fields, key=lambda each: _number(each) != mapping.lun):
        try:
            naa = await identify(pool, session, field)
        except (AccessDenied, Misuse):  # gone since, or without such a page: not ours
            continue
        if naa == mapping.naa.lower():
            return field, ""
        if _number(field) == mapping.lun:
            there = naa
    return None, there


def _number(field: bytes) -> int:
    """Return a LUN's number; -1 where it has none."""
    try:
        return scsi.parse_lun(field)
    except Misuse:
        return -1
