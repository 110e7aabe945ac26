"""Requests that map volumes and snapshots to hosts, and take the mappings away again.

A snapshot that is mapped itself gets a view: a read-only volume with the snapshot's own identity,
there for as long as somebody sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.array.hosts import check_iqn
from stuntdouble.array.masking import HostMapping
from stuntdouble.array.volume import Snapshot, Volume
from stuntdouble.errors import InvalidState
from stuntdouble.ports import Mapping

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.hosts import Host, Hosts
    from stuntdouble.array.masking import Masking
    from stuntdouble.array.snapshot import Snapshots


class Access:
    """Mapping and unmapping; its generators commit in one instant, or not at all."""

    def __init__(self, core: Core, hosts: Hosts, masking: Masking, snapshots: Snapshots) -> None:
        self._core = core
        self._hosts = hosts
        self._masking = masking
        self._snapshots = snapshots

    def map_to_host(
        self, name: str, host: str, lun: int | None
    ) -> Generator[Event, Any, HostMapping]:
        """Let a host see a volume or snapshot; see ``Array.map_to_host``."""
        core = self._core
        yield from core.take(0.0)
        self._check(name, self._hosts.get(host), host, lun)
        yield from core.take(core.parameters.map_seconds)
        target = self._hosts.get(host)
        self._check(name, target, host, lun)
        volume, number = self._map(name, target, host, lun)
        core.note("array-mapped", name, host=host, initiator="", lun=number)
        core.tell_luns_changed(target)
        return HostMapping(name, volume.naa, host, number)

    def map_volume(
        self, name: str, initiator_iqn: str, lun: int | None
    ) -> Generator[Event, Any, Mapping]:
        """Let an initiator's host see a volume; see ``Array.map_volume``."""
        core = self._core
        check_iqn(initiator_iqn)
        yield from core.take(0.0)
        self._check(name, self._hosts.by_iqn(initiator_iqn), initiator_iqn, lun)
        yield from core.take(core.parameters.map_seconds)
        self._check(name, self._hosts.by_iqn(initiator_iqn), initiator_iqn, lun)
        host = self._hosts.for_iqn(initiator_iqn)
        volume, number = self._map(name, host, initiator_iqn, lun)
        core.note("array-mapped", name, host=host.name, initiator=initiator_iqn, lun=number)
        core.tell_luns_changed(host)
        return Mapping(name, volume.naa, initiator_iqn, number)

    def unmap_from_host(self, name: str, host: str) -> Generator[Event, Any, None]:
        """Take a host's mapping away; see ``Array.unmap_from_host``."""
        core = self._core
        yield from core.take(0.0)
        self._hosts.get(host)
        yield from core.take(core.parameters.unmap_seconds)
        self._unmap(name, self._hosts.get(host), "")

    def unmap_volume(self, name: str, initiator_iqn: str) -> Generator[Event, Any, None]:
        """Take the mapping of an initiator's host away; see ``Array.unmap_volume``."""
        core = self._core
        check_iqn(initiator_iqn)
        yield from core.take(core.parameters.unmap_seconds)
        host = self._hosts.by_iqn(initiator_iqn)
        if host is not None:
            self._unmap(name, host, initiator_iqn)

    # Parts. --------------------------------------------------------------------------------

    def _check(self, name: str, host: Host | None, who: str, lun: int | None) -> None:
        thing = self._core.inventory.either(name)
        if isinstance(thing, Snapshot) and not thing.valid:
            raise InvalidState(f"array snapshot {name}", "no longer valid", "map it")
        if isinstance(thing, Volume) and thing.writer is not None:
            raise InvalidState(f"volume {name}", "being written by a copy", "map it")
        self._masking.check_free(thing.naa, name, host, who, lun)

    def _map(self, name: str, host: Host, who: str, lun: int | None) -> tuple[Volume, int]:
        """Map what ``_check`` has let pass; return it with its LUN number."""
        thing = self._core.inventory.either(name)
        volume = self._view(thing) if isinstance(thing, Snapshot) else thing
        return volume, self._masking.add(volume, host, who, lun)

    def _view(self, snapshot: Snapshot) -> Volume:
        """Return the volume that shows a snapshot."""
        if snapshot.view is None:
            assert snapshot.image is not None, "a snapshot that was given up has nothing to show"
            lun = snapshot.image.open()
            lun.keeper = self._snapshots
            snapshot.view = Volume(
                snapshot.name,
                snapshot.naa,
                lun,
                snapshot.pool,
                read_only=True,
                origin=snapshot,
                id=snapshot.id,
                uuid=snapshot.uuid,
                created=snapshot.created,
            )
        return snapshot.view

    def _unmap(self, name: str, host: Host, initiator_iqn: str) -> None:
        volume = self._core.inventory.seen(name)
        if volume is None or not self._masking.remove(volume, host):
            return
        origin = volume.origin
        if origin is not None and origin.view is volume and not self._masking.mapped(volume):
            origin.view = None
            self._core.site.drop_lun(volume.lun)
        self._core.note("array-unmapped", name, host=host.name, initiator=initiator_iqn)
        self._core.tell_luns_changed(host)
        self._core.sweep()
