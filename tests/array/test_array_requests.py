"""Requests: names, limits, identity, times, interruption, reclaim, and the loss of the array."""

from __future__ import annotations

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.array import LocalInitiator, Parameters, PoolSpec
from stuntdouble.clock import run
from stuntdouble.errors import (
    InvalidState,
    LimitReached,
    LunInUse,
    Misuse,
    NoSpace,
    NotFound,
    Unreachable,
    Unsupported,
)
from stuntdouble.extents import Runs
from stuntdouble.iops import DISK_7200, FLASH_CHANNEL, Purpose, Raid, link
from stuntdouble.ports import Mapping, Throttle
from stuntdouble.site import Role
from stuntdouble.units import KIB, MIB, SIZE_BYTES_MAX

SERVER = "iqn.2026-01.example:backup"


def requests(rack, volume, snapshot: str):
    array = rack.array
    return {
        "snapshot": lambda: array.create_snapshots((volume.naa,), "new"),
        "promote": lambda: array.promote(snapshot, "new"),
        "map": lambda: array.map_volume(volume.name, SERVER),
        "unmap": lambda: array.unmap_volume("mapped", SERVER),
        "delete volume": lambda: array.delete_volume("spare"),
        "delete snapshot": lambda: array.delete_snapshot(snapshot),
    }


def state(rack):
    """All that a client can see, and all that a guest could feel."""
    inventory = rack.array.inventory
    return (
        [v.info() for v in inventory.volumes.values()],
        [s.info() for s in inventory.snapshots.values()],
        rack.array.masking.mappings(),
        rack.pool.free_bytes,
        rack.engine._fences.copy(),
    )


def prepared(build, **parameters):
    rack = build(**parameters)
    volume, mapped, _ = rack.volume(), rack.volume("mapped"), rack.volume("spare")
    rack.snapshot(volume, name="old")
    rack.do(rack.array.map_volume(mapped.name, SERVER))
    return rack, volume


@pytest.mark.parametrize(
    "what", ["snapshot", "promote", "map", "unmap", "delete volume", "delete snapshot"]
)
def test_an_interrupted_request_has_done_nothing(build, what: str) -> None:
    rack, volume = prepared(build)
    before = state(rack)
    process = rack.env.process(requests(rack, volume, "old")[what]())

    def interrupt():
        yield rack.env.timeout(1.05 if what == "snapshot" else 0.5)  # a snapshot: in its fence
        process.interrupt("cancelled")

    rack.env.process(interrupt())
    with pytest.raises(simpy.Interrupt):
        rack.env.run(until=process)
    after = state(rack)
    assert after[:-1] == before[:-1]
    assert not any(after[-1].values())
    rack.do(requests(rack, volume, "old")[what]())  # and can be asked for again
    assert state(rack)[:-1] != before[:-1]


@pytest.mark.parametrize(
    "what", ["snapshot", "promote", "map", "unmap", "delete volume", "delete snapshot"]
)
@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_a_lost_array_answers_nothing(build, what: str, seconds: float) -> None:
    rack, volume = prepared(build)

    def lose():
        yield rack.env.timeout(seconds)
        rack.array.lose()

    rack.env.process(lose())
    if not seconds:
        rack.env.run(until=rack.env.now + 0.1)
    with pytest.raises(Unreachable, match="array-1"):
        rack.do(requests(rack, volume, "old")[what]())
    assert not any(rack.engine._fences.values())
    for ask in (
        lambda: rack.array.volume("v1"),
        lambda: rack.array.by_naa(volume.naa),
        lambda: rack.array.snapshot("old"),
        rack.array.mappings,
        lambda: rack.array.lun_for(SERVER, volume.naa),
        lambda: rack.volume("v9"),
    ):
        with pytest.raises(Unreachable):
            ask()
    rack.array.lose()
    assert len(list(rack.journal.of("array-lost"))) == 1


