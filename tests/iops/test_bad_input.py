"""What makes no sense is refused before it is played, in one line that says what."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from iops.lab import BLOCK, Lab, Script, conserved, fixed, reads
from stuntdouble.errors import LimitReached, Misuse, Unreachable, Unsupported
from stuntdouble.iops import (
    OUTSTANDING_MAX,
    Cache,
    ClosedLoad,
    Geometry,
    Io,
    Mix,
    Pattern,
    PoissonLoad,
    Purpose,
    Raid,
    Recorded,
    Reference,
    Service,
    StreamSpec,
    TraceLoad,
    disk,
    exponential,
    flash,
    link,
)
from stuntdouble.iops.kernel import CompiledEngine

pytestmark = pytest.mark.plain

ENGINES = pytest.mark.parametrize("engine", [Reference, CompiledEngine])

GOOD = Pattern(0.5, BLOCK, 8 * BLOCK)
HUGE = 1 << 63


# Constructors. ---------------------------------------------------------------------------------

VALUES = {
    "reads above 1": (lambda: Pattern(1.5, BLOCK, BLOCK), "share of reads is 1.5"),
    "reads not a number": (lambda: Pattern(nan, BLOCK, BLOCK), "share of reads is nan"),
    "an I/O of nothing": (lambda: Pattern(0.5, 0, BLOCK), "do not fit"),
    "too large an I/O": (lambda: Pattern(0.5, 2 * BLOCK, BLOCK), "do not fit"),
    "a working set beyond addresses": (lambda: Pattern(0.5, BLOCK, HUGE), "working set is"),
    "a skew of 0": (lambda: Pattern(0.5, BLOCK, BLOCK, 0.0), "skew is 0.0"),
    "a skew without end": (lambda: Pattern(0.5, BLOCK, BLOCK, inf), "skew is inf"),
    "sequential below 0": (
        lambda: Pattern(0.5, BLOCK, BLOCK, 1.0, -0.1),
        "sequential I/Os is -0.1",
    ),
    "a mix of nothing": (lambda: Mix(()), "a mix of weights"),
    "a negative rate": (lambda: PoissonLoad(1, "vm", -1.0, (GOOD,)), "Poisson load is -1.0"),
    "a rate that is no number": (lambda: PoissonLoad(1, "vm", nan, (GOOD,)), "Poisson load is nan"),
    "an endless rate": (lambda: PoissonLoad(1, "vm", inf, (GOOD,)), "Poisson load is inf"),
    "a rate beyond any clock": (
        lambda: PoissonLoad(1, "vm", 1e300, (GOOD,)),
        "is 1e.300: .* to 1e.09",
    ),
    "a rate that never comes": (
        lambda: PoissonLoad(1, "vm", 5e-324, (GOOD,)),
        "is 5e-324: .*1e-09",
    ),
    "an open load of nothing": (lambda: PoissonLoad(1, "vm", 1.0, ()), "without a pattern"),
    "a negative think time": (lambda: ClosedLoad(1, "vm", 1, -1.0, (GOOD,)), "closed load is -1.0"),
    "an endless think time": (lambda: ClosedLoad(1, "vm", 1, inf, (GOOD,)), "closed load is inf"),
    "nothing outstanding": (lambda: ClosedLoad(1, "vm", 0, 1.0, (GOOD,)), "never begins"),
    "outstanding without end": (lambda: ClosedLoad(1, "vm", 1 << 40, 1.0, (GOOD,)), "65536 is the"),
    "a closed load of nothing": (lambda: ClosedLoad(1, "vm", 1, 1.0, ()), "without a pattern"),
    "a disk that stands still": (lambda: disk(0.0, 0.1, 1.0, 1e6), "speed of a disk is 0.0"),
    "a seek below 0": (lambda: disk(7200, -0.1, 1.0, 1e6), "seek_min_seconds of a device is -0.1"),
    "seeks the wrong way round": (lambda: disk(7200, 0.2, 0.1, 1e6), "longest seek is 0.1"),
    "a negative overhead": (lambda: flash(-1.0, 0.0, 1e6), "overhead_seconds of a device is -1.0"),
    "an endless overhead": (lambda: flash(0.0, inf, 1e6), "write_overhead_seconds"),
    "a negative pace": (lambda: link(-1.0), "bytes_per_second of a device is -1.0"),
    "a pace that is no number": (lambda: link(nan), "bytes_per_second of a device is nan"),
    "a mean of 0": (lambda: exponential(0.0), "exponential service is 0.0"),
    "a turn below 0": (lambda: Service(0, turn_seconds=-1.0), "turn_seconds of a device"),
    "no stripe": (lambda: Geometry(Raid.RAID0, 0, 1, 0), "a stripe is 0 bytes"),
    "a stripe beyond addresses": (lambda: Geometry(Raid.RAID0, 0, 1, HUGE), "a stripe is"),
    "a station below 0": (lambda: Geometry(Raid.RAID0, -1, 1, BLOCK), "counted from 0"),
    "a port that is a disk": (lambda: Geometry(Raid.RAID0, 0, 2, BLOCK, 1), "both a disk and"),
    "no disks": (lambda: Geometry(Raid.RAID0, 0, 0, BLOCK), "does not work with 0"),
    "a cache without room": (lambda: Cache(0), "mark of a cache is 0"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_make_no_sense_cannot_be_made(name) -> None:
    make, said = VALUES[name]
    with pytest.raises(ValueError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)


def recorded(*rows: tuple[float, int, int]) -> Recorded:
    seconds, offsets, lengths = zip(*rows, strict=True)
    return Recorded(
        np.array(seconds, np.float64),
        np.zeros(len(rows), np.bool_),
        np.array(offsets, np.int64),
        np.array(lengths, np.int64),
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(0.0, 0, 512), (2.0, 0, 512), (1.0, 0, 512)], "goes back, to 1.0 s in row 2"),
        ([(-1.0, 0, 512)], "goes back, to -1.0 s in row 0"),
        ([(0.0, 0, 512), (nan, 0, 512)], "nan s in row 1"),
        ([(0.0, 0, 512), (inf, 0, 512)], "the end of a trace is inf"),
        ([(0.0, -512, 512)], "512 bytes at -512 in row 0"),
        ([(0.0, 0, 0)], "0 bytes at 0 in row 0"),
        ([(0.0, 0, 512), (1.0, HUGE - 512, 512)], f"at {HUGE - 512} in row 1"),
    ],
)
def test_a_trace_that_makes_no_sense_is_no_load(rows, said) -> None:
    with pytest.raises(ValueError, match=said):
        TraceLoad(recorded(*rows), 1 << 20)


def test_a_trace_may_end_at_the_last_address_and_wraps_onto_the_disk() -> None:
    load = TraceLoad(recorded((0.0, HUGE - 1024, 512)), 1 << 20, repeat=False)
    ((_, _, _, offset, length),) = load.ios()
    assert 0 <= offset <= (1 << 20) - length


def test_a_trace_that_never_ends_at_its_speed_is_no_load() -> None:
    with pytest.raises(ValueError, match="finite"):
        TraceLoad(recorded((1e300, 0, 512)), 1 << 20, 1e-300)


@pytest.mark.parametrize(
    ("size", "speed", "said"),
    [
        (0, 1.0, "is 0 bytes"),
        (1 << 20, 0.0, "is 0.0"),
        (1 << 20, nan, "is nan"),
        (HUGE, 1.0, "EiB"),
        (1 << 20, 5e-324, "the end of a trace at its speed is inf"),
    ],
)
def test_a_trace_needs_a_disk_and_a_speed(size, speed, said) -> None:
    with pytest.raises(ValueError, match=said):
        TraceLoad(recorded((0.0, 0, 512), (1.0, 0, 512)), size, speed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depth": -1}, "depth -1"),
        ({"depth": OUTSTANDING_MAX + 1}, "depth 65537: 65536 is the most"),
        ({"bytes_per_second": -1.0}, "-1.0 bytes per second"),
        ({"bytes_per_second": nan}, "nan bytes per second"),
        ({"link": -2}, "station -2"),
        ({"items": np.zeros(4, np.int64)}, "rows of int64"),
        ({"items": np.ones((1, 2), np.float64)}, "rows of int64"),
        ({"items": np.array([[0, 1], [-1, 1]])}, "item 1 of a stream is 1 at -1"),
        ({"items": np.array([[0, 0]])}, "item 0 of a stream is 0 at 0"),
        ({"items": np.array([[HUGE - 2, 2]])}, f"2 at {HUGE - 2}"),
    ],
)
def test_a_stream_that_makes_no_sense_cannot_be_specified(change, said) -> None:
    lab = Lab()
    items = np.array([[0, BLOCK]])
    wanted = {"items": items, "depth": 1, "purpose": Purpose.BACKUP} | change
    with pytest.raises(ValueError, match=said):
        StreamSpec(Io.READ_LUN, lab.lun, **wanted)


# Doors. ----------------------------------------------------------------------------------------


def doors(engine: type[Reference | CompiledEngine]) -> dict:
    lab = Lab(engine)
    lab.stripe(fixed(1.0))
    engine, pool = lab.engine, lab.pool
    guest = lab.guest(None)
    step = (0, 0, 0, pool, 0, BLOCK)
    bytes_of = {Io.READ_LEVEL: lab.disk.head, Io.WRITE_DISK: lab.disk, Io.READ_LUN: lab.lun}
    past = {
        f"past the end: {io.name}": (
            lambda io=io, target=target: lab.stream(io, target, [(0, BLOCK), (1 << 40, BLOCK)]),
            f"an item ends at {(1 << 40) + BLOCK}",
        )
        for io, target in bytes_of.items()
    }
    return past | {
        "move past the end": (
            lambda: lab.stream(Io.MOVE_LEVEL, lab.disk.head, [(4095, 2)]),
            "an item ends at 4097, and its target at 4096",
        ),
        "no such link": (
            lambda: lab.stream(Io.READ_LUN, lab.lun, [(0, BLOCK)], link=1),
            "its link is station 1, and there are 1",
        ),
        "a pool on no station": (
            lambda: engine.add_pool(pool, Geometry(Raid.RAID0, 0, 2, BLOCK)),
            "lies on station 1, and there are 1",
        ),
        **{
            f"no such pool of the site: {number}": (
                lambda number=number: engine.add_pool(number, Geometry(Raid.RAID0, 0, 1, BLOCK)),
                f"pool {number}: the site has 1, counted from 1",
            )
            for number in (-1, 0, 2, 1 << 8)
        },
        **{
            f"no such pool to cut off: {number}": (
                lambda number=number: engine.cut_off(number, Unreachable("array-1")),
                f"pool {number}: the site has 1, counted from 1",
            )
            for number in (-1, 0, 2, 1 << 8)
        },
        "a port that is not there": (
            lambda: engine.add_pool(pool, Geometry(Raid.RAID0, 0, 1, BLOCK, 7)),
            "lies on station 7",
        ),
        "an unknown pool that blocks": (lambda: engine.block_copies(9), "pool 9: add it first"),
        "an unknown pool behind a cache": (lambda: engine.add_cache(9, Cache(1)), "pool 9: add it"),
        "two caches": (
            lambda: [engine.add_cache(pool, Cache(BLOCK)) for _ in range(2)],
            "it has a cache already",
        ),
        "an I/O to an unknown pool": (
            lambda: engine.submit([(0, 0, 0, 9, 0, BLOCK)], Purpose.BACKUP),
            "pool 9: add it first",
        ),
        "an I/O of nothing": (
            lambda: engine.submit([(*step[:5], 0)], Purpose.BACKUP),
            "an I/O: 0 bytes at block 0",
        ),
        "an I/O below 0": (
            lambda: engine.submit([(*step[:4], -1, BLOCK)], Purpose.BACKUP),
            f"an I/O: {BLOCK} bytes at block -1",
        ),
        "an I/O beyond any address": (
            lambda: engine.submit([(*step[:4], 1 << 61, BLOCK)], Purpose.BACKUP),
            f"an I/O: {BLOCK} bytes at block {1 << 61}",
        ),
        "an I/O of all addresses": (
            lambda: engine.submit([(*step[:5], HUGE)], Purpose.BACKUP),
            f"an I/O: {HUGE} bytes at block 0",
        ),
        "a negative limit": (lambda: engine.set_limit(guest, -1), "-1 is below 0"),
        "a limit that nothing reaches": (
            lambda: engine.set_limit(guest, HUGE),
            f"{HUGE} is more than 65536",
        ),
        "more outstanding than there can be": (
            lambda: lab.guest(reads(1.0, outstanding=1 << 40)),
            f"{1 << 40} is more than 65536",
        ),
        "fewer outstanding than none": (
            lambda: lab.guest(reads(1.0, outstanding=-1)),
            "-1 is below 0",
        ),
        "a pool whose reserve is below 0": (
            lambda: lab.site.create_pool(0, -1),
            "a pool: its reserve of -1 blocks is at 0",
        ),
        "a pool that begins below 0": (
            lambda: lab.site.create_pool(-1, 8),
            "its reserve of 8 blocks is at -1",
        ),
        "a pool beyond any address": (
            lambda: lab.site.create_pool(HUGE, 8),
            f"its reserve of 8 blocks is at {HUGE}",
        ),
        "no such station": (lambda: engine.set_rate(1, 1.0), "there are 1, counted from 0"),
        "a station from behind": (lambda: engine.set_rate(-1, 1.0), "counted from 0"),
        "a rate that is no number": (lambda: engine.set_rate(0, nan), "nan is not above 0"),
        "an endless rate": (lambda: engine.set_rate(0, inf), "inf is not above 0 and finite"),
        "a watch for no number": (lambda: engine.watch(lambda: 1.0, nan), "not a number"),
    }


@ENGINES
@pytest.mark.parametrize("name", doors(Reference))
def test_doors_refuse_and_nothing_has_happened(name, engine) -> None:
    act, said = doors(engine)[name]
    with pytest.raises(Misuse, match=said) as refused:
        act()
    assert "\n" not in str(refused.value)


@ENGINES
@pytest.mark.parametrize("servers", [-1, 0, HUGE])
def test_a_station_serves_as_many_as_there_can_be(servers, engine) -> None:
    lab = Lab(engine)
    with pytest.raises(ValueError, match=f"station 0 has {servers} servers: "):
        lab.engine.add_station(fixed(1.0), servers)
    assert lab.engine.add_station(fixed(1.0), 1 << 20) == 0


@ENGINES
@pytest.mark.parametrize("outstanding", [0, 1])
def test_a_load_begins_once(outstanding, engine) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(0.25))
    guest = lab.guest(reads(1.0, 2.0, outstanding=outstanding))
    with pytest.raises(Unsupported, match="starting the load of vm twice"):
        lab.engine.start(guest)
    lab.run(9.0)
    assert guest.completed == 2
    with pytest.raises(Unsupported, match="starting the load of vm twice"):
        lab.engine.start(guest)


@ENGINES
def test_a_load_that_was_refused_may_begin_once_it_makes_sense(engine) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(0.25))
    guest = lab.guest(PoissonLoad(1, "vm", 5.0, (GOOD, GOOD)), start=False)
    with pytest.raises(Misuse, match="disk 1, and it has 1"):
        lab.engine.start(guest)
    guest.load = reads(1.0)
    lab.engine.start(guest)
    lab.run(9.0)
    assert guest.completed == 1


@ENGINES
@pytest.mark.parametrize("iops", [1e-9, 0.0])
def test_an_arrival_of_the_least_rate_is_at_a_time_that_there_is(iops, engine) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(0.25))
    guest = lab.guest(PoissonLoad(1, "vm", iops, (GOOD,)))
    lab.run(9.0)
    assert guest.arrived == 0


@ENGINES
def test_a_refused_act_leaves_an_engine_that_works(engine) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(1.0))
    guest = lab.guest(reads(1.0))
    stream = lab.stream(Io.READ_LUN, lab.lun, [(0, BLOCK)] * 2)
    for wrong in ({"depth": -1}, {"depth": OUTSTANDING_MAX + 1}, {"bytes_per_second": nan}):
        ((name, value),) = wrong.items()
        with pytest.raises(Misuse, match="a change of pace"):
            setattr(stream, name, value)
    with pytest.raises(Misuse):
        lab.engine.submit([(0, 0, 0, 9, 0, BLOCK)], Purpose.BACKUP)
    with pytest.raises(Misuse):
        lab.engine.watch(lambda: 0.0, nan)
    lab.engine.add_cache(lab.pool, Cache(BLOCK))
    for pool in (lab.pool, 9):
        with pytest.raises(Misuse):
            lab.engine.add_cache(pool, Cache(BLOCK))
    assert lab.engine.add_station(fixed(1.0)) == 2
    lab.run(9.0)
    assert stream.finished.processed
    assert guest.completed == 1
    assert not lab.env.expecting


@ENGINES
@pytest.mark.parametrize("outstanding", [0, 1])
@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((1.0, 1, False, 0, BLOCK), "disk 1, and it has 1"),
        ((1.0, -1, False, 0, BLOCK), "disk -1"),
        ((1.0, 0, False, 4096 * BLOCK, BLOCK), "disk 0 ends at"),
        ((1.0, 0, True, 4096 * BLOCK - 1, 2), "disk 0 ends at"),
        ((1.0, 0, False, -BLOCK, BLOCK), f"{BLOCK} bytes at -{BLOCK}"),
        ((1.0, 0, False, 0, 0), "0 bytes at 0"),
        ((1.0, 0, False, HUGE - 1, HUGE - 1), "disk 0 ends at"),
        ((nan, 0, False, 0, BLOCK), "to nan s"),
        ((inf, 0, False, 0, BLOCK), "to inf s"),
        ((-1.0, 0, False, 0, BLOCK), "to -1.0 s"),
    ],
)
def test_a_row_of_a_load_that_makes_no_sense_is_never_issued(
    row, said, outstanding, engine
) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(0.25))
    guest = lab.guest(Script([(0.5, 0, False, 0, BLOCK), row], outstanding))
    with pytest.raises(Misuse, match=said) as refused:
        lab.run(9.0)
    assert str(refused.value).startswith("the load of vm: ")
    assert guest.arrived == 1
    assert conserved(guest)


@ENGINES
def test_an_open_load_whose_clock_goes_back_is_refused_and_thinks_may_vary(engine) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(0.25))
    lab.guest(reads(2.0, 1.0))
    with pytest.raises(Misuse, match=r"its clock goes from 2\.0 s to 1\.0 s"):
        lab.run(9.0)
    lab = Lab(engine)
    lab.stripe(fixed(0.25))
    guest = lab.guest(reads(2.0, 1.0, outstanding=1))
    lab.run(9.0)
    assert guest.completed == 2


@ENGINES
@pytest.mark.parametrize("outstanding", [0, 2])
@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ((Pattern(0.5, BLOCK, 4097 * BLOCK),), f"{BLOCK} bytes at {4096 * BLOCK}"),
        ((Mix(((1.0, GOOD), (1.0, Pattern(0.5, BLOCK, 1 << 40)))),), "disk 0 ends at"),
        ((GOOD, GOOD), "disk 1, and it has 1"),
    ],
)
def test_a_load_that_would_leave_its_disks_never_begins(
    patterns, said, outstanding, engine
) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(0.25))
    if outstanding:
        load = ClosedLoad(1, "vm", outstanding, 1.0, patterns)
    else:
        load = PoissonLoad(1, "vm", 5.0, patterns)
    guest = lab.guest(load, start=False)
    with pytest.raises(Misuse, match=said):
        lab.engine.start(guest)
    lab.run(9.0)
    assert guest.arrived == 0


def test_more_limits_than_there_is_room_for_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("stuntdouble.iops.kernel.tokens.BUCKETS_MAX", 3)
    lab = Lab(CompiledEngine)
    lab.stripe(fixed(0.25))
    guest = lab.guest(None)
    for _ in range(3):
        lab.engine.set_iops_limit(guest, 0, 10.0)
        lab.engine.set_iops_limit(guest, 0, 0)
    with pytest.raises(LimitReached, match="limits"):
        lab.engine.set_iops_limit(guest, 0, 10.0)
