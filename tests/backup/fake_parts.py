"""What the estate of ``fakes`` is made of: VMs with disks, volumes, and images of volumes."""

from __future__ import annotations

from dataclasses import dataclass, field

from stuntdouble.extents import State
from stuntdouble.ports import ArraySnapshot, VmSnapshot

BLOCK = 1024


@dataclass
class Disk:
    key: int
    datastore: str
    blocks: list[tuple[State, str, int]]
    obstacle: str = ""
    delta: dict[int, bytes | None] = field(default_factory=dict)
    uuid: str = "52de"
    epochs: list[set[int]] = field(default_factory=lambda: [set()])

    @property
    def capacity(self) -> int:
        return len(self.blocks) * BLOCK


@dataclass
class Vm:
    name: str
    disks: dict[int, Disk]
    snapshots: dict[str, VmSnapshot] = field(default_factory=dict)
    tracking: bool = True
    tracking_active: bool = True
    consolidation_needed: bool = False


@dataclass
class Volume:
    name: str
    naa: str
    data: bytearray
    promoted_from: str = ""


@dataclass
class Image:
    """An array snapshot: the bytes of a volume, and the disk files that lay on it."""

    info: ArraySnapshot
    naa: str
    data: bytes
    files: dict[str, dict[int, list[tuple[State, str, int]]]]