def test_a_lost_array_fails_reads_that_are_under_way(build) -> None:
    async def main(env) -> None:
        rack = build(env)
        volume = rack.volume(size=16 * MIB)
        mapping = await rack.port.map_volume(volume.name, SERVER)
        device = await LocalInitiator(rack.array, SERVER).attach(mapping)
        reading = device.read(Runs.single(0, 16 * MIB), Throttle())
        await anext(reading)
        with env.entered():
            rack.array.lose()
        with pytest.raises(Unreachable):
            await anext(reading)
        for ask in (rack.port.volumes, rack.port.snapshots, rack.port.mappings):
            with pytest.raises(Unreachable):
                await ask()
        with pytest.raises(Unreachable):
            await LocalInitiator(rack.array, SERVER).attach(mapping)

    run(main)


def test_requests_take_their_time(build) -> None:
    async def main(env) -> None:
        seconds = {
            "snapshot_create_seconds": 1.0, "fence_seconds": 0.5, "promote_seconds": 2.0,
            "map_seconds": 4.0, "unmap_seconds": 8.0, "delete_seconds": 16.0,
        }  # fmt: skip
        rack = build(env, **seconds)
        naa = rack.volume().naa
        port, times = rack.port, [0.0]
        [made] = await port.create_snapshots((naa,), "s")
        times.append(env.now)
        info = await port.promote("s", "c")
        times.append(env.now)
        mapping = await port.map_volume("c", SERVER)
        times.append(env.now)
        assert await port.mappings() == (mapping,)
        assert [v.name for v in await port.volumes()] == ["v1", "c"]
        assert (info.promoted_from, info.read_only, made.volume) == ("s", True, "v1")
        await port.unmap_volume("c", SERVER)
        times.append(env.now)
        await port.delete_volume("c")
        times.append(env.now)
        await port.delete_snapshot("s")
        times.append(env.now)
        assert np.diff(times).tolist() == [1.5, 2.0, 4.0, 8.0, 16.0, 16.0]
        assert await port.snapshots() == ()
        # deleting what is gone, and unmapping it, is no error
        await port.delete_snapshot("s")
        await port.delete_volume("c")
        await port.unmap_volume("c", SERVER)

    run(main)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "ä", "x" * 32, "a\n"])
def test_names_are_checked(rack, name: str) -> None:
    volume = rack.volume()
    with pytest.raises(Misuse):
        rack.volume(name)
    with pytest.raises(Misuse):
        rack.snapshot(volume, name=name)
    rack.snapshot(volume, name="s")
    with pytest.raises(Misuse):
        rack.do(rack.array.promote("s", name))


def test_a_name_is_one_things(rack) -> None:
    volume = rack.volume("one")
    rack.snapshot(volume, name="two")
    for taken in ("one", "two"):
        with pytest.raises(InvalidState):
            rack.volume(taken)
        with pytest.raises(InvalidState):
            rack.snapshot(volume, name=taken)
        with pytest.raises(InvalidState):
            rack.do(rack.array.promote("two", taken))
    # two requests for one name: the second finds it taken when its time comes
    first = rack.env.process(rack.array.promote("two", "three"))
    with pytest.raises(InvalidState):
        rack.do(rack.array.promote("two", "three"))
    assert first.value.name == "three"


def test_a_name_may_be_taken_while_the_volumes_are_fenced(build) -> None:
    rack = build(snapshot_create_seconds=1.0, fence_seconds=0.5)
    volume = rack.volume()
    rack.env.process(rack.array.create_snapshots((volume.naa,), "s"))

    def later():
        yield rack.env.timeout(0.2)
        yield from rack.array.create_snapshots((volume.naa,), "s")

    with pytest.raises(InvalidState):
        rack.do(later())
    assert rack.array.snapshot("s").created == 1.5
    assert not any(rack.engine._fences.values())


def test_what_can_be_refused_at_once_takes_no_time(rack) -> None:
    rack.snapshot(rack.volume(), name="s")
    rack.do(rack.array.promote("s", "copy"))
    rack.do(rack.array.map_volume("copy", SERVER))
    now = rack.env.now
    for model in (
        rack.array.delete_snapshot("s"),
        rack.array.delete_volume("copy"),
        rack.array.delete_volume("v1"),
        rack.array.map_volume("copy", SERVER),
        rack.array.promote("s", "copy"),
        rack.array.create_snapshots((rack.array.volume("v1").naa,), "s"),
    ):
        with pytest.raises(InvalidState):
            rack.do(model)
    assert rack.env.now == now


