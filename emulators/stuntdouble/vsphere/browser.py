"""The datastore browser: what lies on a datastore, by folder, pattern and kind of file.

    no query, or a plain one    every file, folders included, extents and change tracking beside
    VmDiskQuery                 descriptors, each for its whole disk; no extents
    VmConfigQuery, ...          files of that kind

What is told of a file is what the specification's ``details`` ask for, beside its name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import NotFound
from stuntdouble.hypervisor import FileKind
from stuntdouble.units import KIB, SECTOR_BYTES
from stuntdouble.vsphere.creation import split_path
from stuntdouble.vsphere.faults import not_permitted
from stuntdouble.vsphere.hardware import descriptor_of
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from simpy.events import Event

    from stuntdouble.hypervisor import DatastoreFiles, FileInfo
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.datastores import Datastore
    from stuntdouble.vsphere.sessions import Session

_B: Final = vim.host.DatastoreBrowser
BROWSE: Final = "Datastore.Browse"
MANAGE: Final = "Datastore.FileManagement"
"""Privileges that reading and changing files of a datastore take (vSphere privileges reference)."""

_INFOS: Final[dict[FileKind, Any]] = {
    FileKind.CONFIG: _B.VmConfigInfo,
    FileKind.LOG: _B.VmLogInfo,
    FileKind.DESCRIPTOR: _B.VmDiskInfo,
}
_KINDS: Final[dict[Any, FileKind | None]] = {
    _B.VmConfigQuery: FileKind.CONFIG,
    _B.VmLogQuery: FileKind.LOG,
    _B.VmDiskQuery: FileKind.DESCRIPTOR,
    _B.TemplateVmConfigQuery: None,  # of which there are none
    _B.VmSnapshotQuery: None,
    _B.VmNvramQuery: None,
}
_SUFFIXES: Final = {_B.IsoImageQuery: ".iso", _B.FloppyImageQuery: ".flp"}
_SECTORS: Final = re.compile(r"^RW (\d+) ", re.MULTILINE)
_HARDWARE: Final = re.compile(r'^ddb\.virtualHWVersion = "(\d+)"', re.MULTILINE)


class DatastoreBrowser(Managed):
    """``vim.host.DatastoreBrowser``: of one datastore, or of all that a host sees."""

    kind = _B

    def __init__(self, center: VirtualCenter, moid: str, thing: tuple[str, Any]) -> None:
        super().__init__(center, moid)
        self._only = thing[1]

    def alive(self) -> bool:
        """Say whether its datastore is mounted, or its host there."""
        return bool(self._datastores())

    def _datastores(self) -> list[Datastore]:
        stores = self.center.roots.datastores()
        return [each for each in stores if self._only is None or each.store is self._only]

    @prop
    def datastore(self) -> list[Any]:
        return [each.ref for each in self._datastores()]

    @prop
    def supported_type(self) -> list[Any]:
        kinds = (_B.FolderQuery, *_KINDS, *_SUFFIXES)
        return [kind() for kind in kinds]

    @operation("SearchDatastore_Task")
    def search(self, session: Session, datastore_path: str, search_spec: Any = None) -> Any:
        """Look into one folder."""
        store, folder, files = self._opened(session, datastore_path)

        def model() -> Generator[Event, Any, Any]:
            yield self.center.env.timeout(0)
            _require_folder(files, folder, datastore_path)
            return _Search(self.center, store, files, search_spec).of(folder)

        return self.center.tasks.start(store, "SearchDatastore_Task", model())

    @operation("SearchDatastoreSubFolders_Task")
    def search_sub_folders(
        self, session: Session, datastore_path: str, search_spec: Any = None
    ) -> Any:
        """Look into a folder and all that lie in it."""
        store, folder, files = self._opened(session, datastore_path)

        def model() -> Generator[Event, Any, Any]:
            yield self.center.env.timeout(0)
            _require_folder(files, folder, datastore_path)
            inside = f"{folder}/" if folder else ""
            wanted = [folder, *(each for each in files.folders() if each.startswith(inside))]
            found = _Search(self.center, store, files, search_spec)
            results = map(found.of, dict.fromkeys(wanted))
            return _B.SearchResults.Array(results)

        return self.center.tasks.start(store, "SearchDatastoreSubFolders_Task", model())

    @operation("DeleteFile")
    def delete_file(self, session: Session, datastore_path: str) -> None:
        """Delete what somebody has uploaded."""
        _store, path, files = self._opened(session, datastore_path)
        try:
            files.delete(path)
        except NotFound:
            raise file_not_found(datastore_path) from None

    def _opened(self, session: Session, path: str) -> tuple[Datastore, str, DatastoreFiles]:
        """Return the datastore, the path on it and its files."""
        name, rest = split_path(path, "datastorePath")
        store = next((each for each in self._datastores() if each.label() == name), None)
        if store is None:
            raise vim.fault.InvalidDatastore(name=name, msg=f"No datastore {name!r} is here.")
        require(session, store, BROWSE)
        return store, rest.strip("/"), files_of(self.center, store)


def files_of(center: VirtualCenter, store: Datastore) -> DatastoreFiles:
    """Return what lies on a datastore, as files."""
    found: DatastoreFiles = center.hypervisor.admin.files(store.store.name)
    return found


def require(session: Session, store: Datastore, privilege: str) -> None:
    """Refuse who lacks a privilege on a datastore."""
    if not session.may(privilege):
        raise not_permitted(store.ref, privilege)


def file_not_found(path: str) -> Any:
    """Return the fault of a file, or folder, that is not there."""
    return vim.fault.FileNotFound(file=path, msg=f"File {path} was not found")


def _require_folder(files: DatastoreFiles, folder: str, path: str) -> None:
    if folder and folder not in files.folders():
        raise file_not_found(path)


class _Search:
    """What a specification finds on a datastore."""

    def __init__(
        self, center: VirtualCenter, store: Datastore, files: DatastoreFiles, spec: Any
    ) -> None:
        self._center, self._store, self._files = center, store, files
        self._spec = spec if spec is not None else _B.SearchSpec()
        self._queries = list(self._spec.query)
        self._caseless = bool(self._spec.searchCaseInsensitive)
        self._told = self._spec.details or _B.FileInfo.Details()

    def of(self, folder: str) -> Any:
        """Return what a folder holds of it."""
        inside = f"{folder}/" if folder else ""
        files = [f for f in self._files.list(folder) if "/" not in f.path[len(inside) :]]
        found = [self._shown(each, files) for each in files if self._is_wanted(each)]
        folders = [
            path.rpartition("/")[2]
            for path in self._files.folders()
            if path.startswith(inside) and "/" not in path[len(inside) :]
        ]
        kind = _B.FolderInfo if self._told.fileType else _B.FileInfo
        shown = [kind(path=name) for name in folders if self._wants_folder(name)]
        merged = [*shown, *found]
        if not self._spec.sortFoldersFirst:
            merged.sort(key=lambda info: info.path)
        name = self._store.label()
        return new(
            _B.SearchResults,
            datastore=self._store.ref,
            folderPath=f"[{name}] {folder}/" if folder else f"[{name}]",
            file=merged,
        )

    def _named(self, name: str) -> bool:
        patterns = self._spec.matchPattern
        return not patterns or any(matches(name, each, self._caseless) for each in patterns)

    def _wants_folder(self, name: str) -> bool:
        kinds = (_B.FolderQuery, _B.Query)
        queried = not self._queries or any(type(query) in kinds for query in self._queries)
        return queried and self._named(name)

    def _is_wanted(self, info: FileInfo) -> bool:
        if not self._named(info.path.rpartition("/")[2]):
            return False
        return not self._queries or any(self._answers(query, info) for query in self._queries)

    def _answers(self, query: Any, info: FileInfo) -> bool:
        """Say whether a file is what one query asks for."""
        kind = type(query)
        if kind is _B.Query:
            return True
        if kind in _SUFFIXES:
            return info.path.lower().endswith(_SUFFIXES[kind])
        if _KINDS.get(kind) is not info.kind:
            return False
        wanted = getattr(query, "filter", None)
        if wanted is None:
            return True
        if kind is _B.VmConfigQuery:
            return not wanted.encrypted
        beside = self._files.list(info.path.partition("/")[0])
        return self._passes(wanted, self._disk(info, beside))

    def _passes(self, wanted: Any, disk: Any) -> bool:
        """Say whether a disk passes a filter."""
        return (
            (not wanted.diskType or disk.diskType in wanted.diskType)
            and (not wanted.controllerType or disk.controllerType in wanted.controllerType)
            and (
                not wanted.matchHardwareVersion
                or disk.hardwareVersion in wanted.matchHardwareVersion
            )
            and (wanted.thin is None or bool(disk.thin) is wanted.thin)
            and not wanted.encrypted
        )

    def _shown(self, info: FileInfo, beside: Sequence[FileInfo]) -> Any:
        """Return what is told of a file."""
        told = self._told
        query = next((q for q in self._queries if _KINDS.get(type(q)) is info.kind), None)
        typed = told.fileType or query is not None
        made = _INFOS.get(info.kind, _B.FileInfo)() if typed else _B.FileInfo()
        size = info.size_bytes
        if isinstance(made, _B.VmDiskInfo):
            made = self._disk(info, beside)
            size = made.fileSize
            if query is not None:
                _keep(made, query.details)
        made.path = info.path.rpartition("/")[2]
        made.fileSize = size if told.fileSize else None
        written = info.modified if info.modified is not None else 0.0
        made.modification = self._center.when(written) if told.modification else None
        made.owner = "root" if told.fileOwner else None
        return made

    def _disk(self, info: FileInfo, beside: Sequence[FileInfo]) -> Any:
        """Return all that is known of a disk from its descriptor and its extent."""
        text = self._files.read_text(info.path)
        extents = [
            each
            for each in beside
            if each.kind in (FileKind.FLAT, FileKind.DELTA)
            and descriptor_of(each.path) == info.path
        ]
        sectors, hardware = _SECTORS.search(text), _HARDWARE.search(text)
        return _B.VmDiskInfo(
            path=info.path,
            fileSize=sum(each.size_bytes for each in extents),
            diskType=vim.vm.device.VirtualDisk.FlatVer2BackingInfo,
            controllerType=vim.vm.device.ParaVirtualSCSIController,
            capacityKb=int(sectors[1]) * SECTOR_BYTES // KIB if sectors else None,
            hardwareVersion=int(hardware[1]) if hardware else None,
            diskExtents=[f"[{self._store.label()}] {each.path}" for each in extents],
            thin="ddb.thinProvisioned" in text,
        )


def _keep(disk: Any, details: Any) -> None:
    """Keep of a disk what was asked for."""
    for name in ("diskType", "capacityKb", "hardwareVersion", "controllerType", "thin"):
        if details is None or not getattr(details, name):
            setattr(disk, name, None)
    if details is None or not details.diskExtents:
        disk.diskExtents = []


def matches(name: str, pattern: str, caseless: bool = False) -> bool:  # noqa: FBT002  (a flag of the API)
    """Say whether a name matches a pattern, in which ``*`` is any text and ``?`` one character.

    It takes steps as many as the product of both lengths at most, whatever the pattern.
    """
    if caseless:
        name, pattern = name.lower(), pattern.lower()
    at = place = 0
    star, resume = -1, 0
    while at < len(name):
        if place < len(pattern) and pattern[place] == "*":
            star, resume = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in {"?", name[at]}:
            at, place = at + 1, place + 1
        elif star >= 0:
            resume += 1
            at, place = resume, star + 1
        else:
            return False
    return not pattern[place:].strip("*")
