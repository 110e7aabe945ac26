"""How long devices take: against measured drives, and by first principles."""

from __future__ import annotations

import numpy as np
import pytest

from iops.lab import BLOCK, Lab, fixed, reads
from stuntdouble.clock import Environment
from stuntdouble.errors import Misuse
from stuntdouble.iops import (
    DISK_10K,
    DISK_7200,
    FLASH_CHANNEL,
    Io,
    Pattern,
    PoissonLoad,
    Purpose,
    exponential,
    flash,
    link,
)
from stuntdouble.iops.draw import units
from stuntdouble.iops.station import Station
from stuntdouble.iops.work import travel, visit_seconds
from stuntdouble.site import Role
from stuntdouble.trace import stream_key

STROKE = 1 << 40


def serve(service, visits, stroke: int = STROKE, key: int = 7) -> np.ndarray:
    """Return the seconds of visits (write, position, bytes), one after the other."""
    env = Environment()
    station = Station(env, 0, service, 1, stroke, key)
    took: list[float] = []
    station.on_visit = lambda _station, _purpose, _start, seconds: took.append(seconds)
    for write, position, size in visits:
        station.visit(write, position, size, 0)
    env.run()
    assert env.now == pytest.approx(sum(took))
    return np.array(took)


@pytest.mark.parametrize(
    ("service", "least", "most", "p95"),
    [
        # mean service of non-sequential reads of 2 to 4 KiB, the least and the most of three
        # drives each, and their 95th percentiles (drive traces shipped with DiskSim)
        (DISK_7200, 9.31, 11.39, (17.1, 20.5)),
        (DISK_10K, 6.64, 9.15, (12.9, 17.4)),
    ],
)
def test_random_reads_take_what_drives_were_measured_to_take(service, least, most, p95) -> None:
    places = (units(stream_key(1, "places"), 0, 20_000) * (STROKE - 4096)).astype(np.int64)
    took = serve(service, [(0, int(place), 3072) for place in places]) * 1e3
    assert least <= took.mean() <= most
    # a uniform turn and a seek have no measured tail (retries, recalibration): 15 % is allowed
    assert p95[0] * 0.85 <= np.percentile(took, 95) <= p95[1]


@pytest.mark.plain
@pytest.mark.parametrize("service", [DISK_7200, DISK_10K])
def test_what_is_sequential_costs_its_transfer_only(service) -> None:
    mib = 1 << 20
    took = serve(service, [(k % 2, k * mib, mib) for k in range(100)])
    assert took == pytest.approx(mib / service.bytes_per_second)
    again = serve(service, [(0, 0, mib), (0, 0, mib)])  # back to the start: a seek and a turn
    assert again[1] > took[1] + service.seek_min_seconds


@pytest.mark.plain
def test_a_gap_on_the_track_passes_under_the_head_and_one_beyond_is_a_seek() -> None:
    track = int(DISK_7200.turn_seconds * DISK_7200.bytes_per_second)
    gaps = [4096, 65536, track]
    for gap in gaps:
        took = serve(DISK_7200, [(0, 0, 4096), (0, 4096 + gap, 4096)])
        assert took[1] == pytest.approx((gap + 4096) / DISK_7200.bytes_per_second)
    assert travel(0, track + 1, 1e12, float(track)) == ((track + 1) / 1e12, 0)
    assert travel(100, 99, 1000.0, 500.0) == (0.001, 0)  # what lies behind has just gone by
    assert travel(0, 5000, 1000.0, 10.0) == (1.0, 0)  # no seek goes further than the stroke


@pytest.mark.plain
def test_a_seek_grows_with_its_distance_and_rotation_is_uniform() -> None:
    row = DISK_7200.row()
    turn, transfer = DISK_7200.turn_seconds, 4096 / 150e6

    def seconds(distance: float, drawn: float) -> float:
        return visit_seconds(0, row, 0, 4096, distance, drawn)

    assert seconds(0.0, 0.9) == pytest.approx(transfer)
    assert seconds(1.0, 0.0) == pytest.approx(transfer + 0.0104)
    assert seconds(0.25, 0.5) == pytest.approx(transfer + 0.001 + 0.0047 + turn / 2)
    distances = np.linspace(0.001, 1, 50)
    assert (np.diff([seconds(d, 0.3) for d in distances]) > 0).all()


@pytest.mark.plain
def test_flash_and_links_know_no_place() -> None:
    assert serve(FLASH_CHANNEL, [(0, 10**9, 4096), (1, 5, 4096)]) == pytest.approx(
        [100e-6 + 4096 / 500e6, 60e-6 + 4096 / 500e6]
    )
    assert serve(link(1e6, 0.5), [(0, 77, 1000), (1, 0, 0)]) == pytest.approx([0.501, 0.5])
    assert serve(flash(1.0, 2.0, 0.0), [(0, 0, 10**6), (1, 0, 1)]) == pytest.approx([1.0, 2.0])