def test_what_is_not_there_is_not_found(rack) -> None:
    volume = rack.volume()
    for model in (
        rack.array.create_snapshots(("6000",), "s"),
        rack.array.promote("s", "c"),
        rack.array.map_volume("c", SERVER),
    ):
        with pytest.raises(NotFound):
            rack.do(model)
    for naas in ((), (volume.naa, volume.naa)):
        with pytest.raises(Misuse):
            rack.do(rack.array.create_snapshots(naas, "s"))
    for look in (rack.array.volume, rack.array.by_naa, rack.array.snapshot):
        with pytest.raises(NotFound):
            look("nothing")


def test_limits(build) -> None:
    rack = build(snapshots_per_volume_max=2, snapshots_max=3, copies_per_snapshot_max=1, lun_max=1)
    one, two, three = (rack.volume(name) for name in ("v1", "v2", "v3"))
    rack.snapshot(one, name="a")
    rack.snapshot(one, name="b")
    with pytest.raises(LimitReached, match="volume v1"):
        rack.snapshot(one, name="c")
    with pytest.raises(LimitReached, match="array-1"):
        rack.snapshot(two, three, name="c")
    assert sorted(rack.array.inventory.snapshots) == ["a", "b"]
    rack.do(rack.array.promote("a", "copy"))
    with pytest.raises(LimitReached):
        rack.do(rack.array.promote("a", "copy2"))
    with pytest.raises(LimitReached, match="volume v1"):
        rack.snapshot(one, name="c")
    rack.snapshot(rack.array.volume("copy"), name="c")
    for name in ("v1", "v2"):
        rack.do(rack.array.map_volume(name, SERVER))
    with pytest.raises(LimitReached):
        rack.do(rack.array.map_volume("v3", SERVER))
    with pytest.raises(LunInUse):
        rack.do(rack.array.map_volume("v3", SERVER, 1))
    with pytest.raises(Misuse):
        rack.do(rack.array.map_volume("v3", "iqn.2026-01.example:other", 2))


def test_a_deleted_snapshot_counts_no_more_and_keeps_no_volume(build) -> None:
    rack = build(snapshots_per_volume_max=1)
    volume = rack.volume()
    for name in ("a", "b"):
        rack.snapshot(volume, name=name)
        with pytest.raises(InvalidState):
            rack.do(rack.array.delete_volume("v1"))
        rack.do(rack.array.delete_snapshot(name))
    rack.do(rack.array.delete_volume("v1"))
    assert rack.array.inventory.volumes == {}


@pytest.mark.parametrize(
    "iqn", ["", "iqn", "iqn.2026-13.example:x", "host1", "iqn.2026-01.example:a b", "x" * 300]
)
def test_an_initiator_has_a_proper_name(rack, iqn: str) -> None:
    rack.volume()
    with pytest.raises(Misuse):
        rack.do(rack.array.map_volume("v1", iqn))
    with pytest.raises(Misuse):
        LocalInitiator(rack.array, iqn)


@given(st.integers(0, 2**32), st.permutations(["v1", "v2", "v3"]))
def test_an_identity_depends_on_seed_and_name_alone(build, seed: int, order: list[str]) -> None:
    rack, again = build(seed=seed), build(seed=seed)
    naas = {name: rack.volume(name).naa for name in ("v1", "v2", "v3")}
    assert naas == {name: again.volume(name).naa for name in sorted(order, key=order.index)}
    assert len(set(naas.values())) == 3
    assert all(len(naa) == 32 and naa.startswith("6000") for naa in naas.values())
    serials = {volume.serial for volume in rack.array.inventory.volumes.values()}
    assert len(serials) == 3
    # made again under its old name, a volume is another one
    rack.do(rack.array.delete_volume("v2"))
    assert rack.volume("v2").naa not in naas.values()
    assert build(seed=seed + 1).volume("v1").naa not in naas.values()


