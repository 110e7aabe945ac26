"""Masking: which initiator sees which volume, and at which LUN number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import InvalidState, LimitReached, LunInUse, Misuse
from stuntdouble.ports import Mapping

if TYPE_CHECKING:
    from stuntdouble.array.volume import Volume

_IQN: Final = re.compile(r"iqn\.[0-9]{4}-(?:0[1-9]|1[0-2])\.[a-z0-9.-]+(?::[^\s]+)?")
_IQN_LENGTH_MAX: Final = 223  # RFC 7143, section 4.2.7.1: bytes of an iSCSI name


class Masking:
    """The mapping table; LUN numbers are counted for each initiator on its own."""

    def __init__(self, lun_max: int) -> None:
        self._lun_max = lun_max
        self._seen: dict[str, dict[int, Volume]] = {}

    def check_iqn(self, initiator_iqn: str) -> None:
        """Raise Misuse unless *initiator_iqn* is an iSCSI qualified name (RFC 7143)."""
        if not _IQN.fullmatch(initiator_iqn) or len(initiator_iqn) > _IQN_LENGTH_MAX:
            raise Misuse(f"initiator {initiator_iqn!r}", "write iqn.yyyy-mm.reversed.domain:name")

    def check_free(self, volume: Volume, initiator_iqn: str, lun: int | None) -> int:
        """Return the LUN number a new mapping gets: *lun*, or the lowest free one.

        Raises:
            InvalidState: the initiator sees the volume already.
            LunInUse: *lun* is another volume's.
            LimitReached: no number is free.
            Misuse: *lun* is out of range, or the initiator's name is none.
        """
        self.check_iqn(initiator_iqn)
        taken = self._seen.get(initiator_iqn, {})
        if volume in taken.values():
            state = f"mapped to {initiator_iqn} already"
            raise InvalidState(f"volume {volume.name}", state, "map it again")
        if lun is None:
            free = (n for n in range(self._lun_max + 1) if n not in taken)
            lun = next(free, -1)
            if lun < 0:
                raise LimitReached(f"LUN numbers of {initiator_iqn}", self._lun_max + 1)
        if not 0 <= lun <= self._lun_max:
            raise Misuse(f"LUN {lun}", f"numbers are 0 to {self._lun_max}")
        if lun in taken:
            raise LunInUse(lun, initiator_iqn)
        return lun

    def add(self, volume: Volume, initiator_iqn: str, lun: int | None) -> Mapping:
        """Let *initiator_iqn* see *volume*; see ``check_free`` for what is refused."""
        lun = self.check_free(volume, initiator_iqn, lun)
        self._seen.setdefault(initiator_iqn, {})[lun] = volume
        return Mapping(volume.name, volume.naa, initiator_iqn, lun)

    def remove(self, volume: Volume, initiator_iqn: str) -> bool:
        """Take the mapping away; say whether there was one."""
        seen = self._seen.get(initiator_iqn, {})
        found = [lun for lun, other in seen.items() if other is volume]
        for lun in found:
            del seen[lun]
        return bool(found)

    def at(self, initiator_iqn: str, lun: int) -> Volume | None:
        """Return the volume that an initiator sees at a LUN number, or None."""
        return self._seen.get(initiator_iqn, {}).get(lun)

    def sees(self, initiator_iqn: str, volume: Volume) -> bool:
        """Say whether an initiator sees a volume."""
        return volume in self._seen.get(initiator_iqn, {}).values()

    def mapped(self, volume: Volume) -> bool:
        """Say whether anybody sees a volume."""
        return any(volume in seen.values() for seen in self._seen.values())

    def mappings(self, initiator_iqn: str | None = None) -> tuple[Mapping, ...]:
        """Return the mappings, of one initiator where one is named: by initiator, then LUN."""
        named = sorted(self._seen) if initiator_iqn is None else [initiator_iqn]
        return tuple(
            Mapping(volume.name, volume.naa, iqn, lun)
            for iqn in named
            for lun, volume in sorted(self._seen.get(iqn, {}).items(), key=lambda item: item[0])
        )