def test_exponential_service_has_its_mean_and_its_spread() -> None:
    took = serve(exponential(0.25), [(k % 2, 0, 4096) for k in range(30_000)])
    assert took.mean() == pytest.approx(0.25, rel=0.02)
    assert took.std() == pytest.approx(0.25, rel=0.03)
    assert (took >= 0).all()


# Rates. ------------------------------------------------------------------------------------------


@pytest.mark.plain
def test_a_rate_holds_for_services_that_start_after_it() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    lab.guest(reads(0.0, 0.0, 0.0, 0.0))
    lab.at(0.5, lambda: lab.engine.set_rate(0, 0.25))
    lab.at(5.5, lambda: lab.engine.set_rate(0, 2.0))
    lab.run(20.0)
    assert [end for _, end in lab.io_times()] == [1.0, 5.0, 9.0, 9.5]
    busy = lab.engine.meter.busy([0], np.array([0.0, 1.0, 5.0, 9.0, 9.5, 20.0]))
    assert busy == pytest.approx([1.0, 4.0, 4.0, 0.5, 0.0])


@pytest.mark.plain
def test_a_rate_of_nothing_is_refused() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    for factor in (0.0, -1.0, float("nan")):
        with pytest.raises(Misuse, match="not above 0"):
            lab.engine.set_rate(0, factor)
    assert lab.engine.stations[0].rate == 1.0


@pytest.mark.plain
def test_a_station_that_cannot_be_is_refused() -> None:
    lab = Lab()
    with pytest.raises(ValueError, match="at least one"):
        lab.engine.add_station(fixed(1.0), 0)
    with pytest.raises(ValueError, match="its size in bytes"):
        lab.engine.add_station(DISK_7200)


@pytest.mark.plain
def test_an_io_over_unequal_stations_ends_with_the_slowest() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0), fixed(4.0), fixed(2.0))
    lab.at(0.0, lambda: lab.stream(Io.READ_LUN, lab.lun, [(0, 3 * BLOCK), (0, 2 * BLOCK)]))
    lab.run(20.0)
    # the second item waits for the slowest of the first, not for its own stations
    assert lab.starts == [
        (t, station, int(Purpose.BACKUP)) for t, station in ((0.0, 0), (0.0, 1), (0.0, 2), (4.0, 0), (4.0, 1))
    ]  # fmt: skip


def test_a_slow_disk_slows_a_stripe_and_hardly_its_neighbours() -> None:
    """A failing drive at half speed: its queue grows, the others keep theirs."""
    lab = Lab()
    lab.stripe(*[exponential(0.01)] * 4)
    lab.guest(PoissonLoad(1, "vm", 160.0, (Pattern(1.0, BLOCK, BLOCK << 10),)))
    lab.engine.set_rate(2, 0.5)
    lab.run(100.0)
    busy = [lab.engine.meter.busy([k], np.array([0.0, 100.0]))[0] / 100 for k in range(4)]
    assert busy[2] == pytest.approx(0.8, abs=0.05)
    assert [busy[k] for k in (0, 1, 3)] == pytest.approx([0.4] * 3, abs=0.03)


# Single I/Os. ------------------------------------------------------------------------------------


@pytest.mark.plain
def test_what_control_submits_goes_group_by_group_on_its_own_account() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0), fixed(2.0))
    data, meta = int(Role.DATA), int(Role.METADATA)
    steps = [
        (3, data, 1, lab.pool, 1, BLOCK),
        (-1, meta, 1, lab.pool, 0, 512),
        (3, data, 1, lab.pool, 0, BLOCK),
    ]
    ended = lab.engine.submit(steps, Purpose.CONTROL)
    nothing = lab.engine.submit([], Purpose.CONTROL)
    assert lab.env.expecting
    when: dict[str, float] = {}
    ended.callbacks.append(lambda _: when.update(ended=lab.env.now))
    nothing.callbacks.append(lambda _: when.update(nothing=lab.env.now))
    lab.run(9.0)
    control = int(Purpose.CONTROL)
    # the two data visits go in the order of the steps: block 1 lies on station 1
    assert lab.starts == [(0.0, 0, control), (1.0, 1, control), (1.0, 0, control)]
    assert when == {"nothing": 0.0, "ended": 3.0}
    assert not lab.env.expecting


@pytest.mark.plain
def test_what_a_guest_did_not_ask_for_is_on_the_side_account() -> None:
    from iops.lab import Script
    from stuntdouble.site import COPY_ON_WRITE

    lab = Lab()
    lab.stripe(fixed(1.0))
    lab.site.freeze([lab.lun], COPY_ON_WRITE)
    lab.guest(Script([(0.0, 0, True, 0, BLOCK), (10.0, 0, True, 0, BLOCK)]))
    lab.run(30.0)
    side, guest = int(Purpose.SIDE), int(Purpose.GUEST)
    accounts = [(start, purpose) for start, _, purpose in lab.starts]
    # the whole chunk of 16 stripes is read and written aside at once per station, then the data
    assert {purpose for _, purpose in accounts[:-2]} == {side}
    assert accounts[-2:] == [(2.0, guest), (10.0, guest)]
