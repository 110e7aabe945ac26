"""The performance counters that there are, and how each of them comes about.

Names, units, levels and texts are those of the vSphere API's lists of datastore, disk, and virtual
disk counters.  A counter that is not emulated is not listed: no processor, memory or network, and nothing
of devices below the datastores.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.units import KIB
from stuntdouble.vsphere.datastores import Datastore
from stuntdouble.vsphere.hardware import bus_of
from stuntdouble.vsphere.hosts import HostSystem
from stuntdouble.vsphere.samples import (
    INTERVAL_SECONDS,
    READ,
    WRITE,
    Samples,
    Sums,
)
from stuntdouble.vsphere.vm import VirtualMachine
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stuntdouble.hypervisor import Vm, VmDisk
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.objects import Managed

    Measure = Callable[["Source", Managed, str, range], float]
    Instances = Callable[["Source", Managed], list[str]]

_BOTH: Final = (READ, WRITE)
AGGREGATE: Final = ""
"""The instance that stands for all of an entity's."""


@dataclass(frozen=True, slots=True)
class Place:
    """A virtual disk, to counters: its name, its datastore, where its samples are."""

    scsi: str
    store: str
    row: int


class Source:
    """Where counters come from: the samples, as the entities of a vCenter see them.

    What has been worked out is kept until ``refresh``: a query asks for the same again and again.
    """

    def __init__(self, center: VirtualCenter) -> None:
        self.center = center
        self.samples = Samples(center.hypervisor.host.engine)
        self._places: dict[Managed, list[Place]] = {}
        self._sums: dict[tuple[Managed, str, range], Sums] = {}

    def refresh(self) -> None:
        """Begin a query: look at what is there now."""
        self.samples.refresh()
        self._places.clear()
        self._sums.clear()

    def _vms(self, of: Managed) -> Iterator[Vm]:
        """Yield the VMs that run on an entity."""
        if isinstance(of, VirtualMachine):
            yield of.vm
            return
        roots = self.center.roots
        for each in roots.vms():
            if not isinstance(of, HostSystem) or roots.host_of(each.vm) is of:
                yield each.vm

    def places(self, of: Managed) -> list[Place]:
        """Return the disks of an entity: of a VM, of those on a host, on a datastore."""
        if of not in self._places:
            found = self._places[of] = []
            for vm in self._vms(of):
                for number, disk in enumerate(vm.disks.values()):
                    if not isinstance(of, Datastore) or disk.datastore is of.store:
                        row = self.samples.disk(vm.guest.name, number)
                        found.append(Place(scsi_name(disk), disk.datastore.uuid, row))
        return self._places[of]

    def sums(self, of: Managed, instance: str, intervals: range) -> Sums:
        """Return what the I/O of an instance came to."""
        key = of, instance, intervals
        if key not in self._sums:
            mine = [p.row for p in self.places(of) if instance in {AGGREGATE, p.scsi, p.store}]
            self._sums[key] = self.samples.sums(np.array(mine, np.int64), intervals)
        return self._sums[key]

    def latency(
        self, of: Managed, instance: str, intervals: range, ways: tuple[int, ...] = _BOTH
    ) -> float:
        """Return the mean latency of I/O in some directions, in seconds; 0 without I/O."""
        sums, there = self.sums(of, instance, intervals), list(ways)
        ios, seconds = int(sums.ios[there].sum()), float(sums.seconds[there].sum())
        return seconds / ios if ios else 0.0

    def highest(self, of: Managed, intervals: range) -> float:
        """Return the highest of the mean latencies of an entity's datastores, in seconds."""
        found = [self.latency(of, uuid, intervals) for uuid in stores_of(self, of)]
        return max(found, default=0.0)


def scsi_name(disk: VmDisk) -> str:
    """Return what a virtual disk is called among counters, such as ``scsi0:1``."""
    controller, unit = bus_of(disk.key)
    return f"scsi{controller}:{unit}"


def stores_of(source: Source, of: Managed) -> list[str]:
    """Return the datastores that an entity's VMs have disks on, or a host has mounted."""
    if isinstance(of, HostSystem):
        return [store.uuid for store in source.center.roots.datastores()]
    return list(dict.fromkeys(place.store for place in source.places(of)))


def _disks_of(source: Source, of: Managed) -> list[str]:
    return [place.scsi for place in source.places(of)]


