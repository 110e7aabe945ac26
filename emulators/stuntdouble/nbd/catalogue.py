"""The exports of the emulated hypervisor, by name.

    vm/<VM>/<disk key>              what the disk holds now; writable while the VM is off and has no
                                    snapshots, else read-only, and a moving target while it runs
    snapshot/<id>/<disk key>        what a snapshot froze, through its chain
    delta/<VM>/<file>               what one file of a chain holds by itself

Each part of a name is percent-encoded, so that it has no "/" of its own.  A file goes by its name
within the VM's directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote
from weakref import WeakKeyDictionary

from stuntdouble.errors import NotFound
from stuntdouble.nbd.disks import CurrentDisk, DeltaFile, SnapshotDisk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simpy.events import Event

    from stuntdouble.hypervisor import Hypervisor, Vm, VmDisk
    from stuntdouble.nbd.disks import OnWrite
    from stuntdouble.nbd.exports import Export
    from stuntdouble.site import Level


class HypervisorExports:
    """Every disk, snapshot and file of a hypervisor; looked up whenever somebody asks.

    Snapshots of a registered copy have the names of their originals', so only these are found; what
    the copy's current snapshot froze is what ``vm/<copy>/<disk key>`` shows.

    Args:
        hypervisor: whose answers about changed areas are the dirty bitmaps.
        paced: whether requests take the time that their I/O takes in the model, and cost the
            guests what it costs; else they take none.
        on_write: told of each write, by export, offset and data, as it enters the site.
    """

    def __init__(
        self, hypervisor: Hypervisor, *, paced: bool = False, on_write: OnWrite | None = None
    ) -> None:
        self._hypervisor = hypervisor
        self._env = hypervisor.host.env
        self._paced = paced
        self._on_write = on_write
        self._alone: WeakKeyDictionary[Level, Level] = WeakKeyDictionary()

    def find(self, name: str) -> Export:
        """Return an export; NotFound where there is none of that name, or not any more."""
        parts = [unquote(part) for part in name.split("/")]
        with self._env.entered():
            match parts:
                case ["vm", vm, key]:
                    return self._current(name, self._hypervisor.vm(vm), key)
                case ["snapshot", number, key]:
                    return self._snapshot(name, number, key)
                case ["delta", vm, file]:
                    return self._file(name, self._hypervisor.vm(vm), file)
        raise NotFound("NBD export (vm/…, snapshot/… or delta/…)", name)

    def _current(self, name: str, vm: Vm, key: str) -> CurrentDisk:
        found = CurrentDisk(name, self._hypervisor, vm, _disk(vm, key), paced=self._paced)
        found.on_write = self._on_write
        return found

    def begin_write(self, name: str, offset: int, data: memoryview) -> Event:
        """Begin a write as a client did, within ``env.entered()``; NotFound where no disk is named."""
        found = self.find(name)
        if not isinstance(found, CurrentDisk):
            raise NotFound("disk that can be written", name)
        return found.begin_write(offset, data)

    def _snapshot(self, name: str, number: str, key: str) -> Export:
        for vm in self._originals():
            snapshot = vm.find(number)
            if snapshot is None:
                continue
            disk = _disk(vm, key)
            if disk.key not in snapshot.frozen:
                raise NotFound(f"disk of {number}", key)
            return SnapshotDisk(name, self._hypervisor, vm, snapshot, disk, paced=self._paced)
        raise NotFound("snapshot", number)

    def _file(self, name: str, vm: Vm, file: str) -> Export:
        for disk, level in _files(vm):
            if _short(vm, level) == file:
                if level not in self._alone:  # one for each, however often somebody asks
                    self._alone[level] = vm.host.site.new_level(level.file, None)
                return DeltaFile(name, vm, disk, level, self._alone[level], paced=self._paced)
        raise NotFound(f"file of {vm.name}", file)

    def _originals(self) -> list[Vm]:
        return [vm for vm in self._hypervisor.vms.values() if not vm.is_copy]

    def listing(self) -> Iterable[tuple[str, str]]:
        """Return name and description of each, VM by VM."""
        with self._env.entered():
            vms = list(self._hypervisor.vms.values())
            return [row for vm in vms for row in self._of(vm)]

    def _of(self, vm: Vm) -> Iterator[tuple[str, str]]:
        for key in vm.disks:
            yield export_name("vm", vm.name, key), f"disk {key} of {vm.name}, current content"
        for snapshot in () if vm.is_copy else vm.snapshots:
            for key in snapshot.frozen:
                text = f"disk {key} of {vm.name} as {snapshot.id} froze it"
                yield export_name("snapshot", snapshot.id, key), text
        for disk, level in _files(vm):
            name = export_name("delta", vm.name, _short(vm, level))
            yield name, f"{level.file.name}, what it holds of disk {disk.key} of {vm.name}"


def export_name(*parts: str | int) -> str:
    """Return the name of an export from its parts."""
    return "/".join(quote(str(part), safe="") for part in parts)


def _disk(vm: Vm, key: str) -> VmDisk:
    """Return a disk by its key as text; NotFound where there is none."""
    return vm.disk(int(key) if key.isascii() and key.isdigit() and len(key) < 10 else -1)


def _files(vm: Vm) -> Iterator[tuple[VmDisk, Level]]:
    return ((disk, level) for disk in vm.disks.values() for level in disk.chain.levels)


def _short(vm: Vm, level: Level) -> str:
    return level.file.name.removeprefix(f"{vm.name}/")