def test_reclaim_costs_io_and_takes_time(build) -> None:
    rack = build(reclaim_bytes_per_second=float(MIB), reclaim_extent_bytes=128 * KIB)
    volume = rack.volume()
    rack.snapshot(volume)
    rack.write(volume, 0, 1024)
    freed: list[float] = []
    rack.array.on_space_freed.append(lambda pool: freed.append(rack.env.now))
    rack.do(rack.array.delete_snapshot("s"))
    start = rack.env.now
    assert rack.pool.reserve_used_bytes == 4 * MIB
    assert rack.array.reclaiming_bytes(rack.pool) == 4 * MIB
    rack.env.run(until=start + 2.0)
    assert 0 < rack.pool.reserve_used_bytes < 4 * MIB
    rack.settle()
    assert rack.pool.reserve_used_bytes == 0
    assert rack.array.reclaiming_bytes(rack.pool) == 0
    assert freed[-1] == pytest.approx(start + 4.0)
    edges = np.array([0.0, start, rack.env.now])
    control = rack.engine.meter.busy(rack.pool.stations, edges, (Purpose.CONTROL,))
    assert control[0] == 0.0
    # 32 extents, each a read of 100 us and a write of 60 us, with 4 KiB at 500 MB/s
    assert control[1] == pytest.approx(32 * (160e-6 + 2 * 4096 / 500e6))
    assert rack.gauge("reserve_free_bytes", "pool-1")[-1] == rack.pool.reserve_bytes
    assert max(rack.gauge("snapshot_bytes", "array-1")) == 4 * MIB
    [event] = rack.journal.of("array-reclaimed")
    assert event.time == rack.env.now


def test_several_deletions_share_one_reclaim_and_a_loss_ends_it(build) -> None:
    rack = build(reclaim_bytes_per_second=float(MIB))
    volume = rack.volume()
    for name in ("a", "b"):
        rack.snapshot(volume, name=name)
        rack.write(volume, 0, 512)
    for name in ("a", "b"):
        rack.do(rack.array.delete_snapshot(name))
    assert rack.array.reclaiming_bytes(rack.pool) > 2 * MIB
    rack.array.lose()
    rack.settle()
    assert rack.pool.reserve_used_bytes > 2 * MIB


def test_a_volume_lies_in_one_piece_of_its_pool(build) -> None:
    rack = build(reserve=4 * MIB)
    assert rack.pool.area_bytes == 60 * MIB
    for name in ("a", "b", "c"):
        rack.volume(name, 20 * MIB)
    with pytest.raises(NoSpace):
        rack.volume("d", MIB)
    for name in ("a", "c"):
        rack.do(rack.array.delete_volume(name))
    assert rack.pool.free_bytes == 40 * MIB
    with pytest.raises(NoSpace, match=str(20 * MIB)):
        rack.volume("d", 21 * MIB)
    assert rack.volume("d", 20 * MIB).start_block == 0
    for size in (0, -MIB, MIB + 1):
        with pytest.raises(Misuse):
            rack.volume("e", size)


def test_copies_lie_in_the_reserve_behind_all_volumes(build) -> None:
    rack = build(reserve=4 * MIB)
    volumes = [rack.volume(name, 20 * MIB) for name in ("a", "b", "c")]
    rack.snapshot(*volumes)
    for number, volume in enumerate(volumes):
        for block in range(0, 5120, 1000):
            steps = rack.site.volume_write(volume.lun, block * 4096, 4096)
            read, copy, data = ((role, at * 4096) for _, role, _, _, at, _ in steps)
            assert [read[0], copy[0], data[0]] == [Role.COPY_READ, Role.COPY_WRITE, Role.DATA]
            assert data[1] == number * 20 * MIB + block * 4096
            assert rack.pool.area_bytes <= copy[1] <= 64 * MIB - 64 * KIB


