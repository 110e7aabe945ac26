"""VM descriptors: what the file system beside the disks knows of a VM.

They are records of a store, so an array snapshot freezes them together with the files, and a host
that mounts the copy finds the VM as it was: disks, chains, and the snapshots that were open.  They
are immutable; every change of a chain writes a new one in the same instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.errors import Bug
from stuntdouble.hypervisor.parameters import SE_SPARSE_SUFFIX

if TYPE_CHECKING:
    from stuntdouble.hypervisor.parameters import DiskSpec
    from stuntdouble.ports import Consistency


@dataclass(frozen=True, slots=True)
class DiskRecord:
    """A virtual disk: its files, each with the index of its parent (-1 for the base).

    ``frozen`` says, per VM snapshot id, the index of the file that it froze.
    """

    spec: DiskSpec
    name: str
    files: tuple[tuple[str, int], ...]
    head: int
    frozen: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A VM snapshot; ``parent`` is an id, or empty."""

    id: str
    name: str
    moment: float
    consistency: Consistency
    parent: str
    description: str
    number: int


@dataclass(frozen=True, slots=True)
class VmRecord:
    """A VM, as far as it lies on one datastore; ``current`` is the id of its current snapshot.

    ``uuid`` tells which records on several datastores are one VM's.  ``last_number`` is the number
    that its newest snapshot got, ``written`` the site time of this record.  ``elsewhere`` are its
    disks on other datastores, by key, each with the path of what the VM writes to.
    """

    name: str
    hardware_version: int
    tracking: bool
    disks: tuple[DiskRecord, ...]
    snapshots: tuple[SnapshotRecord, ...]
    current: str
    uuid: str
    last_number: int
    written: float
    elsewhere: tuple[tuple[int, str], ...]

    @property
    def is_home(self) -> bool:
        """Whether the VM's own files lie here, beside its first disk, and not on another datastore."""
        here = min(disk.spec.key for disk in self.disks)
        return all(here < key for key, _ in self.elsewhere)


def descriptor_of(file: str) -> str:
    """Return the name of the descriptor of a disk's file: what a VM's configuration names."""
    for suffix in ("-flat.vmdk", "-delta.vmdk", SE_SPARSE_SUFFIX):
        if file.endswith(suffix):
            return f"{file.removesuffix(suffix)}.vmdk"
    raise Bug(f"{file} is no file of a disk")


def folder_of(name: str) -> str:
    """Return the folder that a VM's files get: its name, with what is no file name escaped."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


def new_uuid(digits: str) -> str:
    """Return 32 hexadecimal *digits* in the form of RFC 9562."""
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
