"""The small files of a VM, rendered from its descriptor record when somebody reads them.

    vmx          configuration: display name, identity, disks (by the descriptors of their heads)
    vmdk         a disk's descriptor: content id and its parent's, extent, disk data base
    vmsd         the snapshots, in order of their numbers
    vmware.log   what the journal says of the VM, a line each, by site time

Formats are the documented ones (Virtual Disk Format 5.0; vmx and vmsd as hosts write them), in so
far as a client needs them.  A content id follows from the VM and the file, not from the content.
Times of snapshots are microseconds of site time.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Final

from stuntdouble.hypervisor.parameters import SE_SPARSE_SUFFIX
from stuntdouble.hypervisor.records import descriptor_of
from stuntdouble.ports import Provisioning
from stuntdouble.units import GIB, SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.hypervisor.records import DiskRecord, SnapshotRecord, VmRecord
    from stuntdouble.trace import Event, Journal

_NO_PARENT: Final = "ffffffff"  # Virtual Disk Format 5.0: the parentCID of a base
_UNITS: Final = 15  # of a SCSI bus, for disks: 7 of its 16 is the controller's own
_CONTROLLER: Final = 7  # the unit that a SCSI controller has itself
_MODES: Final = {"independent": "independent-persistent", "multi-writer": "independent-persistent"}


class Logs:
    """The lines of each subject of a journal, found once for all."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._read = 0
        self._lines: dict[str, list[tuple[float, str]]] = {}

    def of(self, subject: str, until: float) -> list[tuple[float, str]]:
        """Return (site time, line) of what was noted of a subject up to a time."""
        for event in islice(self._journal, self._read, None):
            self._lines.setdefault(event.subject, []).append((event.time, _line(event)))
            self._read += 1
        return [line for line in self._lines.get(subject, []) if line[0] <= until]


def _line(event: Event) -> str:
    if "line" in event.facts:
        return str(event.facts["line"])
    facts = ", ".join(f"{name} {value}" for name, value in event.facts.items())
    return f"{event.kind}: {facts}" if facts else event.kind


def log_text(lines: Iterable[tuple[float, str]]) -> str:
    """Return a VM's log."""
    return "".join(f"{time:.6f}s| vmx| {line}\n" for time, line in lines)


def vmx_text(record: VmRecord) -> str:
    """Return a VM's configuration file."""
    disks = {
        disk.spec.key: (disk.spec.mode, _short(descriptor_of(disk.files[disk.head][0])))
        for disk in record.disks
    }
    disks |= {key: ("dependent", path) for key, path in record.elsewhere}
    lines = {
        ".encoding": "UTF-8",
        "config.version": "8",
        "virtualHW.version": str(record.hardware_version),
        "displayName": record.name,
        "uuid.bios": _spaced(record.uuid),
        "ctkEnabled": _truth(record.tracking),
    }
    for index, key in enumerate(sorted(disks)):
        mode, path = disks[key]
        node = node_of(index)
        lines[f"{node.partition(':')[0]}.present"] = "TRUE"
        lines[f"{node}.present"] = "TRUE"
        lines[f"{node}.deviceType"] = "scsi-hardDisk"
        lines[f"{node}.fileName"] = path
        lines[f"{node}.ctkEnabled"] = _truth(record.tracking and mode == "dependent")
        if mode in _MODES:
            lines[f"{node}.mode"] = _MODES[mode]
    return _assignments(lines)


def vmsd_text(record: VmRecord) -> str:
    """Return the list of a VM's snapshots."""
    numbers = {snapshot.id: snapshot.number for snapshot in record.snapshots}
    lines = {
        ".encoding": "UTF-8",
        "snapshot.lastUID": str(record.last_number),
        "snapshot.current": str(numbers.get(record.current, 0)),
        "snapshot.numSnapshots": str(len(numbers)),
    }
    for index, snapshot in enumerate(record.snapshots):
        for name, value in _snapshot_lines(record, snapshot, numbers).items():
            lines[f"snapshot{index}.{name}"] = value
    return _assignments(lines)


