"""Files of datastores, as managers change them: folders, uploads, and what a disk is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from stuntdouble.errors import InvalidState, Misuse, NotFound
from stuntdouble.vsphere.browser import MANAGE, file_not_found, files_of, require
from stuntdouble.vsphere.creation import split_path
from stuntdouble.vsphere.hardware import descriptor_of
from stuntdouble.vsphere.objects import Managed, operation
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor import DatastoreFiles
    from stuntdouble.vsphere.datastores import Datastore
    from stuntdouble.vsphere.sessions import Session

_FOLDER: Final = "/folder/"


class FileManager(Managed):
    """``vim.FileManager``: of folders, and of what somebody has uploaded."""

    kind = vim.FileManager

    @operation("MakeDirectory")
    def make_directory(
        self,
        session: Session,
        name: str,
        datacenter: Any = None,
        create_parent_directories: bool | None = None,
    ) -> None:
        _store, path, files = self._opened(session, name, datacenter)
        try:
            files.make_folder(path, parents=bool(create_parent_directories))
        except Misuse:
            raise vim.fault.InvalidDatastorePath(datastorePath=name) from None
        except InvalidState:
            raise vim.fault.FileAlreadyExists(file=name) from None
        except NotFound:
            raise file_not_found(name.rpartition("/")[0]) from None

    @operation("DeleteDatastoreFile_Task")
    def delete_datastore_file(self, session: Session, name: str, datacenter: Any = None) -> Any:
        """Delete an upload, or a folder of them; a VM's files go with the VM."""
        store, path, files = self._opened(session, name, datacenter)

        def model() -> Generator[Event, Any, None]:
            yield self.center.env.timeout(0)
            try:
                files.delete(path)
            except NotFound:
                raise file_not_found(name) from None
            except InvalidState as error:
                raise vim.fault.CannotDeleteFile(file=name, msg=str(error)) from None

        return self.center.tasks.start(store, "DeleteDatastoreFile_Task", model())

    def _opened(
        self, session: Session, name: str, datacenter: Any
    ) -> tuple[Datastore, str, DatastoreFiles]:
        """Return the datastore that a path or a URL names, the path on it, and its files."""
        if datacenter is not None:
            self.center.resolve_as(datacenter, type(self.center.roots.datacenter), "datacenter")
        named, path = _of_url(name) if "://" in name else split_path(name, "name")
        store = self.center.roots.datastore(named)
        if store is None:
            raise vim.fault.InvalidDatastore(name=named, msg=f"No datastore {named!r} is here.")
        require(session, store, MANAGE)
        return store, path.strip("/"), files_of(self.center, store)


def _of_url(name: str) -> tuple[str, str]:
    """Return datastore and path of ``https://host/folder/path?dcPath=...&dsName=...``."""
    try:
        parts = urlsplit(name)
    except ValueError:
        raise vim.fault.InvalidDatastorePath(datastorePath=name) from None
    stores = parse_qs(parts.query).get("dsName", [])
    if len(stores) != 1 or not parts.path.startswith(_FOLDER):
        raise vim.fault.InvalidDatastorePath(datastorePath=name)
    return stores[0], unquote(parts.path.removeprefix(_FOLDER))


class VirtualDiskManager(Managed):
    """``vim.VirtualDiskManager``, as far as it tells of disks."""

    kind = vim.VirtualDiskManager

    @operation("QueryVirtualDiskUuid")
    def query_virtual_disk_uuid(self, session: Session, name: str, datacenter: Any = None) -> str:
        """Return the SCSI identity of a disk, in pairs of digits."""
        del session, datacenter
        store, path = split_path(name, "name")
        for vm in self.center.hypervisor.vms.values():
            for disk in vm.disks.values():
                names = {descriptor_of(level.file.name) for level in disk.chain.levels}
                if disk.datastore.name == store and path in names:
                    digits = self.center.uuid("disk", vm.uuid, str(disk.key)).replace("-", "")
                    pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
                    return f"{' '.join(pairs[:8])}-{' '.join(pairs[8:])}"
        raise file_not_found(name)
