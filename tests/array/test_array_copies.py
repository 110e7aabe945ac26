"""Physical copies and reverts: what they hold, what they take, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.errors import (
    InvalidState,
    MediumError,
    NoSpace,
    NotFound,
    Unreachable,
)
from stuntdouble.extents import Runs
from stuntdouble.site import Role
from stuntdouble.units import KIB, MIB

BLOCK = 4 * KIB
HOST = "iqn.2026-01.example:a"


def contents(volume) -> bytes:
    return volume.lun.render(0, volume.lun.blocks).tobytes()


def shown(snapshot) -> bytes:
    return snapshot.image.lun.render(0, snapshot.image.lun.blocks).tobytes()


# Copies. -----------------------------------------------------------------------------------


def test_a_copy_holds_what_the_source_held_when_it_began(rack) -> None:
    volume, target = rack.volume(size=2 * MIB), rack.volume("v2", 3 * MIB)
    then, rest = contents(volume), contents(target)[2 * MIB :]
    task = rack.do(rack.array.start_copy("v1", "v2"))
    assert (task.state, task.total_bytes, task.done_bytes) == ("active", 2 * MIB, 0)
    assert rack.array.tasks == {task.id: task}
    rack.write(volume, 0, 512)
    rack.env.run(until=task.created + 0.01)
    assert 0 < task.done_bytes < 2 * MIB
    rack.env.run(until=task.ended)
    assert (task.state, task.error, task.done_bytes) == ("done", None, 2 * MIB)
    assert task.finished == rack.env.now
    assert contents(target) == then + rest
    rack.settle()
    assert rack.pool.reserve_used_bytes == 0
    assert len(rack.site.luns) == 2
    for name in ("v1", "v2"):
        rack.do(rack.array.delete_volume(name))


def test_a_copy_moves_the_bytes_through_the_engine(rack, monkeypatch) -> None:
    volume, target = rack.volume(size=MIB), rack.volume("v2", MIB)
    submitted, submit = [], rack.engine.submit

    def noted(steps, purpose):
        submitted.extend(steps)
        return submit(steps, purpose)

    monkeypatch.setattr(rack.engine, "submit", noted)
    rack.do(rack.array.copy_volume("v1", "v2"))
    moved = dict.fromkeys((Role.MOVE_READ, Role.DATA), 0)
    for _, role, _, _, block, size in submitted:
        start = volume.start_block if role == Role.MOVE_READ else target.start_block
        assert start <= block < start + 256
        moved[Role(role)] += size
    assert moved == {Role.MOVE_READ: MIB, Role.DATA: MIB}


def test_the_pace_of_a_copy_is_the_arrays(build) -> None:
    rack = build(synchronise_bytes_per_second=MIB)
    rack.volume(size=2 * MIB), rack.volume("v2", 2 * MIB)
    task = rack.do(rack.array.copy_volume("v1", "v2"))
    assert 1.7 < task.finished - task.created < 2.1


def test_a_snapshot_is_copied_and_stays(rack) -> None:
    volume, target = rack.volume(size=MIB), rack.volume("v2", MIB)
    [snapshot] = rack.snapshot(volume)
    then = contents(volume)
    rack.write(volume, 0, 256)
    task = rack.do(rack.array.start_copy("s", "v2"))
    with pytest.raises(InvalidState, match="being copied"):
        rack.do(rack.array.delete_snapshot("s"))
    if task.active:
        rack.env.run(until=task.ended)
    assert contents(target) == shown(snapshot) == then
    rack.do(rack.array.delete_snapshot("s"))
    assert contents(target) == then


def test_zeros_over_zeros_are_not_copied(rack) -> None:
    rack.do(rack.array.make_volume("v1", MIB, "pool-1"))
    target = rack.do(rack.array.make_volume("v2", MIB, "pool-1"))
    rack.write(rack.array.volume("v1"), 32, 1)
    rack.write(target, 64, 1)
    task = rack.do(rack.array.copy_volume("v1", "v2"))
    assert task.total_bytes == task.done_bytes == 2 * 64 * KIB
    assert contents(target) == contents(rack.array.volume("v1"))


def test_nothing_else_is_done_with_what_is_being_copied(rack) -> None:
    rack.array.hosts.create("one", (HOST,))
    volume, target = rack.volume(size=2 * MIB), rack.volume("v2", 2 * MIB)
    rack.volume("v3", 2 * MIB)
    rack.snapshot(target, name="old")
    task = rack.do(rack.array.start_copy("v1", "v2"))
    for model in (
        rack.array.delete_volume("v1"),
        rack.array.delete_volume("v2"),
        rack.array.map_to_host("v2", "one"),
        rack.array.create_snapshots((target.naa,), "s"),
        rack.array.grow_volume("v1", 4 * MIB),
        rack.array.grow_volume("v2", 4 * MIB),
        rack.array.start_copy("v3", "v2"),
        rack.array.start_copy("v2", "v3"),
        rack.array.start_copy("v3", "v1"),
        rack.array.overwrite("v1", "v3"),
        rack.array.revert("v2", "old"),
    ):
        with pytest.raises(InvalidState):
            rack.do(model)
        assert task.active
    rack.env.run(until=task.ended)
    assert contents(target) == contents(volume)


def test_a_copy_can_be_stopped(build) -> None:
    rack = build(synchronise_bytes_per_second=MIB)
    volume, target = rack.volume(size=4 * MIB), rack.volume("v2", 4 * MIB)
    before = contents(target)
    task = rack.do(rack.array.start_copy("v1", "v2"))
    rack.env.run(until=rack.env.now + 1.0)
    rack.do(rack.array.cancel_task(task.id))
    assert task.state == "cancelled"
    assert 0 < task.done_bytes < 4 * MIB
    done = task.done_bytes
    assert contents(target) == contents(volume)[:done] + before[done:]
    for number, error in ((task.id, InvalidState), (99, NotFound)):
        with pytest.raises(error):
            rack.do(rack.array.cancel_task(number))
    rack.do(rack.array.delete_volume("v2"))
    rack.do(rack.array.delete_volume("v1"))
    rack.settle()
    assert (rack.pool.reserve_used_bytes, len(rack.site.luns)) == (0, 0)


def test_what_cannot_be_copied(rack, add_disk) -> None:
    rack.array.hosts.create("one", (HOST,))
    rack.volume(size=2 * MIB), rack.volume("small", MIB), rack.volume("seen", 2 * MIB)
    rack.do(rack.array.map_to_host("seen", "one"))
    add_disk(rack, rack.volume("ds", 2 * MIB), 128)
    rack.snapshot(rack.array.volume("v1"))
    rack.do(rack.array.promote("s", "ro"))
    for source, target, error in (
        ("v1", "small", InvalidState),
        ("v1", "seen", InvalidState),
        ("v1", "v1", InvalidState),
        ("v1", "ro", InvalidState),
        ("v1", "ds", InvalidState),
        ("v1", "s", NotFound),
        ("v9", "small", NotFound),
        ("v1", "v9", NotFound),
    ):
        with pytest.raises(error):
            rack.do(rack.array.start_copy(source, target))
    assert not rack.array.tasks


def test_a_copy_whose_source_is_given_up_fails(build) -> None:
    policies = {"copy_policy": "copy-into-each", "synchronise_bytes_per_second": MIB}
    rack = build(reserve=192 * KIB, **policies)
    volume = rack.volume(size=MIB)
    rack.volume("v2", MIB)
    [snapshot] = rack.snapshot(volume)
    task = rack.do(rack.array.start_copy("v1", "v2"))
    rack.write(volume, 0, 32)
    assert snapshot.valid  # the copy can be begun again, and goes first
    with pytest.raises(InvalidState, match="given up"):
        rack.do(_wait(task))
    assert (task.state, task.error is None) == ("failed", False)
    rack.do(rack.array.delete_volume("v2"))
    assert not volume.kept


def test_a_copy_of_damage_fails(rack) -> None:
    volume = rack.volume(size=MIB)
    rack.volume("v2", MIB)
    rack.array.damage(volume, Runs.single(MIB // 2, 1))
    with pytest.raises(MediumError, match=volume.naa):
        rack.do(rack.array.copy_volume("v1", "v2"))
    [task] = rack.array.tasks.values()
    assert task.state == "failed"


def test_a_lost_array_copies_no_further(build) -> None:
    rack = build(synchronise_depth=4)
    rack.volume(size=4 * MIB), rack.volume("v2", 4 * MIB)
    task = rack.do(rack.array.start_copy("v1", "v2"))
    rack.array.lose()
    with pytest.raises(Unreachable):
        rack.do(_wait(task))
    rack.settle()


def _wait(task):
    yield task.ended
    if task.error:
        raise task.error


def test_what_lies_on_a_volume_is_found_on_its_copy(rack, add_disk) -> None:
    volume = rack.volume(size=2 * MIB)
    disk = add_disk(rack, volume, 256)
    rack.site.write(disk, 0, 64 * BLOCK)
    then = rack.site.chain_tokens(disk.head, 0, 256).tolist()
    target = rack.volume("v2", 2 * MIB)
    task = rack.do(rack.array.start_copy("v1", "v2"))
    rack.site.write(disk, 0, 256 * BLOCK)
    rack.env.run(until=task.ended)
    [store] = target.lun.stores
    level = rack.site.new_level(store.files["v1.disk"], None)
    assert rack.site.chain_tokens(level, 0, 256).tolist() == then
    rack.site.write(disk, 0, 256 * BLOCK)
    assert rack.site.chain_tokens(level, 0, 256).tolist() == then


# Reverts. ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["copy-into-newest", "copy-into-each"])
def test_a_revert_brings_the_moment_back_and_spoils_no_other(build, policy) -> None:
    rack = build(copy_policy=policy)
    volume = rack.volume(size=MIB)
    moments = []
    for n in range(3):
        rack.snapshot(volume, name=f"s{n}")
        moments.append(contents(volume))
        rack.write(volume, 10 * n, 40)
    now = contents(volume)
    task = rack.do(rack.array.revert("v1", "s1"))
    assert contents(volume) == moments[1] != now
    assert task.state == "active"  # its I/O is still to come
    rack.env.run(until=task.ended)
    assert task.done_bytes == task.total_bytes > 0
    assert [shown(rack.array.snapshot(f"s{n}")) for n in range(3)] == moments
    again = rack.do(rack.array.revert("v1", "s1"))
    assert again.total_bytes == 0
    for n in range(3):
        rack.do(rack.array.delete_snapshot(f"s{n}"))
    assert contents(volume) == moments[1]
    rack.settle()
    assert rack.pool.reserve_used_bytes == 0


def test_a_volume_is_overwritten_with_any_other(rack) -> None:
    volume, other = rack.volume(size=MIB), rack.volume("v2", MIB)
    rack.array.hosts.create("one", (HOST,))
    rack.do(rack.array.map_to_host("v2", "one"))
    with pytest.raises(InvalidState, match="mapped"):
        rack.do(rack.array.overwrite("v2", "v1"))
    rack.do(rack.array.overwrite("v2", "v1", mapped=True))
    assert contents(other) == contents(volume)
    rack.snapshot(volume)
    rack.write(volume, 0, 16)
    rack.do(rack.array.overwrite("v2", "v1", mapped=True))
    assert contents(other) == contents(volume)
    rack.do(rack.array.overwrite("v2", "s", mapped=True))
    assert contents(other) == shown(rack.array.snapshot("s"))


def test_what_is_not_reverted(rack, add_disk) -> None:
    rack.array.hosts.create("one", (HOST,))
    volume, other = rack.volume(size=MIB), rack.volume("v2", MIB)
    [snapshot] = rack.snapshot(volume)
    rack.snapshot(other, name="t")
    rack.do(rack.array.promote("s", "ro"))
    rack.do(rack.array.map_to_host("v2", "one"))
    disk = rack.volume("ds", 2 * MIB)
    add_disk(rack, disk, 128)
    rack.snapshot(disk, name="d")
    for name, source, error, match in (
        ("v1", "t", InvalidState, "of volume v2"),
        ("v2", "t", InvalidState, "mapped"),
        ("ro", "s", InvalidState, "of volume v1"),
        ("ds", "d", InvalidState, "datastore"),
        ("v1", "v2", NotFound, "array snapshot"),
        ("v1", "x", NotFound, "x"),
    ):
        with pytest.raises(error, match=match):
            rack.do(rack.array.revert(name, source))
    rack.do(rack.array.grow_volume("v1", 2 * MIB))
    with pytest.raises(InvalidState, match="2097152 bytes large"):
        rack.do(rack.array.revert("v1", "s"))
    assert snapshot.valid
    assert not rack.array.tasks


def test_a_revert_without_room_changes_nothing(build) -> None:
    rack = build(reserve=128 * KIB)
    volume = rack.volume(size=MIB)
    rack.snapshot(volume, name="old")
    rack.write(volume, 0, 32)
    rack.snapshot(volume, name="new")  # needs a copy of what a revert would change
    before = contents(volume)
    with pytest.raises(NoSpace):
        rack.do(rack.array.revert("v1", "old"))
    assert contents(volume) == before
    assert rack.array.snapshot("old").valid
    assert rack.array.snapshot("new").valid


@given(rank=st.integers(0, 2), writes=st.lists(st.integers(0, 255), max_size=6))
@settings(max_examples=20)
def test_a_promoted_volume_reverts_to_its_own_snapshots(build, rank, writes) -> None:
    rack = build(fence_seconds=0.0)
    rack.snapshot(rack.volume(size=MIB))
    copy = rack.do(rack.array.promote("s", "c", read_only=False))
    moments = []
    for n in range(3):
        for block in writes[2 * n : 2 * n + 2]:
            rack.write(copy, block, 1)
        moments.append(contents(copy))
        rack.snapshot(copy, name=f"t{n}")
    for block in writes:
        rack.write(copy, 255 - block, 1)
    rack.do(rack.array.revert("c", f"t{rank}"))
    assert contents(copy) == moments[rank]
    assert [shown(rack.array.snapshot(f"t{n}")) for n in range(3)] == moments


def test_tasks_that_are_over_are_forgotten_at_last(rack, monkeypatch) -> None:
    monkeypatch.setattr("stuntdouble.array.task._KEPT", 2)
    rack.volume(size=MIB), rack.volume("v2", MIB)
    done = [rack.do(rack.array.copy_volume("v1", "v2")).id for _ in range(4)]
    going = rack.do(rack.array.start_copy("v1", "v2")).id
    assert list(rack.array.tasks) == [*done[-2:], going]