def _snapshot_lines(
    record: VmRecord, snapshot: SnapshotRecord, numbers: dict[str, int]
) -> dict[str, str]:
    microseconds = round(snapshot.moment * 1e6)
    lines = {"uid": str(snapshot.number)}
    if snapshot.parent:
        lines["parent"] = str(numbers[snapshot.parent])
    lines |= {
        "displayName": snapshot.name,
        "description": snapshot.description,
        "createTimeHigh": str(microseconds >> 32),
        "createTimeLow": str(microseconds & 0xFFFFFFFF),
    }
    frozen = [
        (index, descriptor_of(disk.files[level][0]))
        for index, disk in enumerate(record.disks)
        for snapshot_id, level in disk.frozen
        if snapshot_id == snapshot.id
    ]
    lines["numDisks"] = str(len(frozen))
    for count, (index, path) in enumerate(frozen):
        lines[f"disk{count}.fileName"] = _short(path)
        lines[f"disk{count}.node"] = node_of(index)
    return lines


def descriptor_text(record: VmRecord, disk: DiskRecord, level: int) -> str:
    """Return the descriptor of one file of a disk."""
    file, parent = disk.files[level]
    kind, extent = "vmfs", "VMFS"
    if parent >= 0:
        kind, extent = "vmfsSparse", "VMFSSPARSE"
        if file.endswith(SE_SPARSE_SUFFIX):
            kind, extent = "seSparse", "SESPARSE"
    above = content_id(record, disk.files[parent][0]) if parent >= 0 else _NO_PARENT
    lines = [
        "# Disk DescriptorFile",
        "version=4" if record.tracking else "version=1",
        'encoding="UTF-8"',
        f"CID={content_id(record, file)}",
        f"parentCID={above}",
        f'createType="{kind}"',
    ]
    if parent >= 0:
        lines.append(f'parentFileNameHint="{_short(descriptor_of(disk.files[parent][0]))}"')
    sectors = disk.spec.capacity_bytes // SECTOR_BYTES
    lines += ["", "# Extent description", f'RW {sectors} {extent} "{_short(file)}"', ""]
    if is_tracked(record, disk):
        lines += ["# Change Tracking File", f'changeTrackPath="{_short(tracking_name(file))}"', ""]
    lines += ["# The Disk Data Base", "#DDB", ""]
    if parent < 0:
        lines.append(_assignments(_database(record, disk)).rstrip("\n"))
    return "\n".join(lines) + "\n"


def content_id(record: VmRecord, file: str) -> str:
    """Return the content id of a disk's file: 8 hexadecimal digits, and no reserved value."""
    return blake2b(f"{record.uuid}/{file}".encode(), digest_size=4).hexdigest().replace("f", "e")


def is_tracked(record: VmRecord, disk: DiskRecord) -> bool:
    """Whether there are change-tracking files beside a disk's."""
    return record.tracking and not disk.spec.obstacle


def tracking_name(file: str) -> str:
    """Return the name of the change-tracking file beside a disk's file."""
    return descriptor_of(file).removesuffix(".vmdk") + "-ctk.vmdk"


def node_of(index: int) -> str:
    """Return where disk number *index* of a VM is attached: a controller and a unit."""
    bus, unit = divmod(index, _UNITS)
    return f"scsi{bus}:{unit + (unit >= _CONTROLLER)}"


def _database(record: VmRecord, disk: DiskRecord) -> dict[str, str]:
    sectors = disk.spec.capacity_bytes // SECTOR_BYTES
    heads, each = (64, 32) if disk.spec.capacity_bytes < GIB else (255, 63)
    lines = {
        "ddb.adapterType": "lsilogic",
        "ddb.geometry.cylinders": str(sectors // (heads * each)),
        "ddb.geometry.heads": str(heads),
        "ddb.geometry.sectors": str(each),
        "ddb.virtualHWVersion": str(record.hardware_version),
    }
    if disk.spec.provisioning is Provisioning.THIN:
        lines["ddb.thinProvisioned"] = "1"
    return lines


def _assignments(lines: dict[str, str]) -> str:
    return "".join(f'{name} = "{_escaped(value)}"\n' for name, value in lines.items())


def _escaped(value: str) -> str:
    """Return a value with what would end it, or the line, written as hosts do: by its code."""
    odd = {'"': "|22", "|": "|7C", "\n": "|0A", "\r": "|0D"}
    return "".join(odd.get(character, character) for character in value)


def _truth(value: bool) -> str:  # noqa: FBT001  (a value to be written, not a switch)
    return "TRUE" if value else "FALSE"


def _short(path: str) -> str:
    """Return a file's name without its folder."""
    return path.rpartition("/")[2]


def _spaced(uuid: str) -> str:
    """Return an identity as configuration files have it: bytes, a dash in the middle."""
    digits = uuid.replace("-", "")
    pairs = [digits[i : i + 2] for i in range(0, len(digits), 2)]
    return f"{' '.join(pairs[:8])}-{' '.join(pairs[8:])}"
