"""The NBD client behind the port, against the server over sockets, in wall time and on any loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
import pytest

from hypervisor.bench import BLOCK
from nbd.world import RATE, SIZE, serve
from stuntdouble.clock import Environment, perform
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    MediumError,
    Misuse,
    NoSpace,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators import connect
from stuntdouble.nbd import Fixed, Limits, Rendered, Server, export_name
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB, MIB

pytestmark = pytest.mark.paced


def wall(seconds):
    return seconds * RATE


async def contents(device, runs=None, **throttle):
    """Read a device; return its bytes, zeros where not asked, and the spans."""
    found, spans = bytearray(device.size_bytes), []
    runs = Runs.single(0, device.size_bytes) if runs is None else runs
    async for span in device.read(runs, Throttle(**throttle)):
        found[span.offset : span.offset + len(span.data)] = span.data
        spans.append((span.offset, len(span.data)))
    return bytes(found), spans


async def snapshot_device(world, **kw):
    taken = await world.snapshot()
    name = export_name("snapshot", taken.id, 2000)
    return taken, await connect(world.uri(name), wall_seconds=wall, **kw)


async def off_device(world, name="vm/vm/2000"):
    await perform(world.rig.env, world.rig.hypervisor.power_off("vm"))
    return await connect(world.uri(name), wall_seconds=wall)


# Reading. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("paced", [False, True])
def test_a_snapshot_reads_as_the_site_has_it(paced):
    async def scenario(world):
        taken, device = await snapshot_device(world)
        assert (device.identity, device.size_bytes) == (
            world.uri(f"snapshot/{taken.id}/2000"),
            SIZE,
        )
        for throttle in ({}, {"depth": 1, "block_bytes": 64 * KIB}, {"block_bytes": 100 * KIB}):
            found, spans = await contents(device, **throttle)
            assert found == world.frozen(taken)
            assert spans == [(0, SIZE)]
        odd = Runs.of([(0, 1), (100 * BLOCK + 7, 5000), (2 * MIB - 3, 6), (SIZE - 1, 1)])
        found, spans = await contents(device, odd, block_bytes=KIB)
        want = world.frozen(taken)
        for start, length in odd:
            assert found[start : start + length] == want[start : start + length]
        assert spans == [tuple(extent) for extent in odd]
        assert await contents(device, Runs.empty()) == (bytes(SIZE), [])
        await device.close()
        await device.close()
        with pytest.raises(InvalidState, match="closed"):
            await contents(device)
        return any(want)

    assert serve(scenario, paced=paced)


def test_a_paced_read_takes_the_models_time_and_an_unpaced_none():
    async def read(world):
        _, device = await snapshot_device(world)
        with world.rig.env.entered():
            began = world.rig.env.now
        await contents(device)
        await device.close()
        with world.rig.env.entered():
            window = np.array([began, world.rig.env.now])
            return [float(world.rig.engine.meter.busy([n], window)[0]) for n in (0, 1)]

    assert max(serve(read, iops=0.0)) < 1e-9
    disk, network = serve(read, iops=0.0, paced=True)
    assert disk > 1e-4
    assert network > 1e-4


def test_status_comes_through_the_client():
    async def scenario(world):
        first = await world.snapshot()
        await asyncio.sleep(2)
        since = f"qemu:dirty-bitmap:{first.change_ids[2000]}"
        unknown = "qemu:dirty-bitmap:nonsense"
        taken, device = await snapshot_device(world, contexts=("base:allocation", since, unknown))
        table = await world.port.offset_table(taken, 2000)
        page = await world.port.changed_ranges(taken, 2000, first.change_ids[2000], 0)
        allocation = await device.status("base:allocation", 0, SIZE)
        dirty = await device.status(since, 0, SIZE)
        with pytest.raises(NotFound, match="nonsense"):
            await device.status(unknown, 0, SIZE)
        assert sum(length for length, _ in allocation) == SIZE == sum(size for size, _ in dirty)
        assert await device.status(since, SIZE - 512, 512) == [(512, dirty[-1][1])]
        await device.close()
        return allocation, [row.state for row in table], dirty, page.extents

    allocation, states, dirty, extents = serve(scenario)
    assert [flags for _, flags in allocation if flags] == [3] * sum(
        flags != 0 for _, flags in allocation
    )
    assert {0, 3} == {flags for _, flags in allocation}
    assert len(states) >= len(allocation)
    at, found = 0, []
    for length, flags in dirty:
        if flags:
            found.append((at, length))
        at += length
    assert Runs.of(found) == extents
    assert found


# Throttles. ---------------------------------------------------------------------------------------


def test_a_rate_is_kept_and_the_last_byte_is_waited_for():
    async def scenario(world):
        _, device = await snapshot_device(world)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await contents(device, block_bytes=256 * KIB, bytes_per_second=float(MIB))
        took = loop.time() - began
        await device.close()
        return took

    assert SIZE / MIB <= serve(scenario) < 2 * SIZE / MIB


def test_reads_share_a_throttle_and_leave_it():
    async def scenario(world):
        taken, device = await snapshot_device(world)
        other = await connect(world.uri(f"snapshot/{taken.id}/2001"), wall_seconds=wall)
        throttle = Throttle(depth=3, block_bytes=128 * KIB, bytes_per_second=2.0 * MIB)
        seen = []

        async def read(which):
            found = bytearray(SIZE)
            async for span in which.read(Runs.single(0, SIZE), throttle):
                found[span.offset : span.offset + len(span.data)] = span.data
                seen.append(sorted(share.depth for share in throttle._shares))
            return bytes(found)

        began = asyncio.get_running_loop().time()
        both = await asyncio.gather(read(device), read(other))
        took = asyncio.get_running_loop().time() - began
        assert not throttle._shares
        for which in (device, other):
            await which.close()
        return both, (world.frozen(taken), world.frozen(taken, 2001)), took, seen

    both, want, took, seen = serve(scenario)
    assert tuple(both) == want
    assert took >= 2 * SIZE / (2 * MIB)
    assert [1, 2] in seen


def test_a_lower_limit_is_obeyed_by_a_read_under_way():
    async def scenario(world):
        _, device = await snapshot_device(world)
        throttle = Throttle(depth=8, block_bytes=64 * KIB, bytes_per_second=float(MIB))
        depths, read = [], device._link.read
        link = device._link

        def watched(offset, target):
            depths.append(len(link._pending))
            return read(offset, target)

        link.read = watched
        task = asyncio.create_task(contents_with(device, throttle))
        await asyncio.sleep(1)
        throttle.limit(depth=1, bytes_per_second=0.0)
        mark = len(depths)
        found = await task
        await device.close()
        return found, depths[mark + 8 :]

    async def contents_with(device, throttle):
        found = bytearray(SIZE)
        async for span in device.read(Runs.single(0, SIZE), throttle):
            found[span.offset : span.offset + len(span.data)] = span.data
        return bytes(found)

    found, depths = serve(scenario)
    assert any(found)
    assert depths
    assert set(depths) == {0}


def test_a_read_that_is_given_up_leaves_its_throttle():
    async def scenario(world):
        _, device = await snapshot_device(world)
        throttle = Throttle(depth=2, block_bytes=64 * KIB, bytes_per_second=float(MIB))
        async for _ in (spans := device.read(Runs.single(0, SIZE), throttle)):
            break
        await spans.aclose()
        await asyncio.sleep(0.5)
        assert not throttle._shares
        found, _ = await contents(device)  # the link goes on
        await device.close()
        return any(found)

    assert serve(scenario)


# Writing. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("paced", [False, True])
@pytest.mark.parametrize("key", [2000, 2001])
def test_writes_of_any_alignment_are_on_the_disk(key, paced):
    async def scenario(world):
        device = await off_device(world, f"vm/vm/{key}")
        disk = world.vm.disks[key].disk
        want = bytearray(world.shown(disk.head, key))
        pieces = [(0, 4096), (4095, 2), (10_000, 1), (99 * BLOCK + 5, 3 * MIB), (SIZE - 700, 700)]
        for number, (offset, length) in enumerate(pieces):
            data = bytes((number * 37 + i) % 251 for i in range(length))
            await device.write(offset, memoryview(data))
            want[offset : offset + length] = data
        await device.flush()
        found, _ = await contents(device)
        assert found == world.shown(disk.head, key)
        # Side by side, in one content block: none loses what the other has written.
        await asyncio.gather(
            *(device.write(BLOCK * 7 + 16 * i, memoryview(bytes([i] * 16))) for i in range(64))
        )
        for i in range(64):
            want[BLOCK * 7 + 16 * i : BLOCK * 7 + 16 * i + 16] = bytes([i] * 16)
        shown = world.shown(disk.head, key)
        await device.close()
        return shown, bytes(want)

    found, want = serve(scenario, paced=paced)
    assert found == want


def test_what_may_not_be_written_is_refused():
    async def scenario(world):
        _, frozen = await snapshot_device(world)
        running = await connect(world.uri("vm/vm/2000"), wall_seconds=wall)
        for device in (frozen, running):
            with pytest.raises(AccessDenied, match="read-only"):
                await device.write(0, memoryview(bytes(512)))
            await device.close()

    serve(scenario)


def test_a_writer_learns_that_the_vm_has_been_started():
    async def scenario(world):
        device = await off_device(world)
        await device.write(0, memoryview(bytes(BLOCK)))
        await perform(world.rig.env, world.rig.hypervisor.power_on("vm"))
        before = world.shown(world.vm.disks[2000].disk.head)
        with pytest.raises(AccessDenied, match="vm/vm/2000 is read-only"):
            await device.write(0, memoryview(b"x" * BLOCK))
        assert world.shown(world.vm.disks[2000].disk.head)[:BLOCK] == before[:BLOCK]
        await device.close()

    serve(scenario, iops=0.0)


def test_a_full_datastore_is_said_so():
    async def scenario(world):
        device = await off_device(world)
        with pytest.raises(NoSpace, match="is full"):
            await device.write(0, memoryview(bytes(b"x" * SIZE)))
        await device.close()

    serve(scenario, lun_bytes=SIZE + MIB + MIB // 2)


# What goes wrong. ---------------------------------------------------------------------------------


def test_a_snapshot_that_goes_ends_its_export():
    async def scenario(world):
        taken, device = await snapshot_device(world)
        await world.port.remove_snapshot(taken)
        with pytest.raises(Unreachable, match="no snapshot of vm"):
            await contents(device)
        with pytest.raises(NotFound, match="NBD export"):
            await connect(world.uri(f"snapshot/{taken.id}/2000"), wall_seconds=wall)
        await device.close()

    serve(scenario)


def test_a_damaged_block_is_a_medium_error_and_the_rest_can_be_read():
    async def scenario(world):
        taken, device = await snapshot_device(world)
        table = await world.port.offset_table(taken, 2000)
        row = next(row for row in table if row.state == 2)
        with world.rig.env.entered():
            world.rig.luns[0].damage(Runs.single(row.volume_offset, BLOCK), "error")
        with pytest.raises(MediumError, match="unrecoverable read error"):
            await contents(device, Runs.single(row.file_offset, BLOCK))
        rest = Runs.single(0, SIZE) - Runs.single(row.file_offset, BLOCK)
        found, _ = await contents(device, rest, block_bytes=BLOCK)
        await device.close()
        return any(found)

    assert serve(scenario)


def test_a_lost_connection_is_unreachable():
    async def scenario(world):
        _, device = await snapshot_device(world)
        reading = asyncio.create_task(
            contents(device, block_bytes=64 * KIB, bytes_per_second=float(MIB))
        )
        await asyncio.sleep(1)
        await world.server.close()
        with pytest.raises(Unreachable, match="snapshot"):
            await reading
        with pytest.raises(Unreachable):
            await contents(device)
        await device.close()

    serve(scenario)


def test_requests_beyond_the_end_never_leave():
    async def scenario(world):
        device = await off_device(world)
        with pytest.raises(Misuse, match="beyond its end"):
            await contents(device, Runs.single(SIZE - 1, 2))
        with pytest.raises(Misuse, match="beyond its end"):
            await device.write(SIZE - 1, memoryview(b"ab"))
        assert device._link._cookie == 0
        await device.close()

    serve(scenario)


@pytest.mark.parametrize(
    ("uri", "error", "match"),
    [
        ("http://localhost/x", Misuse, "no NBD URI"),
        ("nbd:///x", Misuse, "no NBD URI"),
        ("nbd://localhost:x/y", Misuse, "use nbd://"),
        ("nbds://localhost/x", Unsupported, "nbds://"),
        ("nbd+unix:///x?socket=s", Unsupported, "unix"),
        ("nbd://127.0.0.1:1/x", Unreachable, "does not answer"),
    ],
)
def test_what_cannot_be_opened_says_why(uri, error, match):
    with pytest.raises(error, match=match):
        asyncio.run(connect(uri))


def answering(reply: bytes):
    """Return what connecting to a server that says *reply* raises."""

    async def main():
        ended = asyncio.Event()

        async def speak(reader, writer):
            writer.write(reply)
            with suppress(ConnectionError):
                await reader.read(100)
                writer.close()
                await writer.wait_closed()
            ended.set()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await connect(f"nbd://127.0.0.1:{port}/x", wall_seconds=lambda s: s / 100)
        finally:
            await ended.wait()
            server.close()
            await server.wait_closed()

    asyncio.run(main())


def test_who_is_no_nbd_server_is_told_from_one():
    with pytest.raises(Misuse, match="not that of the newstyle"):
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(Unsupported, match="fixed newstyle"):
        answering(b"NBDMAGICIHAVEOPT\0\0")
    with pytest.raises(TimedOut, match="longer than"):
        answering(b"NBDM")
    with pytest.raises(Unreachable, match="hung up"):
        answering(b"NBDMAGICIHAVEOPT\0\3")


# On an ordinary loop. -----------------------------------------------------------------------------


class Flat(Rendered):
    """Bytes from memory, on a loop without a site."""

    def __init__(self, name, data):
        self.data = data
        super().__init__(name, "flat", len(data), 512, Environment(), self._rows)

    def _rows(self, first, count):
        part = self.data[first * 512 : (first + count) * 512]
        return [np.frombuffer(part, np.uint8).reshape(-1, 512)]


def test_it_works_on_an_ordinary_loop():
    data = bytes(range(256)) * 2 * 4099

    async def main():
        server = Server(Fixed([Flat("flat", data)]), limits=Limits(requests=2))
        await server.start("127.0.0.1", 0)
        uri = f"nbd://127.0.0.1:{server.address[1]}/flat"
        devices = [await connect(uri) for _ in range(3)]
        found = await asyncio.gather(*(contents(d, block_bytes=64 * KIB) for d in devices))
        assert server.connections == 3
        for device in devices:
            await device.close()
        await server.close()
        return found

    for found, spans in asyncio.run(main()):
        assert found == data
        assert spans == [(0, len(data))]