def _itself(_source: Source, _of: Managed) -> list[str]:
    return [AGGREGATE]


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter: its place in the list is its identifier.

    Args:
        name: group, name and rollup, with points between them.
        unit: of the API.
        stats: "rate" or "absolute".
        levels: of collection, aggregated and per device.
        label: in a table.
        summary: what it says.
        of: the entities that have it, each with its instances.
        measure: returns its value over some intervals.
    """

    name: str
    unit: str
    stats: str
    levels: tuple[int, int]
    label: str
    summary: str
    of: tuple[tuple[type[Any], Instances], ...]
    measure: Measure

    def instances(self, source: Source, entity: Managed) -> list[str]:
        """Return the instances that an entity has of this counter."""
        for kind, instances in self.of:
            if isinstance(entity, kind):
                return instances(source, entity)
        return []

    def described(self, key: int) -> Any:
        """Return the counter as the API describes it."""
        group, *middle, rollup = self.name.split(".")
        return new(
            vim.PerformanceManager.CounterInfo,
            key=key,
            nameInfo=_element(".".join(middle), self.label, self.summary),
            groupInfo=_element(group, *_GROUPS[group]),
            unitInfo=_element(self.unit, *_UNITS[self.unit]),
            rollupType=rollup,
            statsType=self.stats,
            level=self.levels[0],
            perDeviceLevel=self.levels[1],
        )


def _element(key: str, label: str, summary: str) -> Any:
    return new(vim.ElementDescription, key=key, label=label, summary=summary)


_GROUPS: Final = {
    "virtualDisk": ("Virtual disk", "Virtual disk"),
    "datastore": ("Datastore", "Datastore"),
    "disk": ("Disk", "Disk"),
}
_UNITS: Final = {
    "number": ("num", "Number"),
    "kiloBytes": ("KB", "Kilobyte"),
    "kiloBytesPerSecond": ("KBps", "Kilobytes per second"),
    "millisecond": ("ms", "Millisecond"),
    "microsecond": ("µs", "Microsecond"),
}


def _ios(*ways: int) -> Measure:
    """Return what tells how many I/Os there were, a second."""

    def measure(source: Source, of: Managed, instance: str, intervals: range) -> float:
        done = int(source.sums(of, instance, intervals).ios[list(ways)].sum())
        return done / (len(intervals) * INTERVAL_SECONDS)

    return measure


def _kib(*ways: int) -> Measure:
    """Return what tells how many KiB were moved, a second."""

    def measure(source: Source, of: Managed, instance: str, intervals: range) -> float:
        moved = int(source.sums(of, instance, intervals).size_bytes[list(ways)].sum())
        return moved / KIB / (len(intervals) * INTERVAL_SECONDS)

    return measure


def _took(*ways: int, units: float = 1e3) -> Measure:
    """Return what tells the mean latency, in so many units a second."""
    return lambda source, of, instance, intervals: (
        source.latency(of, instance, intervals, ways) * units
    )


def _highest(source: Source, of: Managed, _instance: str, intervals: range) -> float:
    return source.highest(of, intervals) * 1e3


def _capacity(_source: Source, of: Managed, _instance: str, _intervals: range) -> float:
    assert isinstance(of, Datastore), "no other entity has it"
    return of.store.capacity_bytes / KIB


def _used(source: Source, of: Managed, _instance: str, intervals: range) -> float:
    """Return what was in use at the end of the last of the intervals."""
    assert isinstance(of, Datastore), "no other entity has it"
    meter = source.center.hypervisor.host.engine.meter
    line = meter.gauges["datastore_free_bytes", of.store.name]
    until = float(intervals.stop * INTERVAL_SECONDS)
    at = bisect_right([time for time, _ in line], until)
    free = line[at - 1][1] if at else of.store.capacity_bytes
    return (of.store.capacity_bytes - free) / KIB


_BY_DISK: Final = ((VirtualMachine, _disks_of),)
_BY_STORE: Final = ((VirtualMachine, stores_of), (HostSystem, stores_of), (Datastore, _itself))
_BY_STORE_LIVE: Final = ((VirtualMachine, stores_of), (HostSystem, stores_of))
_WHOLE: Final = ((VirtualMachine, _itself), (HostSystem, _itself))
_STORES_OF_HOST: Final = ((HostSystem, stores_of),)
_STORE: Final = ((Datastore, _itself),)
_PER_SECOND: Final = "commands issued per second to the {} during the collection interval"


def _throughput(group: str, what: str, of: Any) -> tuple[Counter, ...]:
    """Return the four counters of I/O and bytes, each by direction."""
    return tuple(
        Counter(name, unit, "rate", levels, label, summary, of, measure)
        for name, unit, levels, label, summary, measure in (
            (
                f"{group}.numberReadAveraged.average", "number", (1, 3),
                "Average read requests per second",
                f"Average number of read {_PER_SECOND.format(what)}", _ios(READ),
            ),
            (
                f"{group}.numberWriteAveraged.average", "number", (1, 3),
                "Average write requests per second",
                f"Average number of write {_PER_SECOND.format(what)}", _ios(WRITE),
            ),
            (
                f"{group}.read.average", "kiloBytesPerSecond", (2, 2), "Read rate",
                f"Rate of reading data from the {what}", _kib(READ),
            ),
            (
                f"{group}.write.average", "kiloBytesPerSecond", (2, 2), "Write rate",
                f"Rate of writing data to the {what}", _kib(WRITE),
            ),
        )
    )  # fmt: skip


def _latencies(group: str, what: str, of: Any) -> tuple[Counter, ...]:
    """Return the counters of latency by direction."""
    text = "Average amount of time for a {} operation {} the " + what
    return tuple(
        Counter(
            f"{group}.total{way}Latency.average", "millisecond", "absolute", (1, 3),
            f"{way} latency", text.format(way.lower(), preposition), of, _took(direction),
        )
        for way, preposition, direction in (("Read", "from", READ), ("Write", "to", WRITE))
    )  # fmt: skip


def _both_ways(group: str, latency: str, label: str, of: Any) -> Any:
    """Return the counters of latency and bytes that do not tell reads from writes."""
    took = "Average amount of time for an I/O operation to complete successfully"
    name, rate = f"{group}.throughput.{latency}.average", "kiloBytesPerSecond"
    used = f"{group}.throughput.usage.average"
    bandwidth = f"{label} throughput usage"
    return (
        Counter(
            name, "millisecond", "absolute", (4, 4), f"{label} throughput contention", took,
            of, _took(*_BOTH),
        ),
        Counter(
            used, rate, "rate", (4, 4), bandwidth, bandwidth, of,
            _kib(*_BOTH),
        ),
    )  # fmt: skip


COUNTERS: Final[tuple[Counter, ...]] = (
    *_throughput("virtualDisk", "virtual disk", _BY_DISK),
    *_latencies("virtualDisk", "virtual disk", _BY_DISK),
    Counter(
        "virtualDisk.readLatencyUS.latest", "microsecond", "absolute", (4, 4),
        "Read Latency (µs)", "Read latency in microseconds", _BY_DISK, _took(READ, units=1e6),
    ),
    Counter(
        "virtualDisk.writeLatencyUS.latest", "microsecond", "absolute", (4, 4),
        "Write Latency (µs)", "Write latency in microseconds", _BY_DISK, _took(WRITE, units=1e6),
    ),
    *_throughput("datastore", "datastore", _BY_STORE),
    *_latencies("datastore", "datastore", _BY_STORE_LIVE),
    *_both_ways("virtualDisk", "cont", "Virtual disk", _BY_DISK),
    *_both_ways("datastore", "contention", "Datastore", _STORE),
    *_both_ways("disk", "contention", "Disk", _WHOLE),
    Counter(
        "datastore.maxTotalLatency.latest", "millisecond", "absolute", (3, 3), "Highest latency",
        "Highest latency value across all datastores used by the host", _WHOLE, _highest,
    ),
    Counter(
        "datastore.datastoreIops.average", "number", "absolute", (1, 3),
        "Storage I/O Control aggregated IOPS", "Aggregate number of IO operations on the datastore",
        _STORES_OF_HOST, _ios(*_BOTH),
    ),
    Counter(
        "datastore.datastoreVMObservedLatency.latest", "microsecond", "absolute", (1, 3),
        "Datastore latency observed by VMs",
        "The average datastore latency as seen by virtual machines", _STORES_OF_HOST, _took(*_BOTH, units=1e6),
    ),
    Counter(
        "disk.usage.average", "kiloBytesPerSecond", "rate", (1, 3), "Usage",
        "Aggregated disk I/O rate", _WHOLE, _kib(*_BOTH),
    ),
    Counter(
        "disk.read.average", "kiloBytesPerSecond", "rate", (2, 3), "Read rate",
        "Average number of kilobytes read from the disk each second during the collection interval",
        _WHOLE, _kib(READ),
    ),
    Counter(
        "disk.write.average", "kiloBytesPerSecond", "rate", (2, 3), "Write rate",
        "Average number of kilobytes written to disk each second during the collection interval",
        _WHOLE, _kib(WRITE),
    ),
    Counter(
        "disk.maxTotalLatency.latest", "millisecond", "absolute", (1, 3), "Highest latency",
        "Highest latency value across all disks used by the host", _WHOLE, _highest,
    ),
    Counter(
        "disk.capacity.latest", "kiloBytes", "absolute", (1, 3), "Capacity",
        "Configured size of the datastore", _STORE, _capacity,
    ),
    Counter(
        "disk.used.latest", "kiloBytes", "absolute", (1, 3), "Space actually used",
        "Amount of space actually used by the virtual machine or the datastore", _STORE, _used,
    ),
)  # fmt: skip
"""Every counter; the first one has the identifier 1."""
