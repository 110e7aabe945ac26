"""Headers of file systems: what each extent says of itself, on the LUN that it is.

    LUN 1   header: uuid, extent 0 of 2, naa.1     files, descriptors of VMs
    LUN 2   header: uuid, extent 1 of 2, naa.2

A header names the device that it was written to.  One found on another device tells of a copy: a
host does not mount it before it has been resignatured, or it would take the copy for the original.
Headers lie on the LUNs, in the site's catalogue, so an array snapshot freezes them with the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import InvalidState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.site import Lun, Store


@dataclass(frozen=True, slots=True)
class VolumeHeader:
    """What an extent of a file system says of itself.

    Args:
        uuid: of the file system.
        label: what it was called when it was formatted.
        name: what it is called: the label, until it is resignatured.
        ordinal: which extent of the file system this is, from 0.
        extents: how many there are.
        naa: the volume that this was written to; on a copy it is that of the original.
    """

    uuid: str
    label: str
    name: str
    ordinal: int
    extents: int
    naa: str


HEADER: Final = "/header"
"""Under which record of a store its header lies; no folder of a VM can be called so."""


def volume_uuid(digits: str) -> str:
    """Return 32 hexadecimal *digits* in the form of a file system's identity (VMFS)."""
    return "-".join((digits[:8], digits[8:16], digits[16:20], digits[20:32]))


def header_of(store: Store) -> VolumeHeader | None:
    """Return the header of what a LUN holds, None where that is no file system's."""
    found = store.records.get(HEADER)
    return found if isinstance(found, VolumeHeader) else None


def header_on(lun: Lun) -> VolumeHeader | None:
    """Return the header that lies on a LUN, None where there is none."""
    return header_of(lun.stores[0]) if lun.stores else None


def write_headers(store: Store, naas: Sequence[str], identity: str, label: str, name: str) -> None:
    """Write the header of each extent of a file system to its LUN."""
    for ordinal, (lun, naa) in enumerate(zip(store.luns, naas, strict=True)):
        if not lun.stores:  # the first LUN has the catalogue itself
            lun.site.create_store([lun], store.fs_blocks, store.fs_blocks)
        lun.stores[0].records[HEADER] = VolumeHeader(
            identity, label, name, ordinal, len(store.luns), naa
        )


def whole_store(luns: Sequence[Lun], naas: Sequence[str]) -> tuple[Store, VolumeHeader]:
    """Return the file system that *luns* are the extents of, in order, and its header.

    Raises:
        InvalidState: they are not.
    """
    first = header_on(luns[0]) if luns else None
    if first is not None:
        found = [header_on(lun) for lun in luns]
        extents = [None if h is None else (h.uuid, h.ordinal) for h in found]
        if extents == [(first.uuid, ordinal) for ordinal in range(first.extents)]:
            return luns[0].stores[0], first
    raise InvalidState(f"what lies on {', '.join(naas)}", "no whole datastore", "mount it")
