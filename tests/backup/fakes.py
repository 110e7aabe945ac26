"""A hypervisor, an array, an initiator and a repository out of dictionaries of bytes.

Everything lies in blocks of 1 KiB.  A disk file's blocks lie scattered over the volumes of its
datastore, full of somebody else's bytes where the file has none, so a copy that ignores the
offset table is a wrong copy.  While a VM snapshot is open, guest writes go to a delta.  Each
call is counted, guests write at each call, and a fault can be planned for any call number.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from backup.fake_parts import BLOCK, Disk, Image, Vm, Volume
from stuntdouble.errors import ChangeHistoryLost, InvalidState, NotFound, Unreachable
from stuntdouble.extents import OffsetTable, Runs, State
from stuntdouble.ports import (
    ALL_ALLOCATED,
    ChangedPage,
    Consistency,
    DiskInfo,
    Mapping,
    Provisioning,
    Span,
    VmInfo,
    VmSnapshot,
)

VOLUME_BLOCKS = 64
SPAN_BLOCKS = 3
SERVER_IQN = "iqn.2024-01.example:backup"
HOST_IQN = "iqn.2024-01.example:host"


class Estate:
    """The state behind the fakes, and the plan of faults."""

    def __init__(self) -> None:
        self.volumes: dict[str, Volume] = {}
        self.datastores: dict[str, tuple[str, ...]] = {}
        self.free: dict[str, list[tuple[str, int]]] = {}
        self.vms: dict[str, Vm] = {}
        self.images: dict[str, Image] = {}
        self.mappings: list[Mapping] = []
        self.mounts: dict[str, tuple[str, ...]] = {}
        self.registered: dict[str, VmInfo] = {}
        self.open_devices: list[str] = []
        self.frozen: dict[tuple[str, float], dict[int, bytes]] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.faults: dict[int, str] = {}
        self.unwilling: set[str] = set()
        self.stuck_volumes: set[str] = set()
        self.bystander: asyncio.Task[Any] | None = None
        self.victim: asyncio.Task[Any] | None = None
        self.paging = "one"
        self.stuck_pages = False
        self.leave_delta = 0
        self.consolidate_works = True
        self.consolidate_error: Exception | None = None
        self.intruder = ""
        self.in_use_known = True
        self.wrong_mapping = False
        self.lost_disk = 0
        self.quiesce_error: Exception | None = None
        self.latency = 0.0
        self.short_reads = False
        self.invalidate_images = False
        self.serial = 0
        self.churning = True

    # building

    def add_datastore(self, name: str, *naas: str) -> None:
        for naa in naas:
            noise = bytes((7 * i + len(naa)) % 250 + 1 for i in range(VOLUME_BLOCKS))
            data = bytearray(b"".join(bytes([n]) * BLOCK for n in noise))
            self.volumes[naa] = Volume(f"vol-{naa[4:]}", naa, data)
        self.datastores[name] = naas
        spots = [(naa, block) for block in range(VOLUME_BLOCKS) for naa in naas]
        self.free[name] = [spots[i * 29 % len(spots)] for i in range(len(spots))]

    def add_vm(self, name: str, **disks: tuple[str, int]) -> Vm:
        vm = Vm(name, {})
        for text, (datastore, blocks) in disks.items():
            key = int(text[1:])
            vm.disks[key] = Disk(key, datastore, [(State.HOLE, "", 0)] * blocks)
        self.vms[name] = vm
        for disk in vm.disks.values():
            for block in range(0, len(disk.blocks), 2):
                self.write(vm, disk, block, bytes([block + 65]) * BLOCK)
            spot = self.free[disk.datastore].pop()
            disk.blocks[1] = (State.TO_BE_ZEROED, *spot)
        return vm

    # what guests do

    def write(self, vm: Vm, disk: Disk, block: int, data: bytes | None) -> None:
        disk.epochs[-1].add(block)
        if vm.snapshots or vm.consolidation_needed:
            disk.delta[block] = data
        else:
            self._write_base(disk, block, data)

    def _write_base(self, disk: Disk, block: int, data: bytes | None) -> None:
        state, naa, spot = disk.blocks[block]
        if data is None:
            disk.blocks[block] = (State.HOLE, "", 0)
            return
        if state is State.HOLE:
            naa, spot = self.free[disk.datastore].pop()
        disk.blocks[block] = (State.WRITTEN, naa, spot)
        self.volumes[naa].data[spot * BLOCK : (spot + 1) * BLOCK] = data

    def churn(self) -> None:
        """Let every guest write, and now and then give a block back."""
        n = len(self.calls)
        for vm in self.vms.values():
            for disk in vm.disks.values():
                block = (n * 5 + disk.key) % len(disk.blocks)
                data = None if n % 6 == 5 else bytes([n % 250 + 1]) * BLOCK
                self.write(vm, disk, block, data)

    def bytes_of(self, blocks: list[tuple[State, str, int]], volumes: dict[str, Any]) -> bytes:
        return b"".join(
            bytes(volumes[naa][spot * BLOCK : (spot + 1) * BLOCK])
            if state is State.WRITTEN
            else bytes(BLOCK)
            for state, naa, spot in blocks
        )

    def current(self, disk: Disk) -> bytes:
        data = {naa: volume.data for naa, volume in self.volumes.items()}
        image = bytearray(self.bytes_of(disk.blocks, data))
        for block, change in disk.delta.items():
            image[block * BLOCK : (block + 1) * BLOCK] = change or bytes(BLOCK)
        return bytes(image)

    # what a clean job leaves

    def leftovers(self) -> list[str]:
        found = [f"{vm.name}: {id_}" for vm in self.vms.values() for id_ in vm.snapshots]
        found += [f"{vm.name}: delta" for vm in self.vms.values() if vm.consolidation_needed]
        found += [f"array snapshot {name}" for name in self.images]
        found += [f"volume {v.name}" for v in self.volumes.values() if v.promoted_from]
        found += [f"mapping of {m.volume}" for m in self.mappings]
        found += [f"mount {name}" for name in self.mounts]
        found += [f"registered {name}" for name in self.registered]
        return found

    # every call goes through here

    async def call(self, name: str, commit: Any, *facts: Any) -> Any:
        number = len(self.calls)
        self.calls.append((name, facts))
        if self.churning:
            self.churn()
        fault = self.faults.get(number, "")
        if fault == "lost":
            raise Unreachable(f"injected at {name}")
        if fault == "refused" or name in self.unwilling:
            raise InvalidState(f"injected at {name}", "unwilling", "go on")
        if fault == "bug":
            raise ZeroDivisionError
        if fault == "cancel-all":
            for task in asyncio.all_tasks() - {self.bystander}:
                task.cancel()
        if fault == "cancel-before":
            self.victim.cancel()
        await asyncio.sleep(0)
        result = commit()
        if fault == "lost-after":
            raise Unreachable(f"injected after {name}")
        if fault == "cut-after":
            raise asyncio.CancelledError
        if fault == "cancel-after":
            self.victim.cancel()
            await asyncio.sleep(0)
        return result

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial


class Device:
    """Reads blocks; hands out one buffer again and again, as a device may."""

    def __init__(self, estate: Estate, identity: str, image: Any, check: Any) -> None:
        self.estate = estate
        self.identity = identity
        self._image = image
        self._check = check
        self.size_bytes = len(image())
        self.throttles: list[Any] = []
        estate.open_devices.append(identity)

    async def read(self, runs, throttle):
        for start, length in runs.blocks(SPAN_BLOCKS * BLOCK).tolist():
            await self.estate.call("read", self._check, self.identity, start, throttle.depth)
            buffer = bytearray(self._image()[start : start + length])
            yield Span(start, memoryview(buffer))
            buffer[:] = b"\xee" * length
            if self.estate.short_reads:
                return

    async def write(self, offset, data):
        raise AssertionError("a backup never writes to what it backs up")

    async def close(self) -> None:
        def commit() -> None:
            if self.identity in self.estate.open_devices:
                self.estate.open_devices.remove(self.identity)

        await self.estate.call("close", commit)


class Hypervisor:
    def __init__(self, estate: Estate) -> None:
        self.estate = estate

    def _vm(self, name: str) -> Vm:
        if name not in self.estate.vms:
            raise NotFound("VM", name)
        return self.estate.vms[name]

    def _info(self, vm: Vm) -> VmInfo:
        disks = tuple(
            DiskInfo(
                disk.key,
                f"{vm.name}-{disk.key}.vmdk",
                disk.capacity,
                Provisioning.THIN,
                disk.datastore,
                self.estate.datastores[disk.datastore],
                disk.obstacle,
            )
            for disk in vm.disks.values()
        )
        return VmInfo(
            vm.name, True, disks, tuple(vm.snapshots), vm.consolidation_needed, vm.tracking
        )

    async def vms(self):
        estate = self.estate
        return await estate.call(
            "vms",
            lambda: (*(self._info(vm) for vm in estate.vms.values()), *estate.registered.values()),
        )

    async def snapshots(self, vm):
        found = await self.estate.call("vm_snapshots", lambda: self._vm(vm).snapshots, vm)
        return tuple(found.values())

    async def create_snapshot(self, vm, name, *, quiesce):
        if self.estate.intruder:  # somebody else takes one at the same time
            theirs = name if self.estate.intruder == "twin" else "theirs"
            foreign = VmSnapshot(self.estate.intruder, vm, theirs, 0.0, Consistency.CRASH, {})
            self._vm(vm).snapshots[foreign.id] = foreign

        def commit() -> VmSnapshot:
            if quiesce and self.estate.quiesce_error is not None:
                raise self.estate.quiesce_error
            it = self._vm(vm)
            if it.tracking:
                it.tracking_active = True
            moment = float(self.estate.next_serial())
            ids = {}
            for disk in it.disks.values():
                disk.epochs.append(set())
                if it.tracking_active and not disk.obstacle:
                    ids[disk.key] = f"{disk.uuid}/{len(disk.epochs) - 1}"
            consistency = Consistency.APPLICATION if quiesce else Consistency.CRASH
            id_ = f"snapshot-{self.estate.serial}"
            it.snapshots[id_] = VmSnapshot(id_, vm, name, moment, consistency, ids)
            self.estate.frozen[vm, moment] = {
                disk.key: self.estate.current(disk) for disk in it.disks.values()
            }
            return it.snapshots[id_]

        return await self.estate.call("create_snapshot", commit, vm, quiesce)

    async def remove_snapshot(self, snapshot):
        def commit() -> None:
            vm = self._vm(snapshot.vm)
            if vm.snapshots.pop(snapshot.id, None) is None or vm.snapshots:
                return
            if self.estate.leave_delta:
                self.estate.leave_delta -= 1
                vm.consolidation_needed = True
            else:
                self._merge(vm)

        await self.estate.call("remove_snapshot", commit, snapshot.vm)

    def _merge(self, vm: Vm) -> None:
        vm.consolidation_needed = False
        for disk in vm.disks.values():
            delta, disk.delta = disk.delta, {}
            for block, data in delta.items():
                self.estate._write_base(disk, block, data)

    async def consolidate(self, vm):
        def commit() -> None:
            if self.estate.consolidate_error is not None:
                error, self.estate.consolidate_error = self.estate.consolidate_error, None
                raise error
            if not self.estate.consolidate_works:
                raise InvalidState(vm, "locked", "consolidate")
            self._merge(self._vm(vm))

        await self.estate.call("consolidate", commit, vm)

    async def enable_tracking(self, vm):
        def commit() -> None:
            self._vm(vm).tracking = True

        await self.estate.call("enable_tracking", commit, vm)

    def _open(self, snapshot: VmSnapshot) -> Vm:
        vm = self._vm(snapshot.vm)
        if snapshot.id not in vm.snapshots:
            raise NotFound("snapshot", snapshot.id)
        return vm

    async def offset_table(self, snapshot, disk):
        def commit() -> OffsetTable:
            it = self._open(snapshot).disks[disk]
            naas = self.estate.datastores[it.datastore]
            rows = [
                (
                    naas.index(naa) if state else -1,
                    block * BLOCK,
                    spot * BLOCK if state else 0,
                    BLOCK,
                    int(state),
                )
                for block, (state, naa, spot) in enumerate(it.blocks)
            ]
            return OffsetTable(naas, it.capacity, rows)

        return await self.estate.call("offset_table", commit, snapshot.vm)

    async def changed_ranges(self, snapshot, disk, since, start):
        def commit() -> ChangedPage:
            it = self._open(snapshot).disks[disk]
            if since == ALL_ALLOCATED and not self.estate.in_use_known:
                raise ChangeHistoryLost(disk, since)
            if since == ALL_ALLOCATED:
                blocks = {i for i, (state, _, _) in enumerate(it.blocks) if state is not State.HOLE}
            else:
                uuid, number = since.split("/")
                if uuid != it.uuid:
                    raise ChangeHistoryLost(disk, since)
                last = int(snapshot.change_ids[disk].split("/")[1])
                blocks = set().union(*it.epochs[int(number) : last])
            runs = Runs.of((block * BLOCK, BLOCK) for block in blocks)
            return self._page(runs, start, it.capacity)

        return await self.estate.call("changed_ranges", commit, snapshot.vm, since)

    def _page(self, runs: Runs, start: int, capacity: int) -> ChangedPage:
        assert start < capacity, "a query at the capacity fails"
        rest = runs.clip(start, capacity)
        stop = capacity
        if self.estate.paging == "areas" and len(rest) > 2:
            stop = int(rest.stops[1])
        elif self.estate.paging == "span":
            stop = min(capacity, start + 3 * BLOCK)
        elif self.estate.paging == "empty" and rest:
            first = int(rest.starts[0])
            stop = first if first > start else int(rest.stops[0])
        if self.estate.stuck_pages:
            stop = start
        return ChangedPage(start, stop - start, rest.clip(start, stop))

    async def open_disk(self, snapshot, disk, transport):
        def commit() -> Device:
            self._open(snapshot)
            image = self.estate.frozen[snapshot.vm, snapshot.moment][disk]
            name = f"{snapshot.vm}/{disk}"
            return Device(self.estate, name, lambda: image, lambda: self._open(snapshot))

        return await self.estate.call("open_disk", commit, snapshot.vm, transport)

    async def latency_seconds(self, datastore):
        return self.estate.latency

    # the mounted method

    async def mount_copy(self, volumes):
        estate = self.estate

        def commit() -> str:
            for name, mounted in estate.mounts.items():
                if mounted == volumes:
                    return name
            for naa in volumes:
                if not any((m.naa, m.initiator_iqn) == (naa, HOST_IQN) for m in estate.mappings):
                    raise NotFound("volume", naa)
            name = f"snap-{estate.next_serial()}"
            estate.mounts[name] = volumes
            return name

        return await estate.call("mount_copy", commit, volumes)

    def _originals(self, datastore: str) -> dict[str, Image]:
        images = [
            self.estate.images[self.estate.volumes[naa].promoted_from]
            for naa in self.estate.mounts[datastore]
        ]
        return {image.naa: image for image in images}

    async def register_vm(self, datastore, vm):
        def commit() -> VmInfo:
            here = self._originals(datastore)
            source = self._info(self.estate.vms[vm])
            name = f"{vm} on {datastore}"
            disks = tuple(
                replace(disk, datastore=datastore)
                for disk in source.disks
                if set(disk.volumes) == set(here) and disk.key != self.estate.lost_disk
            )
            self.estate.registered[name] = VmInfo(name, False, disks, (), False, False)
            return self.estate.registered[name]

        return await self.estate.call("register_vm", commit, datastore, vm)

    async def open_registered(self, vm, disk, transport):
        def commit() -> Device:
            info = next(d for d in self.estate.registered[vm].disks if d.key == disk)
            here = self._originals(info.datastore)
            blocks = next(iter(here.values())).files[vm.split(" on ")[0]][disk]
            image = self.estate.bytes_of(blocks, {naa: i.data for naa, i in here.items()})
            registered = self.estate.registered
            return Device(self.estate, f"{vm}/{disk}", lambda: image, lambda: registered[vm])

        return await self.estate.call("open_registered", commit, vm)

    async def unregister_vm(self, vm):
        await self.estate.call("unregister_vm", lambda: self.estate.registered.pop(vm, None))

    async def unmount(self, datastore):
        def commit() -> None:
            users = [
                info.name
                for info in self.estate.registered.values()
                if any(disk.datastore == datastore for disk in info.disks)
            ]
            if users:
                raise InvalidState(datastore, f"in use by {users}", "unmount it")
            self.estate.mounts.pop(datastore, None)

        await self.estate.call("unmount", commit)

    async def create_vm(self, name, datastore, disks, provisioning):
        raise AssertionError("a backup creates no VM")

    async def open_target(self, vm, disk):
        raise AssertionError("a backup restores nothing")
