"""Keys of a scenario that hold I/O up or let it go: they reach the engine as they are written."""

import pytest

from scenarios.tiny import live_through, tiny
from stuntdouble.clock import Environment
from stuntdouble.errors import Misuse
from stuntdouble.iops import Purpose
from stuntdouble.scenarios import parse
from stuntdouble.scenarios.build import build
from stuntdouble.scenarios.describe import assumptions
from stuntdouble.site import COPY_ON_WRITE


def built(*, pool=None, **changes):
    """Return the tiny scenario's site, with keys of its pool and top-level keys replaced."""
    table = tiny(**changes)
    table["arrays"][0]["pools"][0].update(pool or {})
    return build(parse(table, "my.toml"), 1, Environment(), None)


def ends_of(world, *admissions) -> list[float]:
    """Return when I/Os that are submitted together end."""
    ends: list[float] = []
    for admit in admissions:
        event = world.engine.submit(admit(), Purpose.RESTORE)
        event.callbacks.append(lambda _: ends.append(world.env.now))
    world.env.run()
    return ends


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pool_blocks_where_it_says_so(blocking) -> None:
    world = built(pool={"blocking": blocking})
    lun = world.arrays["array-1"].volume("vol-1").lun
    world.site.freeze([lun], COPY_ON_WRITE)
    ends = ends_of(
        world, *[lambda k=k: world.site.volume_write(lun, k * 4096, 4096) for k in (0, 1)]
    )
    alone = built(pool={"blocking": blocking})
    lun = alone.arrays["array-1"].volume("vol-1").lun
    alone.site.freeze([lun], COPY_ON_WRITE)
    (first,) = ends_of(alone, lambda: alone.site.volume_write(lun, 0, 4096))
    # the second is through before the first, or after it
    assert (ends[0] >= first) == blocking


def test_limits_reach_the_disks_they_are_written_at() -> None:
    vm = tiny()["vms"][0]
    first, second = (dict(vm["disks"][0], key=key) for key in (2001, 2000))
    vm["disks"] = [first | {"iops_limit": 50, "iops_burst": 8}, second]
    world = built(vms=[vm])
    guest = world.hypervisor.vm("vm-1").guest
    assert list(guest.buckets) == [guest.disks[1].number]
    assert guest.disks[1].name == "vm-1/2001"
    assert guest.buckets[guest.disks[1].number].due <= 0.0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"iops_limit": -1}, ["vms.0.disks.0.iops_limit", "-1", "greater than or equal to 0"]),
        ({"iops_limit": float("nan")}, ["vms.0.disks.0.iops_limit"]),
        ({"iops_limit": 50, "iops_burst": 0}, ["vms.0.disks.0.iops_burst", "0", "1"]),
        ({"iops_burst": 5}, ["vms.0.disks.0", "iops_burst", "without iops_limit"]),
    ],
)
def test_limits_that_make_no_sense_are_refused(keys, said) -> None:
    table = tiny()
    table["vms"][0]["disks"][0].update(keys)
    with pytest.raises(Misuse) as refused:
        parse(table, "my.toml")
    assert str(refused.value).startswith("my.toml: ")
    assert all(words in str(refused.value) for words in said), refused.value


def test_a_pool_has_the_cache_that_is_written() -> None:
    cache = {"size": "10 MiB", "mark": 0.5, "write": "2 ms", "read": "1 ms", "destages": 3}
    world = built(pool={"cache": cache})
    lun = world.arrays["array-1"].volume("vol-1").lun
    world.site.settle()
    steps = world.site.volume_write(lun, 0, 4096)
    ended: list[float] = []
    event = world.engine.submit(steps, Purpose.RESTORE)
    event.callbacks.append(lambda _: ended.append(world.env.now))
    event.callbacks.append(lambda _: ended.append(world.engine.dirty_bytes(lun.pool)))
    quiet = world.engine.quiet()
    world.env.run()
    assert ended == [0.002, 4096]
    assert quiet.processed
    assert world.scenario.arrays[0].pools[0].cache.mark_bytes == 5 << 20


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ({}, ["pools.0.cache.size", "missing"]),
        ({"size": "1 MiB", "mark": 1.5}, ["pools.0.cache.mark", "1.5", "less than or equal to 1"]),
        ({"size": "1 MiB", "mark": 0.0}, ["pools.0.cache", "size times mark", "512 B"]),
        ({"size": 1 << 51}, ["pools.0.cache", "1 PiB"]),
        ({"size": 1 << 62}, ["pools.0.cache.size", "4503599627370496"]),
        ({"size": "1 MiB", "destages": 0}, ["pools.0.cache.destages", "0"]),
        ({"size": "1 MiB", "write": "-1 s"}, ["pools.0.cache.write", "-1 s"]),
        ({"size": "1 MiB", "colour": 1}, ["pools.0.cache.colour", "unknown key", "mark"]),
    ],
)
def test_a_cache_that_makes_no_sense_is_refused_by_its_key(cache, said) -> None:
    table = tiny()
    table["arrays"][0]["pools"][0]["cache"] = cache
    with pytest.raises(Misuse) as refused:
        parse(table, "my.toml")
    assert str(refused.value).startswith("my.toml: ")
    assert all(words in str(refused.value) for words in said), refused.value


def test_a_comparison_runs_behind_a_cache_with_limits_and_blocking_copies(tmp_path) -> None:
    table = tiny()
    table["arrays"][0]["pools"][0] |= {"cache": {"size": "1 MiB"}, "blocking": True}
    table["vms"][0]["disks"][0] |= {"iops_limit": 60, "iops_burst": 4}
    result = live_through(table, tmp_path, methods=("storage",))
    points = result.methods["storage"].restore_points
    assert points
    assert all(point.verified for point in points)


def test_a_report_says_what_holds_io_up_and_who_chose_it() -> None:
    plain = {line.name for line in assumptions(parse(tiny(), "test"))}
    table = tiny(sources={"arrays.array-1.pools.pool-1.cache": "a data sheet"})
    table["arrays"][0]["pools"][0] |= {"cache": {"size": "10 MiB"}, "blocking": True}
    table["vms"][0]["disks"][0] |= {"iops_limit": 60}
    lines = {line.name: line for line in assumptions(parse(table, "test"))}
    assert set(lines) - plain == {
        "write-back cache of pool-1", "writes to pool-1", "limit of disk 2000 of vm-1",
    }  # fmt: skip
    cache = lines["write-back cache of pool-1"]
    assert cache.value == "8 MiB dirty at most, a write takes 200 us, 16 destages at a time"
    assert cache.source == "a data sheet"
    assert lines["writes to pool-1"].source == "scenario"
    assert lines["limit of disk 2000 of vm-1"].value == "60 I/Os a second, 1 at once"
