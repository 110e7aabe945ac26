"""A snapshot reserve that is full: both policies, and what clients see of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.array import LocalInitiator
from stuntdouble.content import FIRST_WRITTEN
from stuntdouble.errors import Bug, InvalidState, MediumError, NoSpace
from stuntdouble.extents import Runs
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB, MIB

CHUNK = 64 * KIB
CHUNK_BLOCKS = 16
SERVER = "iqn.2026-01.example:backup"


def test_a_stale_snapshot_is_given_up_oldest_first(build) -> None:
    rack = build(reserve=2 * CHUNK)
    volume = rack.volume()
    other = rack.volume("v2")
    [first] = rack.snapshot(volume, name="first")
    rack.write(volume, 0, 1)
    [second] = rack.snapshot(volume, name="second")
    [foreign] = rack.snapshot(other, name="foreign")
    rack.write(volume, CHUNK_BLOCKS, 1)
    assert rack.pool.reserve_free_bytes == 0
    frozen = second.image.lun.tokens(0, 64).tolist()
    copy = rack.do(rack.array.promote("first", "copy"))
    rack.write(volume, 2 * CHUNK_BLOCKS, 1)  # needs room, so the oldest goes
    assert (first.valid, second.valid, foreign.valid) == (False, True, True)
    assert second.image.lun.tokens(0, 64).tolist() == frozen
    assert first.info().space_bytes == 0
    rack.write(volume, 3 * CHUNK_BLOCKS, 1)  # and the newest
    assert not second.valid
    rack.write(volume, 0, 64)  # no snapshot of the volume is left that would need a copy
    assert foreign.valid
    assert volume.lun.tokens(0, 64).tolist() == [
        FIRST_WRITTEN | n for n in range(rack.site.writes - 64, rack.site.writes)
    ]
    given_up = [event.subject for event in rack.journal.of("array-snapshot-invalid")]
    assert given_up == ["first", "second"]
    assert not copy.readable
    with pytest.raises(InvalidState, match="no longer valid"):
        rack.do(rack.array.promote("first", "copy2"))
    # the remains can be cleared away, and everything is free again
    rack.do(rack.array.delete_volume("copy"))
    for name in ("first", "second", "foreign"):
        rack.do(rack.array.delete_snapshot(name))
    rack.settle()
    assert rack.pool.reserve_used_bytes == 0


def test_a_promoted_volume_of_a_given_up_snapshot_cannot_be_read(build) -> None:
    from stuntdouble.clock import run

    async def main(env) -> None:
        rack = build(env, reserve=CHUNK)
        volume = rack.volume()
        await rack.port.create_snapshots((volume.naa,), "s")
        await rack.port.promote("s", "copy")
        mapping = await rack.port.map_volume("copy", SERVER)
        device = await LocalInitiator(rack.array, SERVER).attach(mapping)
        throttle = Throttle(block_bytes=CHUNK)
        assert [len(s.data) async for s in device.read(Runs.single(0, CHUNK), throttle)] == [CHUNK]
        with env.entered():
            rack.write(volume, 0, CHUNK_BLOCKS + 1)
        [seen] = await rack.port.snapshots()
        assert seen.valid is False
        with pytest.raises(MediumError):
            [span async for span in device.read(Runs.single(0, CHUNK), throttle)]
        with pytest.raises(MediumError):
            rack.array.lun_for(SERVER, mapping.naa)

    run(main)


def test_without_stale_snapshots_the_write_is_refused_and_nothing_changes(build) -> None:
    rack = build(reserve=CHUNK, exhaustion="refuse")
    volume = rack.volume()
    [snapshot] = rack.snapshot(volume)
    rack.write(volume, 0, 1)
    before = volume.lun.tokens(0, 64).tolist()
    with pytest.raises(NoSpace):
        rack.write(volume, CHUNK_BLOCKS - 1, 2)
    assert volume.lun.tokens(0, 64).tolist() == before
    assert snapshot.valid
    assert snapshot.space_bytes == CHUNK
    rack.write(volume, 1, 3)  # a chunk that is kept already needs no room
    rack.do(rack.array.delete_snapshot("s"))
    rack.settle()
    rack.write(volume, CHUNK_BLOCKS - 1, 2)


def test_a_promoted_volume_without_room_never_costs_a_snapshot(build) -> None:
    rack = build(reserve=CHUNK)
    volume = rack.volume()
    [snapshot] = rack.snapshot(volume)
    copy = rack.do(rack.array.promote("s", "copy", read_only=False))
    rack.write(copy, 0, 1)
    with pytest.raises(NoSpace, match="snapshot reserve of pool-1"):
        rack.write(copy, CHUNK_BLOCKS, 1)
    assert snapshot.valid


def test_a_write_to_a_deleted_volume_is_a_bug(build) -> None:
    rack = build(reserve=0)
    rack.snapshot(rack.volume())
    copy = rack.do(rack.array.promote("s", "copy", read_only=False))
    rack.do(rack.array.delete_volume("copy"))
    with pytest.raises(Bug):
        copy.lun.keeper.make_room(copy.lun)


def test_a_paused_guest_goes_on_when_space_comes_free_and_loses_nothing(build, add_disk) -> None:
    rack = build(reserve=4 * CHUNK, exhaustion="refuse", fence_seconds=0.0)
    volume = rack.volume(size=8 * MIB)
    disk = add_disk(rack, volume, 1024)
    load = PoissonLoad(3, "vm", 400.0, (Pattern(0.0, 4096, 4 * MIB),))
    guest = rack.engine.add_guest("vm", [disk], [volume.lun], load)
    paused: list[float] = []

    def pause(_error: NoSpace) -> None:
        paused.append(rack.env.now)
        rack.engine.stun(guest)

    def go_on(pool: str) -> None:
        assert pool == "pool-1"
        if guest.stuns:
            rack.engine.resume(guest)

    guest.on_no_space = pause
    rack.array.on_space_freed.append(go_on)
    rack.engine.start(guest)
    rack.snapshot(volume)
    rack.env.run(until=3.0)
    assert len(paused) == 1
    assert guest.stuns == 1
    done = guest.completed
    rack.do(rack.array.delete_snapshot("s"))
    rack.env.run(until=6.0)
    assert guest.completed > done
    rack.engine.retire(guest)
    rack.env.run(until=7.0)
    assert guest.arrived == guest.completed
    moment = disk.moment(rack.env.now)
    truth = rack.site.truth(moment, 0, disk.blocks)
    assert (
        rack.site.chain_tokens(disk.head, 0, disk.blocks)[truth != 0] == truth[truth != 0]
    ).all()


def test_of_snapshots_with_copies_of_their_own_the_oldest_goes_first(build) -> None:
    rack = build(reserve=3 * CHUNK, copy_policy="copy-into-each")
    volume = rack.volume()
    [first] = rack.snapshot(volume, name="first")
    rack.write(volume, 0, 1)
    [second] = rack.snapshot(volume, name="second")
    frozen = second.image.lun.tokens(0, 64).tolist()
    rack.write(volume, CHUNK_BLOCKS, 1)  # a copy for each
    assert rack.pool.reserve_free_bytes == 0
    assert (first.space_bytes, second.space_bytes) == (2 * CHUNK, CHUNK)
    rack.write(volume, 2 * CHUNK_BLOCKS, 1)  # one is enough once the oldest is gone
    assert (first.valid, second.valid) == (False, True)
    assert rack.pool.reserve_free_bytes == CHUNK
    assert second.image.lun.tokens(0, 64).tolist() == frozen


@pytest.mark.parametrize("policy", ["copy-into-newest", "copy-into-each"])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, 127), st.integers(1, 40)),
            st.tuples(st.just("snapshot"), st.just(0), st.just(0)),
        ),
        max_size=30,
    ),
    st.integers(0, 5),
)
def test_what_is_valid_is_true_and_writes_never_fail(build, policy, history, chunks) -> None:
    instant = {"snapshot_create_seconds": 0.0, "fence_seconds": 0.0}
    rack = build(reserve=chunks * CHUNK, copy_policy=policy, **instant)
    volume = rack.volume(size=MIB)
    frozen = []
    for what, block, count in history:
        if what == "write":
            rack.write(volume, block, count)
        else:
            [snapshot] = rack.snapshot(volume, name=f"s{len(frozen)}")
            frozen.append((snapshot, volume.lun.tokens(0, 256).tolist()))
        valid = [s.valid for s, _ in frozen]
        assert valid == sorted(valid)  # the oldest go first
        for snapshot, tokens in frozen:
            if snapshot.valid:
                assert snapshot.image.lun.tokens(0, 256).tolist() == tokens
        assert rack.pool.reserve_used_bytes == sum(s.space_bytes for s, _ in frozen)
        assert rack.pool.reserve_free_bytes >= 0
