"""The compiled engine's own edges: loads as arrays, refusals, what is taken over and when."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.lab import BLOCK, Script, fixed
from stuntdouble.clock import Environment
from stuntdouble.errors import Bug, Misuse, NoSpace, Unsupported
from stuntdouble.iops import (
    Cache,
    ClosedLoad,
    Geometry,
    Io,
    Pattern,
    PoissonLoad,
    Purpose,
    Raid,
    Recorder,
    Reference,
    StreamSpec,
    disk,
    link,
)
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.iops.kernel.batches import batches
from stuntdouble.iops.load import Mix
from stuntdouble.site import Site

pytestmark = pytest.mark.plain

shares = st.floats(0, 1)
patterns = st.builds(
    Pattern,
    read_fraction=shares,
    io_bytes=st.sampled_from([512, 4096, 12288]),
    working_set_bytes=st.sampled_from([12288, 1 << 20, 1 << 34]),
    skew=st.sampled_from([1, 1.0, 2.0, 3, 1.7]),
    sequential_fraction=shares,
)
mixes = st.lists(st.tuples(st.floats(0.1, 9.0), patterns), min_size=1, max_size=3).map(
    lambda parts: Mix(tuple(parts))
)
disks = st.lists(st.one_of(patterns, mixes), min_size=1, max_size=3).map(tuple)
LOADS = st.one_of(
    st.builds(
        PoissonLoad, st.integers(0, 99), st.just("vm"), st.sampled_from([0, 3.0, 1e4]), disks
    ),
    st.builds(ClosedLoad, st.integers(0, 99), st.just("vm"), st.just(2), st.just(0.01), disks),
)


def built(*, disk_blocks=256, laid=True, **more) -> CompiledEngine:
    """One disk on one LUN, whose pool lies on a station if *laid*."""
    env, site = Environment(), Site(**more)
    engine = CompiledEngine(env, site, 1, Recorder())
    pool = site.create_pool(1 << 20, 1 << 10)
    engine.lun = site.create_lun(1 << 13, 16, pool, 0)
    if laid:
        engine.add_pool(pool, Geometry(Raid.RAID0, engine.add_station(fixed(1.0)), 1, BLOCK))
    store = site.create_store([engine.lun], 256, 256)
    file = store.create_file("base", disk_blocks, sparse=False, zeroed=True)
    for index in range(disk_blocks // 256):
        file.place(index, 0, index)
    engine.disk = site.create_disk("base", disk_blocks, file)
    return engine


@settings(max_examples=20)
@given(LOADS)
def test_a_load_as_arrays_is_the_load(load) -> None:
    wanted = list(islice(load.ios(), 9000))
    found: list = []
    for seconds, rows in batches(load, built().add_guest("vm", [], [], load)):
        found += zip(seconds.tolist(), *rows.T.tolist(), strict=True)
        if len(found) >= 9000:
            break
    assert found[:9000] == wanted


def test_any_load_is_read_row_by_row_to_its_end() -> None:
    engine = built()
    rows = [(float(k), 0, k % 2 == 0, k * 512, 512) for k in range(1000)]
    load = Script(rows)
    found: list = []
    for seconds, ios in batches(load, engine.add_guest("vm", [engine.disk], [], load)):
        found += zip(seconds.tolist(), *ios.T.tolist(), strict=True)
    assert found == rows


def test_what_is_not_compiled_is_refused() -> None:
    engine = built()
    guest = engine.add_guest("vm", [engine.disk], [engine.lun], Script([]))
    engine.start(guest)
    with pytest.raises(Unsupported, match="twice"):
        engine.start(guest)
    engine.submit([], Purpose.CONTROL)
    with pytest.raises(Unsupported, match="under way"):
        engine.block_copies(engine.lun.pool)
    with pytest.raises(Unsupported, match="under way"):
        engine.add_cache(engine.lun.pool, Cache(BLOCK))


def test_a_pool_has_one_cache_and_stations_before_it() -> None:
    engine = built()
    with pytest.raises(Misuse, match="add it first"):
        engine.add_cache(engine.site.create_pool(1 << 10, 0), Cache(BLOCK))
    engine.add_cache(engine.lun.pool, Cache(BLOCK))
    with pytest.raises(Misuse, match="already"):
        engine.add_cache(engine.lun.pool, Cache(BLOCK))


def test_a_limit_that_makes_no_sense_is_misuse() -> None:
    engine = built()
    guest = engine.add_guest("vm", [engine.disk], [engine.lun], None)
    with pytest.raises(Misuse, match="above 0"):
        engine.set_iops_limit(guest, 0, -1.0)
    with pytest.raises(Misuse, match="1 disks"):
        engine.set_iops_limit(guest, 1, 5.0)


def test_misuse_is_refused_as_the_reference_refuses_it() -> None:
    engine = built()
    other = Reference(Environment(), engine.site, 1)
    for each in (engine, other):
        each.add_station(link(1.0))
        with pytest.raises(Misuse, match="not above 0"):
            each.set_rate(0, 0.0)
        with pytest.raises(ValueError, match="at least one"):
            each.add_station(link(1.0), 0)
        with pytest.raises(ValueError, match="stroke"):
            each.add_station(disk(7200, 0.1, 1.0, 1e6))
        with pytest.raises(Bug, match="not stunned"):
            each.resume(each.add_guest("vm", [], [], None))
        with pytest.raises(Bug, match="not fenced"):
            each.unfence([engine.lun])
    with pytest.raises(Bug, match="one compiled engine"):
        CompiledEngine(engine.env, engine.site, 1)


def test_an_io_larger_than_any_ends_the_run() -> None:
    engine = built(disk_blocks=4096)
    size = (4 << 20) + 1
    engine.start(
        engine.add_guest("vm", [engine.disk], [engine.lun], Script([(1.0, 0, False, 0, size)]))
    )
    with pytest.raises(Bug, match="cut it up"):
        engine.env.run(2.0)


def test_a_pool_without_stations_is_a_bug() -> None:
    engine = built(laid=False)
    with pytest.raises(Misuse, match="add it first"):
        engine.submit([(0, 0, 0, engine.lun.pool, 0, BLOCK)], Purpose.CONTROL)
    engine.start(
        engine.add_guest("vm", [engine.disk], [engine.lun], Script([(1.0, 0, False, 0, BLOCK)]))
    )
    with pytest.raises(Bug, match="add_pool"):
        engine.env.run(2.0)


def test_without_space_and_nobody_to_tell_the_run_ends() -> None:
    engine = built()
    store = engine.disk.head.file.store
    thin = engine.site.create_disk(
        "thin", 256, store.create_file("t", 256, sparse=False, zeroed=True)
    )

    class Nothing:
        def provide(self, file, index: int) -> int:
            raise NoSpace("the datastore", 1, 0)

    store.keeper = Nothing()
    engine.start(engine.add_guest("vm", [thin], [], Script([(1.0, 0, True, 0, BLOCK)])))
    with pytest.raises(NoSpace):
        engine.env.run(2.0)


def test_a_meter_is_asked_before_the_kernel_has_told_it() -> None:
    engine = built()
    script = Script([(float(3 * k), 0, True, k * BLOCK, BLOCK) for k in range(4)])
    guest = engine.add_guest("vm", [engine.disk], [engine.lun], script)
    engine.start(guest)
    engine.env.run(7.5)
    assert (guest.arrived, guest.completed, guest.in_flight, len(guest.waiting)) == (3, 3, 0, 0)
    assert engine.meter.latencies("vm").seconds.tolist() == [1.0] * 3
    assert engine.meter.busy([0], np.array([0.0, 3.5, 7.0])).tolist() == [1.5, 1.5]
    assert engine.meter.recent_latency(["vm"], 6.0) == 1.0


def test_a_full_log_is_settled_and_a_full_buffer_handed_over() -> None:
    engine = built(keep_log=True)
    rows = [(float(k), 0, True, (k % 200) * BLOCK, BLOCK) for k in range(3)]
    engine.start(engine.add_guest("vm", [engine.disk], [engine.lun], Script(rows)))
    log = engine.site.arena.tables.counters
    items = np.array([[k * BLOCK, BLOCK] for k in range(2)], np.int64)
    engine.stream(StreamSpec(Io.WRITE_DISK, engine.disk, items, 2, Purpose.RESTORE))
    engine.env.run(10.0)
    assert log[3, 0] == 5
    engine.site.settle()
    assert len(engine.site.history) == 5
    assert engine.disk.head.tokens(0, 3).tolist() == sorted(engine.disk.head.tokens(0, 3).tolist())
