"""The storage of the host: which devices it sees, and the file systems it finds on them.

    array maps a copy ─▶ rescan ─▶ unresolved ─▶ resignature ─▶ a datastore, mounted
    array unmaps it   ─▶ rescan ─▶ its device is dead: whatever needs it is refused
                                                unmount ─▶ known, not mounted ─▶ mount

Devices come and go with a rescan only; between two of them the host goes by what it saw at the
last.  The LUNs of a datastore that was formatted here are not asked for: they are always there.

A copy is told by its header, which names another device than the one it is found on.  To mount it
under its old identity (a forced mount) is not emulated: the original is mounted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stuntdouble.errors import InvalidState, NotFound, Unreachable, Unsupported
from stuntdouble.hypervisor import copies, hosts
from stuntdouble.hypervisor.datastore import capacity_of, found_copy
from stuntdouble.hypervisor.headers import header_on, whole_store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from simpy.events import Event

    from stuntdouble.hypervisor.datastore import Datastore
    from stuntdouble.hypervisor.headers import VolumeHeader
    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.site import Lun, Store


@dataclass(frozen=True, slots=True)
class Device:
    """A LUN as the host sees it; "dead" is one that was mapped to it when it was needed."""

    naa: str
    size_bytes: int
    state: Literal["ok", "dead"]


@dataclass(frozen=True, slots=True)
class FoundExtent:
    """An extent of a copy: on which device, and which of the file system's it is, from 0."""

    naa: str
    ordinal: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UnresolvedVolume:
    """A copy of a file system that has not been resignatured.

    Args:
        label: what its original is called.
        uuid: its original's.
        extents: those that are visible, by ordinal, then identifier.
        extent_count: how many the file system has.
    """

    label: str
    uuid: str
    extents: tuple[FoundExtent, ...]
    extent_count: int

    @property
    def multiple_copies(self) -> bool:
        """Whether there is more than one copy of an extent: somebody must say which."""
        return len({extent.ordinal for extent in self.extents}) < len(self.extents)

    @property
    def incomplete_extents(self) -> bool:
        """Whether extents are missing."""
        return len({extent.ordinal for extent in self.extents}) < self.extent_count

    @property
    def resolvable(self) -> bool:
        """Whether it is whole, and there is one of it."""
        return not (self.multiple_copies or self.incomplete_extents)


@dataclass(frozen=True, slots=True)
class Volume:
    """A file system that the host knows, mounted or not; ``naas`` in the order of its extents."""

    uuid: str
    name: str
    naas: tuple[str, ...]
    capacity_bytes: int
    mounted: bool


