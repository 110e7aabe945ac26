"""A datastore as files: what lies where, how large it is, and what it says.

    vm/vm.vmx                 the VM's own files, beside its first disk
    vm/vm.vmsd
    vm/vmware.log
    vm/vm.vmdk                a disk: descriptor and extent of its base,
    vm/vm-flat.vmdk
    vm/vm-ctk.vmdk            and its change-tracking file, where changes are tracked
    vm/vm-000001.vmdk         the same for each delta disk
    vm/vm-000001-delta.vmdk
    notes/readme.txt          what somebody has uploaded

Extents are the site's; small files are rendered from the VM's descriptor record when they are
read, and take no room.  So it is for VMs that are not registered, and on mounted copies.  Bytes of
delta disks' extents and of tracking files are not emulated: what they hold is read through disks and
changed areas.  Other files that a real folder has (swap, nvram, vmsn) are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Final

import simpy

from stuntdouble.errors import FileLocked, InvalidState, Misuse, NotFound, Unsupported
from stuntdouble.extents import Runs
from stuntdouble.hypervisor import texts, uploads
from stuntdouble.hypervisor.records import VmRecord, descriptor_of
from stuntdouble.iops import Io, Purpose, StreamSpec
from stuntdouble.units import MIB, SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from simpy.events import Event

    from stuntdouble.hypervisor.datastore import Datastore
    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.records import DiskRecord
    from stuntdouble.site import File

_DISK_BYTES_PER_TRACKING_BYTE: Final = 20 * 1024
"""A tracking file has about 0.5 MB per 10 GB of the disk, as third parties have measured."""

_READ_DEPTH: Final = 8  # I/Os of a read under way at a time: as a consolidation's.  No source.


class FileKind(StrEnum):
    """What a file is."""

    CONFIG = "vmx"
    SNAPSHOTS = "vmsd"
    LOG = "log"
    DESCRIPTOR = "descriptor"
    FLAT = "flat extent"
    DELTA = "delta extent"
    TRACKING = "change tracking"
    UPLOADED = "uploaded"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of a datastore.

    Args:
        path: relative to the datastore.
        kind: what it is.
        size_bytes: how long it is.
        allocated_bytes: what it takes of the datastore's space.
        modified: site time at which it was last written; None where that is not known.
        vm: the uuid of the VM that it belongs to, empty for none.
        disk: the key of the disk that it belongs to, or None.
    """

    path: str
    kind: FileKind
    size_bytes: int
    allocated_bytes: int
    modified: float | None
    vm: str = ""
    disk: int | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    info: FileInfo
    text: Callable[[], str] | None = None