@pytest.mark.parametrize(
    ("raid", "disks", "columns"),
    [(Raid.RAID0, 4, 4), (Raid.RAID10, 4, 2), (Raid.RAID5, 4, 3), (Raid.RAID6, 6, 4)],
)
def test_redundancy_takes_its_share(build, raid: Raid, disks: int, columns: int) -> None:
    rack = build(pool={"raid": raid, "disks": disks, "reserve_bytes": None})
    capacity = columns * 16 * MIB
    assert rack.pool.area_bytes + rack.pool.reserve_bytes <= capacity
    assert rack.pool.area_bytes + rack.pool.reserve_bytes > capacity - 128 * KIB
    assert rack.pool.reserve_bytes == int(capacity * 0.05) // (64 * KIB) * (64 * KIB)
    assert len(rack.pool.stations) == disks


def test_pools(build) -> None:
    rack = build()
    pooled = rack.array.add_pool(
        PoolSpec(
            "flash", FLASH_CHANNEL, Raid.RAID0, 8, 16 * MIB, pooled=True, servers=8, port=link(1e9)
        )
    )
    assert len(pooled.stations) == 1
    assert pooled.port_station not in pooled.stations
    assert rack.engine.stations[pooled.stations[0]].servers == 8
    with pytest.raises(InvalidState):
        rack.array.add_pool(pooled.spec)
    with pytest.raises(Misuse, match="RAID10"):
        rack.array.add_pool(PoolSpec("odd", DISK_7200, Raid.RAID10, 3, MIB))
    with pytest.raises(Unsupported):
        PoolSpec("x", DISK_7200, Raid.RAID5, 4, MIB, pooled=True)
    with pytest.raises(Misuse):
        PoolSpec("x", DISK_7200, Raid.RAID0, 0, MIB)
    for odd in ({"reserve_bytes": 99 * MIB}, {"reserve_bytes": -MIB}, {"stripe_bytes": 1000}):
        with pytest.raises(Misuse):
            build(pool=odd)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"snapshot_kind": "continuous"}, Unsupported),
        ({"copy_policy": "copy-into-all"}, Misuse),
        ({"copy_policy": "copy-into-each", "snapshot_kind": "redirect-on-write"}, Misuse),
        ({"copy_policy": "copy-into-each", "snapshot_kind": "split-mirror"}, Misuse),
        ({"mirror_pool": "pool-1"}, Misuse),
        ({"mirrors_per_volume_max": 0}, Misuse),
        ({"mirrors_per_volume_max": 9}, Misuse),
        ({"synchronise_depth": 0}, Misuse),
        ({"synchronise_io_bytes": 0}, Misuse),
        ({"synchronise_bytes_per_second": -1.0}, Misuse),
        ({"exhaustion": "hope"}, Misuse),
        ({"chunk_bytes": 48 * KIB}, Misuse),
        ({"reserve_fraction": 1.0}, Misuse),
        ({"lun_max": 16384}, Unsupported),
        ({"fence_seconds": -1.0}, Misuse),
        ({"reclaim_extent_bytes": 0}, Misuse),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict, error: type) -> None:
    with pytest.raises(error):
        Parameters(**wrong)


@pytest.mark.parametrize("chunk", [256, 48 * KIB, 2 * SIZE_BYTES_MAX])
def test_a_chunk_that_cannot_be_is_told_which_can(chunk) -> None:
    with pytest.raises(Misuse, match=f"{chunk} is not a power of two from 512 to {SIZE_BYTES_MAX}"):
        Parameters(chunk_bytes=chunk)


def test_a_chunk_is_whole_content_blocks(build) -> None:
    with pytest.raises(Misuse):
        build(chunk_bytes=2 * KIB)


def test_a_mapping_says_who_sees_what(rack) -> None:
    volume = rack.volume()
    mapping = rack.do(rack.array.map_volume("v1", SERVER, 7))
    assert mapping == Mapping("v1", volume.naa, SERVER, 7)
    [event] = rack.journal.of("array-mapped")
    assert (event.subject, event.facts["lun"]) == ("v1", 7)