class HostStorage:
    """What the host sees, and what it does about it; operations are SimPy generators.

    ``visible`` says which LUNs masking lets the host see at this instant, by their identifiers.
    """

    def __init__(self, hypervisor: Hypervisor) -> None:
        self.visible: Callable[[], Mapping[str, Lun]] | None = None
        self._hypervisor = hypervisor
        self._seen: tuple[str, ...] = ()
        self._unmounted: dict[str, Datastore] = {}  # formatted here; copies are found on their LUNs

    # Devices. ------------------------------------------------------------------------------

    def rescan(self, host: str = "") -> Generator[Event, object, None]:
        """Look which LUNs are mapped; what is new can be used from then on.

        Masking does not tell the hosts from each other, so all see what *host* does, the first one
        by default.

        Raises:
            NotFound: no such host.
            Unreachable: it is down.
            Unsupported: nobody has said what masking lets the hosts see.
        """
        servers = self._hypervisor.hosts
        server = hosts.find(self._hypervisor, host or next(iter(servers)))
        server.check_up()
        self._visible()
        yield from self.scan()
        self._hypervisor.host.note("rescanned", server.name, devices=len(self._seen))

    def scan(self) -> Generator[Event, object, None]:
        """Take the time of a rescan, and look where somebody has said at what."""
        yield self._hypervisor.host.env.timeout(self._hypervisor.host.parameters.rescan_seconds)
        if self.visible is None:
            return
        self._seen = tuple(self.visible())
        for datastore in self._hypervisor.datastores.values():
            if datastore.mounted_copy:
                datastore.dead = tuple(naa for naa in datastore.naas if naa not in self._seen)

    def devices(self) -> tuple[Device, ...]:
        """Return the devices: those under datastores first, then others that the last rescan saw."""
        found: dict[str, Device] = {}
        for datastore in (*self._hypervisor.datastores.values(), *self._unmounted.values()):
            for lun, naa in zip(datastore.luns, datastore.naas, strict=True):
                state: Literal["ok", "dead"] = "dead" if naa in datastore.dead else "ok"
                found[naa] = Device(naa, lun.size_bytes, state)
        for naa, lun in self._reachable().items():
            found.setdefault(naa, Device(naa, lun.size_bytes, "ok"))
        return tuple(found.values())

    def lun(self, naa: str) -> Lun:
        """Return the LUN behind a device.

        Raises:
            NotFound: the last rescan did not see it.
            Unreachable: it has been unmapped since.
        """
        if naa not in self._seen:
            raise NotFound("device", naa)
        found = self._visible().get(naa)
        if found is None:
            raise Unreachable(f"volume {naa}")
        return found

    def _visible(self) -> Mapping[str, Lun]:
        if self.visible is None:
            raise Unsupported(
                "what a host sees without an array", "give it `storage.visible`, from masking"
            )
        return self.visible()

    def _reachable(self) -> dict[str, Lun]:
        """Return what the last rescan saw and is still there."""
        if self.visible is None:
            return {}
        now = self.visible()
        return {naa: now[naa] for naa in self._seen if naa in now}

    # File systems. -------------------------------------------------------------------------

    def unresolved(self) -> tuple[UnresolvedVolume, ...]:
        """Return the copies on devices that the last rescan saw, by label and uuid.

        Raises:
            Unsupported: nobody has said what masking lets the host see.
        """
        self._visible()
        found: dict[tuple[str, str], list[tuple[VolumeHeader, FoundExtent]]] = {}
        for naa, lun in self._reachable().items():
            header = header_on(lun)
            if header is not None and header.naa != naa:
                extent = FoundExtent(naa, header.ordinal, lun.size_bytes)
                found.setdefault((header.name, header.uuid), []).append((header, extent))
        return tuple(
            UnresolvedVolume(
                label,
                uuid,
                tuple(sorted((e for _, e in each), key=lambda e: (e.ordinal, e.naa))),
                each[0][0].extents,
            )
            for (label, uuid), each in sorted(found.items())
        )

    def resignature(self, naas: tuple[str, ...]) -> Generator[Event, object, Datastore]:
        """Give a copy an identity of its own and mount it; return the datastore.

        Args:
            naas: the devices that are its extents, in any order.

        Raises:
            NotFound: a device was not seen by the last rescan.
            InvalidState: they are no whole copy, or it has been resignatured.
            Unreachable: a device has been lost.
        """
        naas, luns = self._copy_on(naas)
        return (yield from copies.resignature(self._hypervisor, luns, naas))

    def force_mount(self, naas: tuple[str, ...]) -> None:
        """Refuse to mount a copy under its original's identity.

        Raises:
            Unsupported: always, once the copy is there.
        """
        naas, _ = self._copy_on(naas)
        raise Unsupported(
            f"mounting {', '.join(naas)} without a new signature", "resignature the copy"
        )

    def _copy_on(self, naas: tuple[str, ...]) -> tuple[tuple[str, ...], list[Lun]]:
        """Return the devices and LUNs of a copy, in the order of its extents."""
        luns = {naa: self.lun(naa) for naa in naas}
        headers = {naa: header_on(lun) for naa, lun in luns.items()}
        naas = tuple(sorted(luns, key=lambda naa: h.ordinal if (h := headers[naa]) else -1))
        _, header = whole_store([luns[naa] for naa in naas], naas)
        if header.naa == naas[0]:
            raise InvalidState(header.name, "no unresolved copy", "resignature it")
        return naas, [luns[naa] for naa in naas]

    def volumes(self) -> tuple[Volume, ...]:
        """Return the file systems that are mounted or could be."""
        mounted = [(each, True) for each in self._hypervisor.datastores.values()]
        others = [(each, False) for each in self._unmounted.values()]
        known = tuple(
            Volume(each.uuid, each.name, each.naas, each.capacity_bytes, there)
            for each, there in mounted + others
        )
        return known + tuple(copy.volume for copy in self._resolved().values())

    def unmount_volume(self, name: str) -> Generator[Event, object, None]:
        """Unmount a datastore, a copy or not; its file system stays known.

        Raises:
            NotFound: no such datastore is mounted.
            InvalidState: VMs are registered on it.
        """
        datastore = self._hypervisor.datastores.get(name)
        if datastore is None:
            raise NotFound("datastore", name)
        done = yield from copies.unmount_any(self._hypervisor, datastore)
        if done and not datastore.mounted_copy:
            self._unmounted[datastore.uuid] = datastore

    def mount_volume(self, uuid: str) -> Generator[Event, object, Datastore]:
        """Mount a file system that is known and not mounted; return the datastore.

        Raises:
            NotFound: no such file system is known.
            InvalidState: it is mounted, or the name has been taken.
        """
        self._check_mountable(uuid)
        yield self._hypervisor.host.env.timeout(self._hypervisor.host.parameters.mount_seconds)
        self._check_mountable(uuid)
        if (known := self._unmounted.pop(uuid, None)) is not None:
            self._hypervisor.datastores[known.name] = known  # it knows whom to tell of free space
            mounted = known
        else:
            copy = self._resolved()[uuid]
            made = found_copy(self._hypervisor.host, copy.store, copy.volume.naas)
            mounted = self._hypervisor.adopt_datastore(made)
        self._hypervisor.host.note("mounted", mounted.name, volumes=mounted.naas)
        return mounted

    def _check_mountable(self, uuid: str) -> None:
        found = {each.uuid: each for each in self.volumes()}.get(uuid)
        if found is None:
            raise NotFound("file system", uuid)
        if found.mounted or found.name in self._hypervisor.datastores:
            raise InvalidState(f"datastore {found.name}", "mounted", f"mount {uuid}")
        luns = (
            self._unmounted[uuid].luns if uuid in self._unmounted else self._resolved()[uuid].luns
        )
        for lun in luns:
            lun.check_reachable()

    def _resolved(self) -> dict[str, _Copy]:
        """Return the resignatured copies that are whole and not mounted, by uuid."""
        mounted = {naa for each in self._hypervisor.datastores.values() for naa in each.naas}
        parts: dict[str, list[tuple[VolumeHeader, Lun]]] = {}
        for naa, lun in self._reachable().items():
            header = header_on(lun)
            if header is not None and header.naa == naa and naa not in mounted:
                parts.setdefault(header.uuid, []).append((header, lun))
        whole = {
            uuid: sorted(extents, key=lambda each: each[0].ordinal)
            for uuid, extents in parts.items()
            if len(extents) == extents[0][0].extents and uuid not in self._unmounted
        }
        return {uuid: _copy(extents) for uuid, extents in whole.items()}


@dataclass(frozen=True)
class _Copy:
    """A resignatured copy that is not mounted."""

    volume: Volume
    store: Store
    luns: tuple[Lun, ...]


def _copy(extents: list[tuple[VolumeHeader, Lun]]) -> _Copy:
    header, luns = extents[0][0], tuple(lun for _, lun in extents)
    store = luns[0].stores[0]
    naas = tuple(each.naa for each, _ in extents)
    volume = Volume(header.uuid, header.name, naas, capacity_of(store, luns), mounted=False)
    return _Copy(volume, store, luns)
