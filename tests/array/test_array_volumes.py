"""Volumes while the array runs: made, grown, renamed, zeroed; lifetimes; independence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.clock import perform, run
from stuntdouble.content import ZERO
from stuntdouble.errors import InvalidState, MediumError, Misuse, NoSpace, NotFound
from stuntdouble.extents import Runs
from stuntdouble.units import KIB, MIB

BLOCK = 4 * KIB
HOST = "iqn.2026-01.example:a"


def contents(volume) -> bytes:
    return volume.lun.render(0, volume.lun.blocks).tobytes()


# Made, grown, renamed. ---------------------------------------------------------------------


def test_a_volume_that_is_made_reads_as_zeros(rack) -> None:
    began, free = rack.env.now, rack.pool.free_bytes
    volume = rack.do(rack.array.make_volume("v1", MIB, "pool-1"))
    assert rack.env.now - began == rack.array.parameters.create_seconds
    assert rack.pool.free_bytes == free - MIB
    assert contents(volume) == bytes(MIB)
    assert volume.created == rack.env.now
    assert rack.array.allocated(volume, 0, MIB) == Runs.empty()
    rack.write(volume, 3, 2)
    assert rack.array.allocated(volume, 0, MIB) == Runs.single(3 * BLOCK, 2 * BLOCK)
    assert rack.array.allocated(volume, 4 * BLOCK + 1, 10) == Runs.single(4 * BLOCK + 1, 10)
    [event] = rack.journal.of("array-volume")
    assert event.facts["naa"] == volume.naa


def test_what_cannot_be_made(rack) -> None:
    rack.volume()
    free = rack.pool.free_bytes
    for wrong, error in (
        (("v1", MIB, "pool-1"), InvalidState),
        (("v2", MIB, "pool-9"), NotFound),
        (("v2", MIB + 1, "pool-1"), Misuse),
        (("v2", 0, "pool-1"), Misuse),
        (("v2", 1 << 40, "pool-1"), NoSpace),
        (("no name", MIB, "pool-1"), Misuse),
    ):
        with pytest.raises(error):
            rack.do(rack.array.make_volume(*wrong))
    assert rack.pool.free_bytes == free
    assert set(rack.array.inventory.volumes) == {"v1"}


@pytest.mark.parametrize("behind", [False, True])
def test_a_volume_grows_where_there_is_room(rack, behind) -> None:
    volume, grown = rack.volume(size=MIB), []
    rack.array.on_resized.append(grown.append)
    if behind:
        rack.volume("v2", MIB)
    rack.write(volume, 0, 8)
    [snapshot] = rack.snapshot(volume)
    before, free = contents(volume), rack.pool.free_bytes
    start = volume.start_block
    assert rack.do(rack.array.grow_volume("v1", 3 * MIB)) is volume
    assert grown == [volume]
    assert (volume.start_block == start) is not behind
    assert rack.pool.free_bytes == free - 2 * MIB
    assert (volume.size_bytes, snapshot.size_bytes) == (3 * MIB, MIB)
    assert contents(volume) == before + bytes(2 * MIB)
    rack.write(volume, 0, 3 * 256)
    assert snapshot.image.lun.render(0, 256).tobytes() == before
    assert snapshot.space_bytes == MIB  # and nothing of what is new
    copy = rack.do(rack.array.promote("s", "c"))
    assert contents(copy) == before
    rack.do(rack.array.delete_volume("c"))
    rack.do(rack.array.delete_snapshot("s"))
    rack.do(rack.array.delete_volume("v1"))
    rack.settle()
    assert rack.pool.reserve_used_bytes == 0
    assert rack.pool.free_bytes == rack.pool.area_bytes - (MIB if behind else 0)


def test_a_promoted_volume_grows_in_the_reserve(build) -> None:
    rack = build(reserve=2 * MIB)
    volume = rack.volume(size=MIB)
    rack.snapshot(volume)
    copy = rack.do(rack.array.promote("s", "c", read_only=False))
    before = contents(copy)
    rack.do(rack.array.grow_volume("c", 2 * MIB))
    assert rack.pool.reserve_used_bytes == MIB
    rack.write(copy, 250, 12)
    assert contents(copy)[: 250 * BLOCK] == before[: 250 * BLOCK]
    assert not any(contents(copy)[262 * BLOCK :])
    with pytest.raises(NoSpace):
        rack.do(rack.array.grow_volume("c", 4 * MIB))
    assert copy.size_bytes == 2 * MIB
    rack.do(rack.array.delete_volume("c"))
    rack.settle()
    assert rack.pool.reserve_used_bytes == 0


def test_what_does_not_grow(rack) -> None:
    volume = rack.volume(size=2 * MIB)
    rack.snapshot(volume)
    rack.do(rack.array.promote("s", "c"))
    for name, size, error in (
        ("v1", MIB, InvalidState),
        ("v1", 3 * MIB + 1, Misuse),
        ("v1", 1 << 40, NoSpace),
        ("c", 4 * MIB, InvalidState),
        ("s", 4 * MIB, NotFound),
    ):
        with pytest.raises(error):
            rack.do(rack.array.grow_volume(name, size))
    assert rack.do(rack.array.grow_volume("v1", 2 * MIB)) is volume
    assert volume.size_bytes == 2 * MIB
    assert not list(rack.journal.of("array-grown"))


def test_a_mirrored_volume_does_not_grow(build) -> None:
    rack = build(snapshot_kind="split-mirror")
    volume = rack.volume(size=MIB)
    rack.do(rack.array.prepare((volume.naa,)))
    with pytest.raises(InvalidState, match="mirrored"):
        rack.do(rack.array.grow_volume("v1", 2 * MIB))


def test_a_name_changes_and_nothing_else(rack) -> None:
    rack.array.hosts.create("one", (HOST,))
    volume = rack.volume()
    rack.volume("v2")
    [snapshot] = rack.snapshot(volume)
    rack.do(rack.array.map_to_host("s", "one"))
    naa = volume.naa
    rack.do(rack.array.rename("v1", "w1"))
    rack.do(rack.array.rename("s", "t"))
    rack.do(rack.array.rename("t", "t"))
    assert list(rack.array.inventory.volumes) == ["w1", "v2"]
    assert (rack.array.volume("w1"), volume.naa) == (volume, naa)
    assert rack.array.snapshot("t") is snapshot
    assert [m.volume for m in rack.array.mappings()] == ["t"]
    for name, new, error in (
        ("v1", "w2", NotFound),
        ("w1", "v2", InvalidState),
        ("w1", "t", InvalidState),
        ("w1", "a b", Misuse),
    ):
        with pytest.raises(error):
            rack.do(rack.array.rename(name, new))
    rack.do(rack.array.unmap_from_host("t", "one"))


# Bytes. ------------------------------------------------------------------------------------


@given(
    ranges=st.lists(
        st.tuples(st.integers(0, 16 * BLOCK - 1), st.integers(1, 5 * BLOCK), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=40)
def test_any_range_is_written_or_zeroed_and_nothing_else(build, ranges) -> None:
    rack = build(chunk_bytes=16 * KIB)
    volume = rack.volume(size=64 * KIB)
    rack.snapshot(volume)
    then = contents(volume)
    model = bytearray(then)
    for number, (offset, wanted, zero) in enumerate(ranges):
        length = min(wanted, 16 * BLOCK - offset)
        if zero:
            steps = rack.array.zero_steps(volume, offset, length)
            model[offset : offset + length] = bytes(length)
        else:
            data = bytes([number + 1]) * length
            steps = rack.array.write_steps(volume, offset, memoryview(data))
            model[offset : offset + length] = data
        assert steps == sorted(steps, key=lambda step: step[0])
    assert contents(volume) == model
    assert rack.array.snapshot("s").image.lun.render(0, 16).tobytes() == then


def test_a_long_range_is_zeroed_in_the_engines_time(rack) -> None:
    volume = rack.volume(size=4 * MIB)
    before, began = contents(volume), rack.env.now
    rack.do(rack.array.zero_volume("v1", 100, 3 * MIB))
    assert contents(volume) == before[:100] + bytes(3 * MIB) + before[3 * MIB + 100 :]
    assert rack.env.now > began
    assert ZERO in volume.lun.tokens(1, 1).tolist()


def test_what_cannot_be_written(rack) -> None:
    volume = rack.volume(size=MIB)
    rack.snapshot(volume)
    copy = rack.do(rack.array.promote("s", "c"))
    with pytest.raises(InvalidState, match="read-only"):
        rack.array.write_steps(copy, 0, memoryview(bytes(512)))
    with pytest.raises(InvalidState, match="read-only"):
        rack.do(rack.array.zero_volume("c", 0, 512))
    for offset, length in ((-1, 512), (MIB - 1, 2), (0, 0)):
        with pytest.raises(Misuse):
            rack.array.zero_steps(volume, offset, length)
    with pytest.raises(Misuse, match="at a time"):
        rack.array.zero_steps(rack.volume("v2", 8 * MIB), 0, 8 * MIB)


# Lifetimes. --------------------------------------------------------------------------------


def test_what_has_expired_goes_by_itself(rack) -> None:
    volume = rack.volume()
    rack.do(rack.array.create_snapshots((volume.naa,), "s", expires_seconds=100.0))
    rack.do(rack.array.promote("s", "c", expires_seconds=20.0))
    snapshot = rack.array.snapshot("s")
    assert snapshot.expires == snapshot.created + 100.0
    rack.env.run(until=snapshot.expires - 0.1)
    assert "c" not in rack.array.inventory.volumes
    assert "s" in rack.array.inventory.snapshots
    rack.env.run(until=snapshot.expires + 0.1)
    assert not rack.array.inventory.snapshots
    assert [e.subject for e in rack.journal.of("array-expired")] == ["c", "s"]


def test_what_is_in_use_goes_once_it_is_not(rack) -> None:
    rack.array.hosts.create("one", (HOST,))
    volume = rack.volume()
    rack.do(rack.array.create_snapshots((volume.naa,), "s", expires_seconds=10.0))
    rack.do(rack.array.promote("s", "c", expires_seconds=5.0))
    rack.do(rack.array.map_to_host("c", "one"))
    rack.env.run(until=rack.env.now + 50.0)
    assert rack.array.snapshot("s").valid
    rack.do(rack.array.unmap_from_host("c", "one"))
    assert set(rack.array.inventory.volumes) == {"v1"}
    assert not rack.array.inventory.snapshots


def test_a_lifetime_changes(rack) -> None:
    volume = rack.volume()
    rack.do(rack.array.create_snapshots((volume.naa,), "s", expires_seconds=10.0))
    rack.do(rack.array.set_lifetime("s", expires_seconds=100.0))
    rack.env.run(until=rack.env.now + 50.0)
    assert rack.array.snapshot("s").valid
    rack.do(rack.array.set_lifetime("s"))
    rack.env.run(until=rack.env.now + 100.0)
    rack.do(rack.array.set_lifetime("s", expires_seconds=1.0))
    rack.env.run(until=rack.env.now + 1.0)
    rack.settle()
    assert not rack.array.inventory.snapshots


def test_what_is_retained_stays(rack) -> None:
    volume = rack.volume()
    snapshots = rack.array.create_snapshots(
        (volume.naa,), "s", expires_seconds=90.0, retain_seconds=50.0
    )
    rack.do(snapshots)
    until = rack.array.snapshot("s").retain_until
    with pytest.raises(InvalidState, match="retained until"):
        rack.do(rack.array.delete_snapshot("s"))
    with pytest.raises(InvalidState, match="retain it for less"):
        rack.do(rack.array.set_lifetime("s", retain_seconds=10.0))
    with pytest.raises(Misuse, match="must stay"):
        rack.do(rack.array.set_lifetime("s", expires_seconds=10.0))
    rack.do(rack.array.set_lifetime("s"))  # does not expire, and is retained as before
    assert (rack.array.snapshot("s").expires, rack.array.snapshot("s").retain_until) == (
        None, pytest.approx(until),
    )  # fmt: skip
    rack.env.run(until=until + 0.1)
    rack.do(rack.array.delete_snapshot("s"))
    rack.do(rack.array.make_volume("v2", MIB, "pool-1"))
    rack.do(rack.array.set_lifetime("v2", retain_seconds=5.0))
    with pytest.raises(InvalidState, match="volume v2 is retained"):
        rack.do(rack.array.delete_volume("v2"))


@pytest.mark.parametrize("wrong", [(0.0, None), (None, -1.0), (1.0, 2.0), (float("inf"), None)])
def test_lifetimes_that_make_no_sense(rack, wrong) -> None:
    volume = rack.volume()
    lifetime = dict(zip(("expires_seconds", "retain_seconds"), wrong, strict=True))
    with pytest.raises(Misuse):
        rack.do(rack.array.create_snapshots((volume.naa,), "s", **lifetime))
    assert not rack.array.inventory.snapshots
    with pytest.raises(Misuse):
        rack.do(rack.array.set_lifetime("v1", **lifetime))


def test_a_run_does_not_wait_for_what_expires(build) -> None:
    async def main(env) -> float:
        rack = build(env)
        volume = rack.volume()
        model = rack.array.create_snapshots((volume.naa,), "s", expires_seconds=1e6)
        await rack.port.map_volume("v1", HOST)
        await perform(env, model)
        return env.now

    assert run(main) < 100.0


# Independence, and snapshots of promoted volumes. ------------------------------------------


def test_an_independent_copy_outlives_its_snapshot_and_its_volume(rack) -> None:
    volume = rack.volume(size=MIB)
    then = contents(volume)
    rack.snapshot(volume)
    rack.write(volume, 0, 64)
    copy = rack.do(rack.array.promote("s", "c", read_only=False, independent=True))
    rack.do(rack.array.delete_snapshot("s"))
    assert copy.info().promoted_from == ""
    rack.snapshot(volume, name="s")  # the name is free
    rack.write(volume, 0, 256)
    rack.do(rack.array.delete_snapshot("s"))
    rack.do(rack.array.delete_volume("v1"))
    assert contents(copy) == then
    assert rack.pool.free_bytes == rack.pool.area_bytes - MIB  # its place is still needed
    rack.volume("v1", MIB)
    rack.write(copy, 3, 1)
    assert contents(copy)[4 * BLOCK :] == then[4 * BLOCK :]
    rack.do(rack.array.delete_volume("c"))
    rack.do(rack.array.delete_volume("v1"))
    rack.settle()
    assert rack.pool.reserve_used_bytes == 0
    assert rack.pool.free_bytes == rack.pool.area_bytes
    assert len(rack.site.luns) == 0


def test_a_dependent_copy_keeps_its_snapshot(rack) -> None:
    volume = rack.volume(size=MIB)
    rack.snapshot(volume)
    rack.do(rack.array.promote("s", "free", independent=True))
    rack.do(rack.array.promote("s", "bound"))
    with pytest.raises(InvalidState, match="promoted to bound"):
        rack.do(rack.array.delete_snapshot("s"))
    rack.do(rack.array.delete_volume("bound"))
    rack.do(rack.array.delete_snapshot("s"))


def test_a_chain_of_independent_copies_goes_from_its_end(rack) -> None:
    then = contents(rack.volume("v0", MIB))
    for n in range(4):
        rack.snapshot(rack.array.volume(f"v{n}"), name=f"s{n}")
        model = rack.array.promote(f"s{n}", f"v{n + 1}", read_only=False, independent=True)
        rack.write(rack.do(model), n * 16, 1)
    last = rack.array.volume("v4")
    wanted = contents(last)
    for n in range(4):
        rack.do(rack.array.delete_snapshot(f"s{n}"))
        rack.do(rack.array.delete_volume(f"v{n}"))
        assert contents(last) == wanted != then
    assert list(rack.array.inventory.volumes) == ["v4"]
    rack.site.reclaim()
    assert contents(last) == wanted
    rack.do(rack.array.delete_volume("v4"))
    rack.settle()
    assert (rack.pool.reserve_used_bytes, len(rack.site.luns)) == (0, 0)
    assert rack.pool.free_bytes == rack.pool.area_bytes


def test_what_an_independent_volume_needs_is_not_given_up(build) -> None:
    rack = build(reserve=192 * KIB)
    volume = rack.volume(size=MIB)
    rack.snapshot(volume, name="needed")
    rack.do(rack.array.promote("needed", "free", independent=True))
    rack.do(rack.array.delete_snapshot("needed"))
    rack.snapshot(volume, name="other")
    free = rack.array.volume("free")
    then = contents(free)
    for chunk in range(3):
        rack.write(volume, chunk * 16, 16)
    with pytest.raises(NoSpace):
        rack.write(volume, 3 * 16, 16)
    assert not rack.array.snapshot("other").valid
    assert contents(free) == then
    assert free.readable


def test_a_snapshot_of_what_was_given_up_is_none(build) -> None:
    rack = build(reserve=128 * KIB)
    volume = rack.volume(size=MIB)
    rack.snapshot(volume)
    copy = rack.do(rack.array.promote("s", "c", read_only=False))
    [inner] = rack.snapshot(copy, name="t")
    rack.do(rack.array.promote("t", "d"))
    for chunk in range(3):
        rack.write(volume, chunk * 16, 16)
    assert not rack.array.snapshot("s").valid
    assert not inner.valid
    for name in ("c", "d"):
        with pytest.raises(MediumError):
            rack.array.show(rack.array.volume(name), 0, 1)
    with pytest.raises(InvalidState):
        rack.do(rack.array.promote("t", "e"))
    with pytest.raises(InvalidState):
        rack.snapshot(copy, name="u")
    for name in ("d", "t", "c", "s"):
        delete = rack.array.delete_snapshot if name in "st" else rack.array.delete_volume
        rack.do(delete(name))
    rack.settle()
    assert rack.pool.reserve_used_bytes == 0


def test_volumes_and_promoted_ones_make_a_group(build) -> None:
    for kind in ("copy-on-write", "redirect-on-write", "split-mirror"):
        rack = build(snapshot_kind=kind)
        volume = rack.volume(size=MIB)
        rack.do(rack.array.prepare((volume.naa,)))
        rack.snapshot(volume)
        copy = rack.do(rack.array.promote("s", "c", read_only=False))
        rack.write(copy, 0, 20)
        rack.do(rack.array.prepare((volume.naa, copy.naa)))
        [one, other] = rack.snapshot(copy, volume, name="g")
        assert (one.volume, other.volume) == (copy, volume)
        then = [contents(copy), contents(volume)]
        rack.write(copy, 10, 20)
        rack.write(volume, 10, 20)
        views = [rack.do(rack.array.promote(f"g.{n}", f"d{n}")) for n in (1, 2)]
        assert [contents(view) for view in views] == then