class DatastoreFiles:
    """The files of one datastore; made by ``Administration.files``, for one use."""

    def __init__(self, hypervisor: Hypervisor, datastore: Datastore, logs: texts.Logs) -> None:
        self._hypervisor = hypervisor
        self._host = hypervisor.host
        self._datastore = datastore
        self._store = datastore.store
        self._logs = logs

    # What is there. ------------------------------------------------------------------------

    def list(self, folder: str = "") -> tuple[FileInfo, ...]:
        """Return the files, by path: of a folder, or all."""
        inside = f"{folder}/" if folder else ""
        found = [e.info for e in self._entries(folder) if e.info.path.startswith(inside)]
        return tuple(sorted(found, key=lambda info: info.path))

    def find(self, path: str) -> FileInfo:
        """Return a file by its path.

        Raises:
            NotFound: there is none.
        """
        return self._entry(path).info

    def folders(self) -> tuple[str, ...]:
        """Return the folders, by path: those of files, and those that were made."""
        vms = {name for name, r in self._store.records.items() if isinstance(r, VmRecord)}
        inside = [*uploads.uploads_of(self._store), *(f"{p}/" for p in self._made())]
        others = {"/".join(p.split("/")[:n]) for p in inside for n in range(1, p.count("/") + 1)}
        return tuple(sorted(vms | others))

    def _made(self) -> tuple[str, ...]:
        return uploads.folders_of(self._store)

    def _entry(self, path: str) -> _Entry:
        for entry in self._entries(path.partition("/")[0]):
            if entry.info.path == path:
                return entry
        raise NotFound(f"file on {self._datastore.name}", path)

    def _entries(self, folder: str) -> Iterator[_Entry]:
        """Yield the files of a folder of a VM, or of all, and what has been uploaded."""
        for name, record in self._store.records.items():
            if isinstance(record, VmRecord) and folder in ("", name):
                yield from self._own_files(name, record)
                for disk in record.disks:
                    yield from self._disk_files(record, disk)
        for path, upload in uploads.uploads_of(self._store).items():
            held = self._store.files[path].size_bytes
            yield _Entry(FileInfo(path, FileKind.UPLOADED, len(upload.data), held, upload.written))

    def _own_files(self, folder: str, record: VmRecord) -> Iterator[_Entry]:
        if not record.is_home:
            return
        until = record.written if self._datastore.mounted_copy else inf
        lines = self._logs.of(record.name, until)
        written = record.written
        yield self._text(
            record, f"{folder}/{folder}.vmx", FileKind.CONFIG, written, texts.vmx_text(record)
        )
        yield self._text(
            record, f"{folder}/{folder}.vmsd", FileKind.SNAPSHOTS, written, texts.vmsd_text(record)
        )
        last = lines[-1][0] if lines else None
        log = texts.log_text(lines)
        yield self._text(record, f"{folder}/vmware.log", FileKind.LOG, last, log)

    def _disk_files(self, record: VmRecord, disk: DiskRecord) -> Iterator[_Entry]:
        key, written = disk.spec.key, record.written
        for level, (name, _) in enumerate(disk.files):
            text = texts.descriptor_text(record, disk, level)
            path = descriptor_of(name)
            yield self._text(record, path, FileKind.DESCRIPTOR, written, text, key)
            file = self._store.files[name]
            kind = FileKind.DELTA if file.sparse else FileKind.FLAT
            held = file.size_bytes
            size = held if file.sparse else file.blocks * self._store.site.block_bytes
            yield _Entry(FileInfo(name, kind, size, held, None, record.uuid, key))
            if texts.is_tracked(record, disk):
                size = tracking_bytes(disk.spec.capacity_bytes)
                path = texts.tracking_name(name)
                yield _Entry(FileInfo(path, FileKind.TRACKING, size, 0, None, record.uuid, key))

    def _text(
        self,
        record: VmRecord,
        path: str,
        kind: FileKind,
        modified: float | None,
        text: str,
        disk: int | None = None,
    ) -> _Entry:
        info = FileInfo(path, kind, len(text.encode()), 0, modified, record.uuid, disk)
        return _Entry(info, lambda: text)

    # What it says. -------------------------------------------------------------------------

    def read_text(self, path: str) -> str:
        """Return what a small file says.

        Raises:
            NotFound: there is none.
            Misuse: it is no text.
        """
        entry = self._entry(path)
        if entry.text is None:
            raise Misuse(path, f"a file of kind {entry.info.kind!r} is no text: read its bytes")
        return entry.text()

    def read_bytes(self, path: str, offset: int, length: int) -> bytes:
        """Return bytes of a file, at once; see ``read`` for what takes its time.

        Raises:
            NotFound: there is no such file.
            Misuse: a range outside of it.
            FileLocked: a running VM writes it.
            Unsupported: the extent of a delta disk, or a tracking file.
            MediumError: storage is damaged.
            Unreachable: storage has been lost.
        """
        entry = self._check(path, offset, length)
        if entry.text is not None:
            return entry.text().encode()[offset : offset + length]
        if entry.info.kind is FileKind.UPLOADED:
            return uploads.uploads_of(self._store)[path].data[offset : offset + length]
        return self._flat_bytes(self._store.files[path], offset, length)

    def read(self, path: str, offset: int, length: int) -> Generator[Event, object, bytes]:
        """Return bytes of a file once they have been read and sent over the management network.

        Raises: as ``read_bytes``.
        """
        entry = self._check(path, offset, length)
        if entry.info.kind is FileKind.FLAT and length:
            level = self._store.site.new_level(self._store.files[path], None)
            stream = self._host.engine.stream(
                StreamSpec(
                    Io.READ_LEVEL,
                    level,
                    Runs.single(offset, length).blocks(MIB),
                    _READ_DEPTH,
                    Purpose.BACKUP,
                    link=self._host.lan_station,
                    luns=self._datastore.luns,
                )
            )
            try:
                yield stream.finished
            except simpy.Interrupt:
                stream.stop()
                yield stream.finished  # what is under way ends first
                raise
        return self.read_bytes(path, offset, length)

    def _check(self, path: str, offset: int, length: int) -> _Entry:
        self._datastore.check_reachable()
        entry = self._entry(path)
        size = entry.info.size_bytes
        if offset < 0 or length < 0 or offset + length > size:
            raise Misuse(path, f"{length} bytes at {offset} are outside of its {size} bytes")
        if entry.info.kind in (FileKind.DELTA, FileKind.TRACKING):
            what = f"the bytes of {path}, a file of kind {entry.info.kind!r}"
            raise Unsupported(what, "read the disk, or its changed areas")
        if entry.info.kind is FileKind.FLAT and (vm := self._writer(path)):
            raise FileLocked(path, vm)
        return entry

    def _writer(self, path: str) -> str:
        """Return the running VM that writes a file, or nothing."""
        return next(
            (
                vm.name
                for vm in self._hypervisor.vms.values()
                if vm.powered_on
                for disk in vm.disks.values()
                if disk.datastore is self._datastore and disk.file == path
            ),
            "",
        )

    def _flat_bytes(self, file: File, offset: int, length: int) -> bytes:
        site = self._store.site
        size = site.block_bytes
        first, stop = offset // size, -(-(offset + length) // size)
        level = site.new_level(file, None)
        rows = site.show(level, first, stop - first, file.name)
        return bytes(rows.reshape(-1).data[offset - first * size :][:length])

    # What somebody puts there. -------------------------------------------------------------

    def put(self, path: str, data: bytes) -> None:
        """Upload a small file; see ``stuntdouble.hypervisor.uploads.put``.

        Raises:
            InvalidState: a VM's file has the path, or a folder.
        """
        self._datastore.check_reachable()
        uploads.check_path(path)
        there = [e.info for e in self._entries(path.partition("/")[0]) if e.info.path == path]
        if any(info.kind is not FileKind.UPLOADED for info in there):
            raise InvalidState(path, "a VM's file", "write it")
        if path in self.folders():
            raise InvalidState(path, "a folder", "write it")
        uploads.put(self._datastore, path, data, self._host.env.now)

    def make_folder(self, path: str, *, parents: bool = False) -> None:
        """Make a folder.

        Args:
            path: of the folder.
            parents: make what it is to lie in, where that is not there.

        Raises:
            InvalidState: there is one of that path, or a file.
            NotFound: what it is to lie in is not there.
        """
        self._datastore.check_reachable()
        uploads.check_path(path)
        there, within = self.folders(), path.rpartition("/")[0]
        if path in there or any(info.path == path for info in self.list(path.partition("/")[0])):
            raise InvalidState(path, "there already", "make a folder of that name")
        if within and within not in there and not parents:
            raise NotFound(f"folder on {self._datastore.name}", within)
        uploads.make_folder(self._datastore, path)

    def delete(self, path: str) -> None:
        """Delete an uploaded file, or a folder in which nothing else lies.

        Raises:
            NotFound: there is no such file or folder.
            InvalidState: a VM's file is it, or in it: destroy the VM.
        """
        self._datastore.check_reachable()
        inside = self.list(path) if path in self.folders() else (self.find(path),)
        for info in inside:
            if info.kind is not FileKind.UPLOADED:
                raise InvalidState(info.path, "a VM's file", "delete it")
        for info in inside:
            uploads.delete(self._datastore, info.path)
        uploads.delete_folders(self._datastore, path)


def tracking_bytes(capacity_bytes: int) -> int:
    """Return how long the change-tracking file of a disk is: whole sectors."""
    size = -(-capacity_bytes // _DISK_BYTES_PER_TRACKING_BYTE)
    return -(-size // SECTOR_BYTES) * SECTOR_BYTES
