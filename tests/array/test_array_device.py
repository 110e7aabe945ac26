"""Devices: the bytes of promoted volumes, masking while reading, writes, and damaged storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.array import LocalInitiator
from stuntdouble.clock import run
from stuntdouble.errors import AccessDenied, InvalidState, MediumError, Misuse, NoSpace
from stuntdouble.extents import Runs
from stuntdouble.iops import Purpose
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from stuntdouble.array import LocalLun, Volume

SERVER = "iqn.2026-01.example:backup"
OTHER = "iqn.2026-01.example:other"
BLOCK = 4 * KIB
ALL = Runs.single(0, 4 * MIB)


async def read(device: LocalLun, runs: Runs, **throttle) -> bytes:
    """Return the bytes of *runs*, and make sure that they come in rising order and whole."""
    parts, seen = [], []
    async for span in device.read(runs, Throttle(**throttle)):
        parts.append(bytes(span.data))
        seen.append((span.offset, len(span.data)))
    assert seen == sorted(seen)
    assert Runs.of(seen) == runs
    return b"".join(parts)


async def attached(rack, volume: str, iqn: str = SERVER) -> LocalLun:
    mapping = await rack.port.map_volume(volume, iqn)
    return await LocalInitiator(rack.array, iqn).attach(mapping)


async def copied(rack, volume: Volume, name: str, *, read_only: bool = True) -> LocalLun:
    """Snapshot, promote, map and attach."""
    await rack.port.create_snapshots((volume.naa,), f"{name}-s")
    await rack.port.promote(f"{name}-s", name, read_only=read_only)
    return await attached(rack, name)


def contents(rack, volume: Volume) -> bytes:
    return volume.lun.render(0, volume.lun.blocks).tobytes()


def test_a_copy_reads_as_its_moment_whatever_is_written_later(build) -> None:
    async def main(env) -> None:
        rack = build(env)
        volume = rack.volume()
        with env.entered():
            rack.write(volume, 3, 40)
        frozen = contents(rack, volume)
        device = await copied(rack, volume, "copy")
        assert device.identity == rack.array.volume("copy").naa != volume.naa
        assert device.size_bytes == 4 * MIB
        with env.entered():
            rack.write(volume, 0, 1024)
        assert contents(rack, volume) != frozen
        started = env.now
        assert await read(device, ALL, block_bytes=256 * KIB) == frozen
        assert env.now > started  # bytes take time
        odd = Runs.of([(5, 7), (70_000, 10_000), (4 * MIB - 3, 3)])
        expected = b"".join(frozen[e.start : e.stop] for e in odd)
        assert await read(device, odd, block_bytes=512) == expected
        assert await read(device, Runs.empty()) == b""
        busy = rack.engine.meter.busy
        assert sum(busy(rack.pool.stations, _edges(env), (Purpose.BACKUP,))) > 0

    run(main)


def _edges(env):
    import numpy as np

    return np.array([0.0, env.now])


def test_a_link_carries_every_byte(build) -> None:
    from stuntdouble.iops import link

    async def main(env) -> None:
        rack = build(env)
        station = rack.engine.add_station(link(1e6))
        volume = rack.volume()
        mapping = await rack.port.map_volume("v1", SERVER)
        initiator = LocalInitiator(rack.array, SERVER, link=station)
        assert initiator.iqn == SERVER
        device = await initiator.attach(mapping)
        await read(device, Runs.single(0, MIB))
        carried = rack.engine.meter.busy([station], _edges(env))[0]
        assert carried == pytest.approx(MIB / 1e6)
        assert device.identity == volume.naa

    run(main)


def test_attaching_checks_masking_and_identity(build) -> None:
    from dataclasses import replace

    async def main(env) -> None:
        rack = build(env)
        one, two = rack.volume("v1"), rack.volume("v2")
        mapping = await rack.port.map_volume("v1", SERVER)
        with pytest.raises(AccessDenied):
            await LocalInitiator(rack.array, OTHER).attach(mapping)
        with pytest.raises(AccessDenied):
            await LocalInitiator(rack.array, OTHER).attach(replace(mapping, initiator_iqn=OTHER))
        initiator = LocalInitiator(rack.array, SERVER)
        with pytest.raises(AccessDenied):
            await initiator.attach(replace(mapping, lun=1))
        # the number is used again, for another volume: the identity tells
        await rack.port.unmap_volume("v1", SERVER)
        again = await rack.port.map_volume("v2", SERVER)
        assert again.lun == mapping.lun
        with pytest.raises(InvalidState, match=one.naa):
            await initiator.attach(mapping)
        assert (await initiator.attach(again)).identity == two.naa

    run(main)


def test_a_lun_that_is_unmapped_while_it_is_read_ends_there(build) -> None:
    async def main(env) -> None:
        rack = build(env, pool={"disk_bytes": 32 * MIB})
        volume = rack.volume(size=32 * MIB)
        device = await attached(rack, "v1")
        reading = device.read(Runs.single(0, 32 * MIB), Throttle())
        await anext(reading)
        await rack.port.unmap_volume("v1", SERVER)
        with pytest.raises(AccessDenied, match=volume.naa):
            await anext(reading)
        with pytest.raises(AccessDenied):
            await device.write(0, memoryview(bytes(512)))
        await rack.port.map_volume("v1", SERVER)
        await device.close()
        await device.close()
        with pytest.raises(InvalidState):
            await read(device, ALL)

    run(main)


def test_beyond_the_end_there_is_nothing(build) -> None:
    async def main(env) -> None:
        rack = build(env)
        rack.volume()
        device = await attached(rack, "v1")
        with pytest.raises(Misuse):
            await read(device, Runs.single(4 * MIB - 1, 2))
        for offset in (4 * MIB - 1, -1):
            with pytest.raises(Misuse):
                await device.write(offset, memoryview(b"ab"))

    run(main)


@given(
    st.lists(
        st.tuples(st.integers(0, MIB - 1), st.integers(0, 20_000), st.integers(1, 255)), max_size=6
    ),
    st.booleans(),
)
def test_writes_are_read_back_to_the_byte(build, writes, copy: bool) -> None:
    async def main(env) -> None:
        rack = build(env, map_seconds=0.0, promote_seconds=0.0)
        volume = rack.volume(size=MIB)
        device = (
            await copied(rack, volume, "copy", read_only=False)
            if copy
            else await attached(rack, "v1")
        )
        before = contents(rack, volume)
        expected = bytearray(before)
        for offset, length, value in writes:
            size = min(length, MIB - offset)
            data = bytes([value]) * size
            await device.write(offset, memoryview(data))
            expected[offset : offset + size] = data
        assert await read(device, Runs.single(0, MIB)) == bytes(expected)
        assert contents(rack, volume) == (before if copy else bytes(expected))

    run(main)


def test_a_read_only_volume_refuses_writes(build) -> None:
    async def main(env) -> None:
        rack = build(env)
        device = await copied(rack, rack.volume(), "copy")
        with pytest.raises(AccessDenied, match="read-only"):
            await device.write(0, memoryview(bytes(512)))

    run(main)


def test_a_write_without_room_is_refused(build) -> None:
    async def main(env) -> None:
        rack = build(env, reserve=0)
        device = await copied(rack, rack.volume(), "copy", read_only=False)
        before = await read(device, ALL)
        with pytest.raises(NoSpace):
            await device.write(0, memoryview(bytes(BLOCK)))
        assert await read(device, ALL) == before

    run(main)


def test_a_write_waits_for_the_fence(build) -> None:
    import asyncio

    async def main(env) -> None:
        rack = build(env, fence_seconds=0.5, snapshot_create_seconds=0.0, map_seconds=0.0)
        volume = rack.volume()
        device = await attached(rack, "v1")
        frozen = contents(rack, volume)
        async with asyncio.TaskGroup() as group:
            group.create_task(rack.port.create_snapshots((volume.naa,), "s"))
            await asyncio.sleep(0.1)
            group.create_task(device.write(0, memoryview(bytes(BLOCK))))
            await asyncio.sleep(0.1)
            assert contents(rack, volume) == frozen
        assert env.now > 0.5
        snapshot = rack.array.snapshot("s")
        assert snapshot.created == 0.5
        assert snapshot.image.lun.render(0, 1024).tobytes() == frozen
        assert contents(rack, volume)[:BLOCK] == bytes(BLOCK)

    run(main)


def test_damaged_storage_cannot_be_read_by_anyone_who_shares_it(build) -> None:
    async def main(env) -> None:
        rack = build(env)
        volume = rack.volume()
        other = rack.volume("v2")
        with env.entered():
            rack.write(volume, 8, 1)
        old = await copied(rack, volume, "old")
        with env.entered():
            rack.write(volume, 8, 1)
            rack.array.damage(volume, Runs.of([(8 * BLOCK + 5, 1), (40 * BLOCK, 2 * BLOCK)]))
        new = await copied(rack, volume, "new")
        base = await attached(rack, "v1")
        # block 8 was written between the snapshots: what is damaged is the newer storage
        assert len(await read(old, Runs.single(0, 40 * BLOCK))) == 40 * BLOCK
        for device, offset in ((old, 40 * BLOCK), (new, 8 * BLOCK), (base, 8 * BLOCK)):
            with pytest.raises(MediumError) as broken:
                await read(device, ALL)
            assert broken.value.args == (device.identity, offset)
        assert len(await read(await attached(rack, other.name), ALL)) == 4 * MIB
        with env.entered():
            rack.write(volume, 8, 1)
            rack.write(volume, 40, 2)
        # written over, the volume is whole again; the snapshots are not
        assert await read(base, ALL) == contents(rack, volume)
        for device in (old, new):
            with pytest.raises(MediumError):
                await read(device, ALL)

    run(main)


def test_zeros_of_another_volume_are_not_damaged_with_ours(build, add_disk) -> None:
    async def main(env) -> None:
        rack = build(env)
        volumes = [rack.volume(name) for name in ("v1", "v2")]
        with env.entered():
            for volume in volumes:
                disk = add_disk(rack, volume, 256, zeroed=False)
                rack.site.write(disk, 0, BLOCK)  # its first write zeroes the unit
        assert contents(rack, volumes[1])[BLOCK : 256 * BLOCK] == bytes(255 * BLOCK)
        with env.entered():
            rack.array.damage(volumes[0], Runs.single(8 * BLOCK, BLOCK))
        with pytest.raises(MediumError):
            await read(await attached(rack, "v1"), ALL)
        assert await read(await attached(rack, "v2"), ALL) == contents(rack, volumes[1])

    run(main)


def test_a_block_written_over_with_what_was_there_is_whole_again(build) -> None:
    async def main(env) -> None:
        rack = build(env)
        rack.volume()
        device = await attached(rack, "v1")
        data = memoryview(bytes(range(256)) * 16)
        await device.write(BLOCK, data)
        with env.entered():
            rack.array.damage(rack.array.volume("v1"), Runs.single(0, 3 * BLOCK))
        with pytest.raises(MediumError) as broken:
            await device.write(2 * BLOCK + 1, data[:1])  # the rest of the block is read for it
        assert broken.value.args == (device.identity, 2 * BLOCK)
        await device.write(BLOCK, data)
        assert await read(device, Runs.single(BLOCK, BLOCK)) == data

    run(main)


def test_silent_damage_spoils_bytes_and_leaves_the_truth(build) -> None:
    async def main(env) -> None:
        rack = build(env)
        volume = rack.volume()
        truth = contents(rack, volume)
        device = await copied(rack, volume, "copy")
        with env.entered():
            rack.array.damage(volume, Runs.single(2 * BLOCK, 1), "silent")
        got = await read(device, ALL)
        wrong = [i for i in range(len(got)) if got[i] != truth[i]]
        assert wrong == list(range(2 * BLOCK, 3 * BLOCK))
        assert contents(rack, volume) == truth
        [event] = rack.journal.of("array-damage")
        assert event.facts["mode"] == "silent"

    run(main)


def test_a_reader_that_gives_up_leaves_no_stream_behind(build) -> None:
    async def main(env) -> None:
        rack = build(env, pool={"disk_bytes": 64 * MIB})
        rack.volume(size=64 * MIB)
        device = await attached(rack, "v1")
        reading = device.read(Runs.single(0, 64 * MIB), Throttle())
        await anext(reading)
        await reading.aclose()
        import asyncio

        await asyncio.sleep(1.0)
        assert not env.expecting
        read_bytes = rack.engine.meter.busy(rack.pool.stations, _edges(env))[0] * 500e6
        assert read_bytes < 32 * MIB

    run(main)
