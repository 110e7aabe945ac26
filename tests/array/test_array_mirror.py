"""Split mirrors: synchronised beforehand, split off in an instant, and synchronised again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stuntdouble.array import LocalInitiator, PoolSpec
from stuntdouble.clock import run
from stuntdouble.content import FIRST_WRITTEN
from stuntdouble.errors import (
    InvalidState,
    LimitReached,
    MediumError,
    NoSpace,
    NotFound,
    Unreachable,
)
from stuntdouble.extents import Runs
from stuntdouble.iops import FLASH_CHANNEL, Raid
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from stuntdouble.array import Mirror, Volume

BLOCK = 4 * KIB
CHUNK = 64 * KIB
CHUNK_BLOCKS = 16
BLOCKS = 8 * CHUNK_BLOCKS
SERVER = "iqn.2026-01.example:backup"
KIND = {"snapshot_kind": "split-mirror"}
INSTANT = dict.fromkeys(("fence_seconds", "snapshot_create_seconds", "promote_seconds", "map_seconds", "delete_seconds", "synchronise_bytes_per_second", "reclaim_bytes_per_second"), 0.0)  # fmt: skip


def prepared(rack, *volumes: Volume) -> int:
    return rack.do(rack.array.prepare(tuple(volume.naa for volume in volumes)))


# What is split off keeps its moment, in any history. ----------------------------------------------


@dataclass
class Shadow:
    """What a volume should hold, and for each of its mirrors what is equal."""

    volume: Volume
    tokens: list[int]
    equal: dict[Mirror, set[int]] = field(default_factory=dict)
    attached: set[Mirror] = field(default_factory=set)


class MirrorMachine(RuleBasedStateMachine):
    """Lists of tokens and sets of chunks against the array; deletions in any order.

    *seen* counts what was done and judged, over all histories.
    """

    def __init__(self, build, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen
        self.rack = build(**KIND, **INSTANT, reserve=8 * MIB)
        self.bases = []
        for name in ("v1", "v2"):
            volume = self.rack.volume(name, BLOCKS * BLOCK)
            self.bases.append(Shadow(volume, volume.lun.tokens(0, BLOCKS).tolist()))
        self.frozen: dict[str, tuple[Shadow, list[int]]] = {}
        self.copies: dict[str, tuple[str, list[int], set[int]]] = {}
        self.serial = 0

    @initialize(splits=st.integers(0, 3), copied=st.booleans(), deleted=st.booleans())
    def begin(self, splits: int, copied: bool, deleted: bool) -> None:
        """Begin somewhere: what needs several steps to come about is met in every few histories."""
        for _ in range(splits):
            self.prepare((0, 1))
            self.split((0, 1))
        if splits and copied:
            self.promoted(min(self.frozen))
            self.copy_written(min(self.copies), 0, 1)
        if splits and deleted:  # then its mirror is there to be synchronised again
            self.deleted(max(self.frozen))

    @rule(
        which=st.integers(0, 1),
        block=st.integers(0, BLOCKS - 1),
        count=st.integers(1, 3 * CHUNK_BLOCKS),
    )
    def write(self, which: int, block: int, count: int) -> None:
        base, count = self.bases[which], min(count, BLOCKS - block)
        first = self.rack.site.writes
        self.rack.write(base.volume, block, count)
        base.tokens[block : block + count] = [FIRST_WRITTEN | first + i for i in range(count)]
        chunks = set(range(block // CHUNK_BLOCKS, (block + count - 1) // CHUNK_BLOCKS + 1))
        for mirror, equal in base.equal.items():
            if mirror not in base.attached:
                equal.difference_update(chunks)

    @rule(which=st.sampled_from([(0,), (1,), (0, 1)]))
    def prepare(self, which: tuple[int, ...]) -> None:
        chosen = [self.bases[i] for i in which]
        expected = 0
        for base in chosen:
            free = [m for m in base.volume.mirrors if m.snapshot is None]
            if not free and len(base.volume.mirrors) == 3:
                with pytest.raises(LimitReached):
                    prepared(self.rack, base.volume)
                return
            lacking = [8 - len(base.equal[m]) for m in free] or [8]
            expected += min(lacking) * CHUNK
        assert prepared(self.rack, *(base.volume for base in chosen)) == expected
        for base in chosen:
            (mirror,) = [m for m in base.volume.mirrors if m.synchronised][:1]
            base.equal[mirror] = set(range(8))
            base.attached.add(mirror)

    @rule(which=st.sampled_from([(0,), (1,), (0, 1)]))
    def split(self, which: tuple[int, ...]) -> None:
        chosen = [self.bases[i] for i in which]
        self.serial += 1
        name = f"s{self.serial}"
        if not all(base.attached for base in chosen):
            with pytest.raises(InvalidState, match="without a synchronised mirror"):
                self.rack.snapshot(*(base.volume for base in chosen), name=name)
            self.seen["not synchronised, not split"] += 1
            return
        for base, made in zip(
            chosen, self.rack.snapshot(*(b.volume for b in chosen), name=name), strict=True
        ):
            base.attached.remove(made.mirror)
            self.frozen[made.name] = base, list(base.tokens)
        self.seen["a group split"] += len(chosen) > 1

    @precondition(lambda self: self.frozen)
    @rule(data=st.data())
    def promote(self, data) -> None:
        self.promoted(data.draw(st.sampled_from(sorted(self.frozen))))

    def promoted(self, name: str) -> None:
        self.serial += 1
        copy = f"c{self.serial}"
        self.rack.do(self.rack.array.promote(name, copy, read_only=False))
        self.copies[copy] = name, list(self.frozen[name][1]), set()

    @precondition(lambda self: self.copies)
    @rule(data=st.data(), block=st.integers(0, BLOCKS - 1), count=st.integers(1, CHUNK_BLOCKS))
    def write_copy(self, data, block: int, count: int) -> None:
        self.copy_written(data.draw(st.sampled_from(sorted(self.copies))), block, count)

    def copy_written(self, copy: str, block: int, count: int) -> None:
        _, tokens, own = self.copies[copy]
        count, first = min(count, BLOCKS - block), self.rack.site.writes
        self.rack.write(self.rack.array.volume(copy), block, count)
        tokens[block : block + count] = [FIRST_WRITTEN | first + i for i in range(count)]
        own |= set(range(block // CHUNK_BLOCKS, (block + count - 1) // CHUNK_BLOCKS + 1))

    @precondition(lambda self: self.frozen)
    @rule(data=st.data())
    def delete(self, data) -> None:
        self.deleted(data.draw(st.sampled_from(sorted(self.frozen))))

    def deleted(self, name: str) -> None:
        for copy in [c for c, (origin, *_) in self.copies.items() if origin == name]:
            self.rack.do(self.rack.array.delete_volume(copy))
            del self.copies[copy]
        self.rack.do(self.rack.array.delete_snapshot(name))
        del self.frozen[name]
        self.seen["deleted"] += 1

    @invariant()
    def every_image_keeps_its_moment(self) -> None:
        for base in self.bases:
            assert base.volume.lun.tokens(0, BLOCKS).tolist() == base.tokens
            for mirror, equal in base.equal.items():
                assert mirror.replica.unequal_bytes == (8 - len(equal)) * CHUNK
        for name, (base, tokens) in self.frozen.items():
            image = self.rack.array.snapshot(name).image
            assert image.lun.tokens(0, BLOCKS).tolist() == tokens
            self.seen["an image that differs from its volume judged"] += tokens != base.tokens
        for copy, (origin, tokens, _) in self.copies.items():
            assert self.rack.array.volume(copy).lun.tokens(0, BLOCKS).tolist() == tokens
            differs = tokens != self.frozen[origin][1]
            self.seen["a copy that differs from its image judged"] += differs

    @invariant()
    def space_adds_up(self) -> None:
        self.rack.settle()
        mirrors = sum(len(base.equal) for base in self.bases)
        pool = self.rack.pool
        assert pool.mirrored_bytes == mirrors * BLOCKS * BLOCK
        assert pool.free_bytes == pool.area_bytes - (2 + mirrors) * BLOCKS * BLOCK
        own = sum(len(own) for _, _, own in self.copies.values())
        assert pool.reserve_used_bytes == own * CHUNK


def test_what_is_split_off_keeps_its_moment(build) -> None:
    seen: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: MirrorMachine(build, seen),
        settings=settings(max_examples=60, stateful_step_count=40),
    )
    for what in (
        "not synchronised, not split",
        "a group split",
        "deleted",
        "an image that differs from its volume judged",
        "a copy that differs from its image judged",
    ):
        assert seen[what], f"never came about: {what}"


# What it costs, and where. -------------------------------------------------------------------------


def test_a_synchronised_volume_is_written_twice_and_a_split_one_once(build) -> None:
    rack = build(**KIND, **INSTANT)
    volume = rack.volume(size=MIB)
    once = rack.site.volume_write(volume.lun, 0, 8 * BLOCK)
    assert prepared(rack, volume) == MIB
    twice = rack.site.volume_write(volume.lun, 0, 8 * BLOCK)
    (mirror,) = volume.mirrors
    assert len(twice) == 2 * len(once) == 2
    assert twice[1][4] == mirror.start_block
    assert twice[1][5] == 8 * BLOCK
    rack.snapshot(volume)
    assert len(rack.site.volume_write(volume.lun, 0, 8 * BLOCK)) == 1
    # a chunk that changed, and not again what changes in it
    rack.site.volume_write(volume.lun, 4 * BLOCK, 8 * BLOCK)
    rack.do(rack.array.delete_snapshot("s"))
    assert prepared(rack, volume) == CHUNK
    assert prepared(rack, volume) == 0


def test_the_pace_of_a_synchronisation_is_kept(build) -> None:
    rack = build(**KIND, **(INSTANT | {"synchronise_bytes_per_second": 1.0 * MIB}))
    volume = rack.volume(size=4 * MIB)
    began = rack.env.now
    prepared(rack, volume)
    assert rack.env.now - began == pytest.approx(4.0, abs=0.3)
    rack.snapshot(volume)
    rack.write(volume, 0, 2 * CHUNK_BLOCKS)
    rack.do(rack.array.delete_snapshot("s"))
    began = rack.env.now
    prepared(rack, volume)
    assert rack.env.now - began < 0.3
    (full, again) = [event.facts for event in rack.journal.of("array-mirror")]
    assert (full["copied_bytes"], again["copied_bytes"]) == (4 * MIB, 2 * CHUNK)


def test_a_mirror_in_a_pool_of_its_own_is_read_from_there(build) -> None:
    async def main(env) -> None:
        rack = build(
            env, **KIND, **(INSTANT | {"synchronise_bytes_per_second": 0.0}), mirror_pool="pool-2"
        )
        spec = PoolSpec("pool-2", FLASH_CHANNEL, Raid.RAID0, 2, 16 * MIB, reserve_bytes=MIB)
        second = rack.array.add_pool(spec)
        volume = rack.volume(size=MIB)
        await rack.port.prepare((volume.naa,))
        assert (rack.pool.mirrored_bytes, second.mirrored_bytes) == (0, MIB)
        await rack.port.create_snapshots((volume.naa,), "s")
        await rack.port.promote("s", "copy")
        mapping = await rack.port.map_volume("copy", SERVER)
        device = await LocalInitiator(rack.array, SERVER).attach(mapping)
        with env.entered():
            lun = rack.array.volume("copy").lun
            steps = rack.site.volume_read(lun, 0, MIB)
            assert {step[3] for step in steps} == {second.number}
            assert [step[3] for step in rack.site.volume_read(volume.lun, 0, MIB)] == [
                rack.pool.number
            ]
        read = [span async for span in device.read(Runs.single(0, MIB), Throttle())]
        assert sum(len(span.data) for span in read) == MIB
        # what is written to the copy takes room of that pool's reserve
        writable = await rack.port.promote("s", "writable", read_only=False)
        with env.entered():
            rack.write(rack.array.volume(writable.name), 0, 1)
        assert (rack.pool.reserve_used_bytes, second.reserve_used_bytes) == (0, CHUNK)
        await rack.port.delete_volume("writable")
        with env.entered():
            assert rack.array.reclaiming_bytes(rack.pool) == 0
            assert rack.array.reclaiming_bytes(second) == CHUNK

    run(main)


def test_space_is_told_by_snapshot_and_gauge(build) -> None:
    rack = build(**KIND, **INSTANT)
    volume = rack.volume(size=MIB)
    prepared(rack, volume)
    [snapshot] = rack.snapshot(volume)
    assert snapshot.info().space_bytes == MIB
    assert rack.gauge("snapshot_bytes", "array-1")[-1] == MIB
    rack.do(rack.array.delete_snapshot("s"))
    assert rack.gauge("snapshot_bytes", "array-1")[-1] == MIB  # kept for the next time
    rack.do(rack.array.delete_mirrors("v1"))
    assert rack.gauge("snapshot_bytes", "array-1")[-1] == 0
    rack.do(rack.array.delete_mirrors("v1"))
    rack.do(rack.array.delete_mirrors("v9"))


# Refusals, and what is cut short. ------------------------------------------------------------------


def test_what_is_not_synchronised_is_not_split(build) -> None:
    rack = build(**KIND, **INSTANT)
    volume, other = rack.volume(size=MIB), rack.volume("v2", MIB)
    with pytest.raises(InvalidState, match="volume v1 is without a synchronised mirror"):
        rack.snapshot(volume)
    prepared(rack, volume)
    with pytest.raises(InvalidState, match="volume v2"):
        rack.snapshot(volume, other)
    [snapshot] = rack.snapshot(volume)
    with pytest.raises(InvalidState, match="volume v1"):  # one mirror is one snapshot
        rack.snapshot(volume, name="again")
    with pytest.raises(InvalidState, match="a mirror of volume v1 is split off for s"):
        rack.do(rack.array.delete_mirrors("v1"))
    assert snapshot.valid


def test_mirrors_are_limited_by_number_and_by_room(build) -> None:
    rack = build(**KIND, **INSTANT, mirrors_per_volume_max=2)
    volume = rack.volume(size=MIB)
    for name in ("a", "b"):
        prepared(rack, volume)
        rack.snapshot(volume, name=name)
    with pytest.raises(LimitReached, match="mirrors of volume v1"):
        prepared(rack, volume)
    large = rack.volume("large", 30 * MIB)
    with pytest.raises(NoSpace, match="pool-1"):
        prepared(rack, large)
    assert rack.pool.mirrored_bytes == 2 * MIB
    with pytest.raises(NotFound, match="no volume with identifier"):
        rack.do(rack.array.prepare(("6000nobody",)))


def test_a_mirror_pool_must_be_there(build) -> None:
    rack = build(**KIND, **INSTANT, mirror_pool="pool-9")
    with pytest.raises(NotFound, match="pool-9"):
        prepared(rack, rack.volume(size=MIB))


def test_other_arrays_have_nothing_to_prepare(rack) -> None:
    volume = rack.volume()
    assert prepared(rack, volume) == 0
    assert rack.env.now == 0.0
    assert volume.mirrors == []


def test_a_synchronisation_that_is_cut_short_goes_on_where_it_was(build) -> None:
    rack = build(**KIND, **(INSTANT | {"synchronise_bytes_per_second": 1.0 * MIB}))
    volume = rack.volume(size=4 * MIB)
    process = rack.env.process(rack.array.prepare((volume.naa,)))
    rack.env.run(until=1.0)
    process.defused = True
    process.interrupt()
    rack.settle()
    (mirror,) = volume.mirrors
    assert not mirror.replica.attached
    left = mirror.replica.unequal_bytes
    assert 2 * MIB < left < 4 * MIB
    rack.write(volume, 0, 1)  # it was equal there
    with pytest.raises(InvalidState):
        rack.snapshot(volume)
    assert prepared(rack, volume) == left + CHUNK
    [snapshot] = rack.snapshot(volume)
    assert snapshot.image.lun.tokens(0, 64).tolist() == volume.lun.tokens(0, 64).tolist()


def test_a_mirror_that_is_being_synchronised_is_not_split(build) -> None:
    rack = build(**KIND, **(INSTANT | {"synchronise_bytes_per_second": 1.0 * MIB}))
    volume = rack.volume(size=4 * MIB)
    process = rack.env.process(rack.array.prepare((volume.naa,)))
    rack.env.run(until=1.0)
    assert volume.mirrors[0].replica.attached
    with pytest.raises(InvalidState, match="without a synchronised mirror"):
        rack.snapshot(volume)
    rack.env.run(until=process)
    assert [snapshot.valid for snapshot in rack.snapshot(volume)] == [True]


def test_what_hosts_write_meanwhile_is_in_the_mirror(build, add_disk) -> None:
    rack = build(**KIND, **(INSTANT | {"synchronise_bytes_per_second": 2.0 * MIB}))
    volume = rack.volume(size=4 * MIB)
    process = rack.env.process(rack.array.prepare((volume.naa,)))
    for at in range(1, 20):
        rack.env.run(until=0.1 * at)
        rack.write(volume, (at * 37) % 900, 5)
    rack.env.run(until=process)
    [snapshot] = rack.snapshot(volume)
    frozen = volume.lun.tokens(0, 1024).tolist()
    rack.write(volume, 0, 1024)
    assert snapshot.image.lun.tokens(0, 1024).tolist() == frozen


def test_a_lost_array_ends_a_synchronisation(build) -> None:
    rack = build(**KIND, **(INSTANT | {"synchronise_bytes_per_second": 1.0 * MIB}))
    process = rack.env.process(rack.array.prepare((rack.volume(size=4 * MIB).naa,)))
    rack.env.run(until=1.0)
    rack.array.lose()
    with pytest.raises(Unreachable):
        rack.env.run(until=process)
    rack.settle()


def test_damage_after_the_split_stays_on_its_side(build) -> None:
    rack = build(**KIND, **INSTANT)
    volume = rack.volume(size=MIB)
    rack.write(volume, 0, 64)
    rack.array.damage(volume, Runs.single(0, BLOCK))
    prepared(rack, volume)
    rack.snapshot(volume)
    copy = rack.do(rack.array.promote("s", "copy"))
    rack.array.damage(volume, Runs.single(CHUNK, BLOCK))
    rack.array.damage(copy, Runs.single(2 * CHUNK, BLOCK))
    for source, bad in ((volume, {0, 1}), (copy, {0, 2})):
        for chunk in range(3):
            if chunk in bad:
                with pytest.raises(MediumError):
                    rack.array.show(source, chunk * CHUNK_BLOCKS, 1)
            else:
                assert rack.array.show(source, chunk * CHUNK_BLOCKS, 1).size == BLOCK


def test_a_deleted_volume_takes_its_mirrors_along(build) -> None:
    rack = build(**KIND, **INSTANT)
    volume = rack.volume(size=MIB)
    prepared(rack, volume)
    assert rack.pool.free_bytes == rack.pool.area_bytes - 2 * MIB
    rack.do(rack.array.delete_volume("v1"))
    assert rack.pool.free_bytes == rack.pool.area_bytes
    assert rack.pool.mirrored_bytes == 0
    assert [event.subject for event in rack.journal.of("array-mirror-deleted")] == ["v1"]
