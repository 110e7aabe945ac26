"""Small files that somebody has put on a datastore: an ISO's readme, a script, a marker; folders.

They take file-system blocks as any file does, and their bytes lie in the catalogue, so that an
array snapshot freezes them with the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import InvalidState, LimitReached, Misuse, NotFound
from stuntdouble.ports import Provisioning
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stuntdouble.hypervisor.datastore import Datastore
    from stuntdouble.site import Store

UPLOAD_BYTES_MAX: Final = 4 * MIB
"""Bytes of one uploaded file.  Chosen: they are kept in memory."""

UPLOADS_MAX: Final = 256
"""Uploaded files of a datastore.  Chosen: with the former, 1 GiB at most."""

PATH_LENGTH_MAX: Final = 2048
"""Characters of a path: what VMFS allows."""

FOLDERS_MAX: Final = 256
"""Folders that were made on a datastore, those of files not counted.  Chosen."""

_UPLOADS: Final = "/uploads"  # records beside the VMs' descriptors; no folder can be called so
_FOLDERS: Final = "/folders"
_CONTROL: Final = 32  # characters below this code are none for a name


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file, and the site time at which it was written."""

    data: bytes
    written: float


def uploads_of(store: Store) -> Mapping[str, Upload]:
    """Return the uploaded files of a store by their paths."""
    found = store.records.get(_UPLOADS)
    return found if isinstance(found, dict) else {}


def put(datastore: Datastore, path: str, data: bytes, now: float) -> None:
    """Write an uploaded file, new or over one of that path.

    Raises:
        Misuse: no path, or too many bytes.
        InvalidState: another file has the path.
        LimitReached: there are too many.
        NoSpace: it does not fit; one that was there is as it was.
    """
    check_path(path)
    store, there = datastore.store, uploads_of(datastore.store)
    if len(data) > UPLOAD_BYTES_MAX:
        text = f"{len(data)} bytes are more than the {UPLOAD_BYTES_MAX} of a file that is kept"
        raise Misuse(f"upload to {path}", text)
    if path not in there and path in store.files:
        raise InvalidState(path, "no uploaded file", "write it")
    if path not in there and len(there) >= UPLOADS_MAX:
        raise LimitReached(f"uploaded files on {datastore.name}", UPLOADS_MAX)
    blocks = -(-len(data) // store.site.block_bytes)
    held = len(store.files[path].places) if path in there else 0
    datastore.require(-(-blocks // store.fs_blocks) - held)
    if path in there:
        datastore.delete(store.files[path])
    datastore.create_flat(path, blocks, Provisioning.EAGER_ZEROED)
    store.records[_UPLOADS] = {**there, path: Upload(data, now)}


def delete(datastore: Datastore, path: str) -> None:
    """Delete an uploaded file.

    Raises:
        NotFound: there is none of that path.
    """
    there = uploads_of(datastore.store)
    if path not in there:
        raise NotFound(f"uploaded file on {datastore.name}", path)
    datastore.delete(datastore.store.files[path])
    left = {name: upload for name, upload in there.items() if name != path}
    datastore.store.records[_UPLOADS] = left


def folders_of(store: Store) -> tuple[str, ...]:
    """Return the folders that somebody has made, by path."""
    found = store.records.get(_FOLDERS)
    return found if isinstance(found, tuple) else ()


def make_folder(datastore: Datastore, path: str) -> None:
    """Make a folder; one that is there already is no matter.

    Raises:
        Misuse: no path.
        LimitReached: there are too many.
    """
    check_path(path)
    there = folders_of(datastore.store)
    if path in there:
        return
    if len(there) >= FOLDERS_MAX:
        raise LimitReached(f"folders made on {datastore.name}", FOLDERS_MAX)
    datastore.store.records[_FOLDERS] = tuple(sorted((*there, path)))


def delete_folders(datastore: Datastore, path: str) -> None:
    """Delete a folder that was made, and those in it."""
    there = folders_of(datastore.store)
    left = tuple(each for each in there if each != path and not each.startswith(f"{path}/"))
    datastore.store.records[_FOLDERS] = left


def check_path(path: str) -> None:
    """Raise Misuse unless *path* is one, relative to a datastore."""
    parts = path.split("/")
    odd = any(part in ("", ".", "..") for part in parts) or any(ord(c) < _CONTROL for c in path)
    if odd or len(path) > PATH_LENGTH_MAX:
        raise Misuse(f"path {path[:80]!r}", "write folder/file, relative to the datastore")
