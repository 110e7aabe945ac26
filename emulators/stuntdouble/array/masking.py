"""Masking: which host sees which volume, and at which LUN number.

LUN numbers are counted for each host on its own.  A snapshot that is mapped itself is seen as the
volume that shows it (``Snapshot.view``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.array.hosts import check_iqn
from stuntdouble.errors import InvalidState, LimitReached, LunInUse, Misuse
from stuntdouble.ports import Mapping

if TYPE_CHECKING:
    from stuntdouble.array.hosts import Host, Hosts
    from stuntdouble.array.volume import Volume


@dataclass(frozen=True, slots=True)
class HostMapping:
    """Which host sees which volume, or snapshot, at which LUN number."""

    volume: str
    naa: str
    host: str
    lun: int


class Masking:
    """The mapping table."""

    def __init__(self, hosts: Hosts, lun_max: int) -> None:
        self._hosts = hosts
        self._lun_max = lun_max
        self._seen: dict[Host, dict[int, Volume]] = {}

    def check_iqn(self, initiator_iqn: str) -> None:
        """Raise Misuse unless *initiator_iqn* is an iSCSI qualified name (RFC 7143)."""
        check_iqn(initiator_iqn)

    # Changing. -----------------------------------------------------------------------------

    def check_free(self, naa: str, name: str, host: Host | None, who: str, lun: int | None) -> int:
        """Return the LUN number that a new mapping gets: *lun*, or the lowest free one.

        Args:
            naa: of what is to be mapped.
            name: of it, for errors.
            host: to whom, or None for a host that sees nothing yet.
            who: what errors call whom it is mapped to.
            lun: the number that is asked for, or None.

        Raises:
            InvalidState: the host sees it already.
            LunInUse: *lun* is another volume's.
            LimitReached: no number is free.
            Misuse: *lun* is out of range.
        """
        taken = {} if host is None else self._seen.get(host, {})
        if any(volume.naa == naa for volume in taken.values()):
            raise InvalidState(f"volume {name}", f"mapped to {who} already", "map it again")
        if lun is None:
            free = (n for n in range(self._lun_max + 1) if n not in taken)
            lun = next(free, -1)
            if lun < 0:
                raise LimitReached(f"LUN numbers of {who}", self._lun_max + 1)
        if not 0 <= lun <= self._lun_max:
            raise Misuse(f"LUN {lun}", f"numbers are 0 to {self._lun_max}")
        if lun in taken:
            raise LunInUse(lun, who)
        return lun

    def add(self, volume: Volume, host: Host, who: str, lun: int | None) -> int:
        """Let *host* see *volume*; return the LUN number.  See ``check_free`` for refusals."""
        lun = self.check_free(volume.naa, volume.name, host, who, lun)
        self._seen.setdefault(host, {})[lun] = volume
        return lun

    def remove(self, volume: Volume, host: Host) -> bool:
        """Take the mapping away; say whether there was one."""
        seen = self._seen.get(host, {})
        found = [lun for lun, other in seen.items() if other is volume]
        for lun in found:
            del seen[lun]
        if not seen:
            self._seen.pop(host, None)
        return bool(found)

    # Looking. ------------------------------------------------------------------------------

    def luns(self, initiator_iqn: str) -> dict[int, Volume]:
        """Return what an initiator sees, by LUN number, in rising order."""
        host = self._hosts.by_iqn(initiator_iqn)
        return {} if host is None else self.luns_of(host)

    def luns_of(self, host: Host) -> dict[int, Volume]:
        """Return what a host sees, by LUN number, in rising order."""
        return dict(sorted(self._seen.get(host, {}).items(), key=lambda item: item[0]))

    def at(self, initiator_iqn: str, lun: int) -> Volume | None:
        """Return the volume that an initiator sees at a LUN number, or None."""
        return self._table(initiator_iqn).get(lun)

    def sees(self, initiator_iqn: str, volume: Volume) -> bool:
        """Say whether an initiator sees a volume."""
        return volume in self._table(initiator_iqn).values()

    def mapped(self, volume: Volume) -> bool:
        """Say whether a volume is mapped to anybody."""
        return any(volume in seen.values() for seen in self._seen.values())

    def to_hosts(self) -> tuple[HostMapping, ...]:
        """Return the mappings to hosts: by the hosts' age, then LUN."""
        return tuple(
            HostMapping(volume.name, volume.naa, host.name, lun)
            for host in sorted(self._seen, key=lambda each: each.number)
            for lun, volume in self.luns_of(host).items()
        )

    def mappings(self, initiator_iqn: str | None = None) -> tuple[Mapping, ...]:
        """Return the mappings, of one initiator where one is named: by initiator, then LUN."""
        known = sorted(iqn for host in self._seen for iqn in host.iqns)
        return tuple(
            Mapping(volume.name, volume.naa, iqn, lun)
            for iqn in (known if initiator_iqn is None else [initiator_iqn])
            for lun, volume in self.luns(iqn).items()
        )

    def _table(self, initiator_iqn: str) -> dict[int, Volume]:
        host = self._hosts.by_iqn(initiator_iqn)
        return {} if host is None else self._seen.get(host, {})
