"""Volumes of an array as SCSI units: bytes, writes, refusals, fences, pace, and who is told."""

from __future__ import annotations

import asyncio
import inspect

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from stuntdouble.array import Array, Parameters, PoolSpec
from stuntdouble.clock import Environment, run
from stuntdouble.content import known_zeros
from stuntdouble.errors import (
    AccessDenied,
    MediumError,
    NoSpace,
    NotFound,
    TaskInProgress,
    Unreachable,
)
from stuntdouble.extents import Runs
from stuntdouble.iops import FLASH_CHANNEL, Raid, Recorder, Reference
from stuntdouble.iscsi.units import ArrayLuns, ArrayUnit, Naming
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import KIB, MIB

A, B = "iqn.2026-01.example:a", "iqn.2026-01.example:b"
BLOCK = 4 * KIB
SIZE = 4 * MIB


class Rack:
    """An array of one pool with a volume that is mapped to A, as LUN 3."""

    def __init__(
        self, env: Environment | None = None, *, reserve: int = 8 * MIB, **options
    ) -> None:
        self.env = env or Environment()
        self.site = Site(block_bytes=BLOCK)
        engine = Reference(self.env, self.site, 1, Recorder())
        self.array = Array(engine, Streams(1), Journal(), Parameters(chunk_bytes=64 * KIB))
        spec = {"raid": Raid.RAID0, "disks": 4, "disk_bytes": 16 * MIB, "reserve_bytes": reserve}
        pool = self.array.add_pool(PoolSpec("pool-1", FLASH_CHANNEL, **spec))
        self.volume = self.array.create_volume("v", SIZE, pool)
        self.written: list = []
        self.luns = ArrayLuns(
            self.array, Naming("ACME", "DISK", "7"), on_write=self.written.append, **options
        )

    def do(self, request):
        return self.env.run(until=self.env.process(request))

    def mapped(self, name: str = "v", lun: int = 3, initiator: str = A) -> ArrayUnit:
        self.do(self.array.map_volume(name, initiator, lun))
        return self.luns.units(initiator)[lun]

    def content(self, name: str = "v") -> bytes:
        return self.array.show(self.array.volume(name), 0, SIZE // BLOCK).tobytes()


def read(unit, offset, length) -> bytes:
    parts = unit.read(offset, length)
    assert not inspect.isawaitable(parts)
    return b"".join(parts)


def pattern(size, seed=1) -> bytes:
    return bytes((i * 37 + i // 512 + seed) & 0xFF for i in range(512)) * (size // 512)


def test_what_a_unit_says_of_itself() -> None:
    unit = Rack().mapped()
    assert (unit.vendor, unit.product, unit.revision) == ("ACME", "DISK", "7")
    assert (unit.naa, unit.serial) == (unit.volume.naa, unit.volume.serial)
    assert (unit.size_bytes, unit.block_bytes, unit.physical_block_bytes) == (SIZE, 512, BLOCK)
    assert not unit.read_only


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_reads_and_writes_are_those_of_a_plain_file(data) -> None:
    """Whatever is written, zeroed and changed, in whole sectors anywhere, is what is read."""
    rack = Rack()
    unit = rack.mapped()
    rack.site.volume_zero(rack.volume.lun, 0, MIB)
    truth = bytearray(rack.content())
    sectors = SIZE // 512
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, sectors - 1)) * 512
        length = min(data.draw(st.sampled_from([512, 1536, 4096, 70_144, MIB + 512])), SIZE - start)
        kind = data.draw(st.sampled_from(["write", "zero", "change", "read"]))
        made = pattern(length, start // 512 & 0xFF)
        if kind == "write":
            assert unit.write(start, made) is None
            truth[start : start + length] = made
        elif kind == "zero":
            assert unit.zero(start, length, unmap=True) is None
            truth[start : start + length] = bytes(length)
        elif kind == "change":
            before, seen = bytes(truth[start : start + length]), []

            def update(old, seen=seen, made=made):
                seen.append(old)
                return made

            assert unit.change(start, length, update) is None
            assert seen == [before]
            truth[start : start + length] = made
        assert read(unit, start, length) == truth[start : start + length]
    assert read(unit, 0, SIZE) == truth
    assert rack.content() == truth


@given(st.integers(0, 8191), st.integers(1, 3000))
@settings(max_examples=30, deadline=None)
def test_what_is_allocated_is_what_holds_anything(start, count) -> None:
    rack = Rack()
    unit = rack.mapped()
    rack.site.volume_zero(rack.volume.lun, 0, SIZE)
    for at in (0, 5, 6, 400, 1023):
        unit.write(at * BLOCK, pattern(BLOCK))
    offset = start * 512
    length = min(count * 512, SIZE - offset)
    at = offset
    for run_ in unit.allocated(offset, length):
        assert run_.offset == at
        assert run_.length > 0
        for block in range(run_.offset // BLOCK, -(-(run_.offset + run_.length) // BLOCK)):
            assert run_.allocated == (block in (0, 5, 6, 400, 1023))
        at += run_.length
    assert at == offset + length


def test_long_zeros_and_bytes_from_outside_are_not_copied() -> None:
    rack = Rack()
    unit = rack.mapped()
    rack.site.volume_zero(rack.volume.lun, 0, SIZE)
    unit.write(0, pattern(MIB))
    first, second = unit.read(MIB // 2, MIB)
    again, _ = unit.read(MIB // 2, MIB)
    assert first.obj.base is not None
    assert bytes(first) == pattern(MIB)[MIB // 2 :]
    first_at, again_at = (part.obj.__array_interface__["data"][0] for part in (first, again))
    assert first_at == again_at
    assert known_zeros(second)


def test_a_promoted_snapshot_shows_its_moment() -> None:
    rack = Rack()
    base = rack.mapped()
    base.write(0, pattern(MIB))
    before = rack.content()
    rack.do(rack.array.create_snapshots((rack.volume.naa,), "s"))
    rack.do(rack.array.promote("s", "shown"))
    shown = rack.mapped("shown", 4)
    base.write(0, pattern(2 * MIB, 9))
    assert read(shown, 0, SIZE) == before
    assert shown.read_only
    for act in (lambda: shown.write(0, bytes(512)), lambda: shown.zero(0, 512, unmap=True)):
        with pytest.raises(AccessDenied):
            act()
    assert read(shown, 0, SIZE) == before


def test_a_full_reserve_refuses_writes_to_a_promoted_snapshot() -> None:
    rack = Rack(reserve=MIB)
    rack.do(rack.array.create_snapshots((rack.volume.naa,), "s"))
    rack.do(rack.array.promote("s", "shown", read_only=False))
    shown = rack.mapped("shown", 4)
    before = rack.content("shown")
    with pytest.raises(NoSpace):
        shown.write(0, pattern(3 * MIB))
    assert read(shown, 0, 2 * MIB) == pattern(3 * MIB)[:MIB] + before[MIB : 2 * MIB]


@pytest.mark.parametrize("size", [512, MIB])
def test_a_snapshot_that_was_given_up_cannot_be_read(size) -> None:
    rack = Rack(reserve=MIB)
    base = rack.mapped()
    rack.do(rack.array.create_snapshots((rack.volume.naa,), "s"))
    rack.do(rack.array.promote("s", "shown"))
    shown = rack.mapped("shown", 4)
    base.write(0, pattern(2 * MIB))  # more than the reserve can keep for the snapshot
    assert not shown.volume.readable
    with pytest.raises(MediumError):
        shown.read(0, size)


@pytest.mark.parametrize("size", [512, 128 * KIB])
def test_damage_is_told_with_its_place(size) -> None:
    rack = Rack()
    unit = rack.mapped()
    rack.array.damage(rack.volume, Runs.single(16 * BLOCK, BLOCK))
    with pytest.raises(MediumError) as raised:
        unit.read(16 * BLOCK, size)
    assert raised.value.args[1] == 16 * BLOCK
    unit.write(16 * BLOCK, bytes(BLOCK))
    assert read(unit, 16 * BLOCK, BLOCK) == bytes(BLOCK)


def test_a_lost_array_does_not_answer() -> None:
    rack = Rack()
    unit = rack.mapped()
    rack.array.lose()
    for act in (
        lambda: unit.read(0, 512),
        lambda: unit.read(0, MIB),
        lambda: unit.write(0, bytes(512)),
    ):
        with pytest.raises(Unreachable):
            act()


def test_masking_counts_at_every_look() -> None:
    rack = Rack()
    unit = rack.mapped()
    assert rack.luns.units(B) == {}
    assert set(rack.luns.units(A)) == {3}
    assert rack.luns.units(A)[3] is unit
    rack.do(rack.array.unmap_volume("v", A))
    assert rack.luns.units(A) == {}
    with pytest.raises(NotFound):
        unit.write(0, bytes(512))
    assert rack.written == []


def test_what_is_written_is_told_and_can_be_done_again() -> None:
    rack, other = Rack(), Rack()
    unit, twin = rack.mapped(), other.mapped()
    unit.write(512, b"x" * 1024)
    unit.zero(MIB, 5 * 512, unmap=False)
    unit.change(0, 512, lambda old: old[::-1])
    unit.change(0, 512, lambda _old: None)
    assert [(each.offset, each.length, each.data is None) for each in rack.written] == [
        (512, 1024, False), (MIB, 2560, True), (0, 512, False),
    ]  # fmt: skip
    for each in rack.written:
        twin.begin(each.offset, each.length, each.data)
    assert other.content() == rack.content()


def test_a_write_waits_while_a_snapshot_is_taken() -> None:
    async def main(env):
        rack = Rack(env)
        mapping = env.process(rack.array.map_volume("v", A, 3))
        await asyncio.sleep(10)
        assert mapping.processed
        unit = rack.luns.units(A)[3]
        before = rack.content()
        taking = env.process(rack.array.create_snapshots((rack.volume.naa,), "s"))
        fenced = None
        while fenced is None and not taking.processed:
            await asyncio.sleep(0.001)
            if next(rack.array.unfenced(rack.volume.lun), None) is not None:
                fenced = unit.write(0, pattern(BLOCK))
                with pytest.raises(TaskInProgress):
                    unit.change(0, 512, lambda old: old)
        assert fenced is not None
        assert rack.content() == before
        await fenced
        assert taking.processed
        assert read(unit, 0, BLOCK) == pattern(BLOCK)
        image = rack.array.snapshot("s").image
        assert image.lun.render(0, SIZE // BLOCK).tobytes() == before

    run(main)


def test_paced_commands_take_the_time_of_their_io() -> None:
    async def main(env):
        rack = Rack(env, paced=True)
        mapping = env.process(rack.array.map_volume("v", A, 3))
        await asyncio.sleep(10)
        assert mapping.processed
        unit = rack.luns.units(A)[3]
        began = env.now
        await unit.write(0, pattern(2 * MIB))
        wrote = env.now - began
        began = env.now
        parts = await unit.read(0, 2 * MIB)
        assert b"".join(parts) == pattern(2 * MIB)
        assert 0 < env.now - began < 1
        assert 0 < wrote < 1
        left = asyncio.ensure_future(unit.read(0, SIZE))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left

    run(main)
