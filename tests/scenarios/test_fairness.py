"""The rules of a fair comparison, each held by a test that names it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from scenarios.living import Lived, live
from scenarios.tiny import tiny
from stuntdouble.backup import Method
from stuntdouble.clock import Environment
from stuntdouble.hypervisor import Parameters
from stuntdouble.iops import DISK_10K, Purpose, Reference
from stuntdouble.ports import Kind
from stuntdouble.scenarios.comparing import job_spec
from stuntdouble.site import Site
from stuntdouble.units import MIB, parse_size

METHODS = ("software", "storage", "mounted")
GUEST = (int(Purpose.GUEST),)


def with_neighbour(**changes: Any) -> dict[str, Any]:
    """Return the tiny scenario with a VM on the same volume that is not backed up."""
    table = tiny(**changes)
    neighbour = copy.deepcopy(table["vms"][0])
    neighbour["name"] = "neighbour"
    table["vms"].append(neighbour)
    table["backup"] = {**table["backup"], "vms": ["vm-1"], "runs": ["full"]}
    return table


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Lived:
    """All three methods over the same site, with a neighbour."""
    table = with_neighbour()
    table["backup"] |= {"transport": "san"}
    return live(table, tmp_path_factory.mktemp("three"))


def assumed(lived: Lived, name: str) -> str:
    return next(line.value for line in lived.result.assumptions if line.name == name)


# One throttle. -----------------------------------------------------------------------------------


def test_one_throttle_is_shared_by_all_methods(three):
    world = three.runs["software"].world
    specs = [job_spec(world, method, Kind.FULL) for method in Method]
    assert len({repr(spec.throttle) for spec in specs}) == 1
    assert specs[0].throttle.bytes_per_second == parse_size("4 MiB")
    assert specs[0].throttle.depth == 4
    assert assumed(three, "read rate, all methods") == "4 MiB/s"


def test_every_method_reads_at_the_rate_of_the_throttle(three):
    for name, method in three.result.methods.items():
        rate = method.backup.bytes_read / method.foreground.reading.seconds / MIB
        assert 3.5 <= rate <= 4.5, name


# Transports. -------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["nbd", "hot-add", "san"])
def test_the_transport_is_stated_and_costs_what_it_costs(transport, tmp_path):
    table = tiny()
    table["backup"] |= {"transport": transport, "runs": ["full"], "lan": "2 MiB/s"}
    lived = live(table, tmp_path, methods=("software", "storage"))
    assert assumed(lived, "transport of software reads") == transport
    software, storage = lived.result.methods["software"], lived.result.methods["storage"]
    # Over the LAN, 2 MiB/s; else the throttle's 4 MiB/s; and 15 s to attach a disk.
    mib = software.backup.bytes_read / MIB
    expected = {"nbd": mib / 2, "hot-add": mib / 4 + 15, "san": mib / 4}[transport]
    assert software.foreground.reading.seconds == pytest.approx(expected, abs=0.5)
    direct = storage.backup.bytes_read / MIB / 4
    assert storage.foreground.reading.seconds == pytest.approx(direct, abs=0.5)
    assert all(p.verified for p in (*software.restore_points, *storage.restore_points))


# One class. --------------------------------------------------------------------------------------


def test_foreground_and_background_wait_in_one_queue(three):
    """First come, first served: a guest's I/O does not overtake a consolidation's."""
    env = Environment()
    engine = Reference(env, Site(block_bytes=4096), 1)
    station = engine.stations[engine.add_station(DISK_10K, stroke=1 << 30)]
    purposes = [Purpose.CONSOLIDATION] * 3 + [Purpose.GUEST] + [Purpose.BACKUP] * 2
    ended: list[int] = []
    for number, purpose in enumerate(purposes):
        visit = station.visit(1, number << 20, 4096, purpose)
        visit.callbacks.append(lambda _event, number=number: ended.append(number))
    env.run()
    assert ended == sorted(ended)
    assert len(ended) == len(purposes)
    assert "first-come-first-served" in assumed(three, "queueing")


# What the storage method pays. -------------------------------------------------------------------


def fenced(lived: Lived, vm: str) -> float:
    """Return the longest latency, in seconds, of I/O that arrived around the array snapshot."""
    run = lived.runs["storage"]
    (taken,) = {event.time for event in run.world.journal.of("array-snapshot")}
    around = run.world.engine.meter.latencies(vm).during(taken - 3, taken)
    return float(around.seconds.max())


def test_the_array_fence_is_felt_by_every_vm_on_the_volume(tmp_path):
    table = with_neighbour()
    table["arrays"][0]["parameters"] = {"fence_seconds": 2}
    lived = live(table, tmp_path, methods=("storage",))
    for vm in ("vm-1", "neighbour"):
        assert 1.9 <= fenced(lived, vm) <= 3.5  # and then everything that waited, at once
    software = live(table, tmp_path / "software", methods=("software",))
    assert software.result.methods["software"].vms[1].foreground.whole.latency_ms.max < 1500


def busy(lived: Lived, method: str, *purposes: Purpose) -> float:
    """Return the busy seconds of the pool's disks on these accounts, all told."""
    world = lived.runs[method].world
    edges = np.array([0.0, world.env.now])
    return float(world.engine.meter.busy(world.stations, edges, tuple(map(int, purposes)))[0])


def test_copies_before_first_writes_are_paid_for_by_neighbours_too(three):
    """Side effects of guest I/O: with no array snapshot there is the delta's and zeroing alone."""
    assert three.result.methods["storage"].array_snapshot_peak_bytes > 0
    assert three.result.methods["software"].array_snapshot_peak_bytes == 0
    neighbour = {name: m.vms[1].foreground for name, m in three.result.methods.items()}
    assert neighbour["storage"].before == neighbour["software"].before
    during = {name: load.reading.latency_ms for name, load in neighbour.items()}
    assert during["storage"].p95 > 1.5 * during["software"].p95


def test_consolidation_pays_for_copies_of_its_own_writes(three):
    """Its writes hit a volume that has just been frozen: each first one is a copy more."""

    def seconds_per_byte(method: str) -> float:
        merges = three.runs[method].world.journal.of("consolidation")
        moved = sum(event.facts["bytes"] for event in merges)
        return busy(three, method, Purpose.CONSOLIDATION) / moved

    assert seconds_per_byte("storage") > 1.3 * seconds_per_byte("software")


def test_snapshot_deletion_and_reclaim_are_part_of_the_job(tmp_path):
    slow = with_neighbour(times={"before": 5, "between": 5, "after": 60})
    slow["arrays"][0]["parameters"] = {"delete_seconds": 31, "reclaim_bytes_per_second": "1 MiB/s"}
    lived = live(slow, tmp_path, methods=("storage", "software"))
    usual = live(with_neighbour(), tmp_path / "usual", methods=("storage", "software"))
    for method, more in (("storage", 2 * 30), ("software", 0)):  # the copy, and the snapshot
        seconds = lived.result.methods[method].backup.seconds
        assert seconds == pytest.approx(usual.result.methods[method].backup.seconds + more, abs=2)
    reclaimed = lived.runs["storage"].world.journal.of("array-reclaimed")
    deleted = lived.runs["storage"].world.journal.of("array-snapshot-deleted")
    assert max(event.time for event in reclaimed) > min(event.time for event in deleted) + 1


def test_reclaim_is_io_of_the_arrays_disks(tmp_path):
    """A read and a write for every extent of freed space: smaller extents, more of them."""
    spent = {}
    for extent in ("1 GiB", "64 KiB"):
        table = with_neighbour(times={"before": 5, "between": 5, "after": 60})
        table["arrays"][0]["parameters"] = {"reclaim_extent_bytes": extent}
        lived = live(table, tmp_path / extent, methods=("storage", "software"))
        spent[extent] = {name: busy(lived, name, Purpose.CONTROL) for name in lived.runs}
    assert spent["64 KiB"]["software"] == spent["1 GiB"]["software"]
    assert spent["64 KiB"]["storage"] > spent["1 GiB"]["storage"] + 0.1


def test_the_first_vm_waits_for_the_quiesce_of_the_last(tmp_path):
    table = with_neighbour()
    table["backup"] |= {"vms": ["vm-1", "neighbour"], "quiesce": True}
    table["vms"][0]["quiesce"] = {"tools": True, "freeze": "100 ms"}
    table["vms"][1]["quiesce"] = {"tools": True, "freeze": "9 s"}
    lived = live(table, tmp_path, methods=("storage", "mounted"))
    opened = {
        name: {vm.name: vm.snapshot_open_seconds for vm in method.vms}
        for name, method in lived.result.methods.items()
    }
    for method in ("storage", "mounted"):  # both take one array snapshot for the two
        assert opened[method]["vm-1"] > opened[method]["neighbour"] + 8


# Stuns. ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_stunned_guest_issues_no_io_and_its_arrivals_shift(three, method):
    """The n-th arrival is later than on the site left alone by the stuns before it: no burst."""
    run = three.runs[method]
    mine = run.world.engine.meter.latencies("vm-1").arrived
    usual = three.alone.latencies("vm-1").arrived[: len(mine)]
    stuns = [event for event in run.world.journal.of("stun") if event.subject == "vm-1"]
    shift = mine - usual
    assert len(stuns) == 2
    expected = np.zeros(len(mine))
    for stun in stuns:
        expected[mine >= stun.time - 1e-9] += stun.facts["seconds"]
        stunned = (mine > stun.time - stun.facts["seconds"] + 1e-9) & (mine < stun.time - 1e-9)
        assert not stunned.any()
    assert shift == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_vm_without_a_snapshot_is_never_shifted(three, method):
    mine = three.runs[method].world.engine.meter.latencies("neighbour").arrived
    usual = three.alone.latencies("neighbour").arrived[: len(mine)]
    assert np.array_equal(mine, usual)


# Consolidation and concurrency. ------------------------------------------------------------------


def test_consolidation_is_mirror_unless_the_scenario_says_otherwise(three, tmp_path):
    assert Parameters().consolidation == "mirror"
    assert assumed(three, "consolidation") == "mirror"
    table = tiny(hypervisor={"consolidation": "helper"})
    helper = live(table, tmp_path, methods=("software",))
    assert assumed(helper, "consolidation") == "helper"
    stuns = {e.facts["why"] for e in helper.runs["software"].world.journal.of("stun")}
    assert "helper" in stuns


def test_snapshot_layer_concurrency_is_stated_and_works_when_set(tmp_path):
    def lived(limit: int) -> Lived:
        table = tiny(hypervisor={"snapshot_concurrency": limit})
        table["vms"][0]["load"] |= {"iops": 150}
        table["backup"] |= {"runs": ["full"], "transport": "san"}
        return live(table, tmp_path / str(limit), methods=("software", "storage"))

    unlimited, one = lived(0), lived(1)
    assert assumed(unlimited, "snapshot-layer concurrency") == "not limited"
    assert assumed(one, "snapshot-layer concurrency").startswith("1 outstanding")

    def p95(run: Lived, phase: str) -> float:
        return getattr(run.result.methods["software"].foreground, phase).latency_ms.p95

    assert p95(one, "before") == p95(unlimited, "before")
    assert p95(one, "reading") > 1.5 * p95(unlimited, "reading")
    reading = [r.result.methods["storage"].foreground.reading.latency_ms for r in (one, unlimited)]
    # The storage method reads once its VM snapshot is gone.
    assert reading[0].p50 == pytest.approx(reading[1].p50, rel=0.2)


# The whole job. ----------------------------------------------------------------------------------


def test_whole_sums_the_excess_over_the_same_io_without_a_backup(three):
    for name, method in three.result.methods.items():
        total = 0.0
        for vm in ("vm-1", "neighbour"):
            mine = three.runs[name].world.engine.meter.latencies(vm).seconds
            usual = three.alone.latencies(vm).seconds
            assert len(mine) <= len(usual)
            total += sum(a - b for a, b in zip(mine.tolist(), usual.tolist(), strict=False))
        assert method.foreground.whole.excess_latency_seconds == pytest.approx(total, rel=1e-6)
        assert total > 0
        vms = [vm.foreground.whole.excess_latency_seconds for vm in method.vms]
        assert sum(vms) == pytest.approx(total, rel=1e-6)


def test_a_backup_that_touches_nothing_of_a_vm_costs_it_exactly_nothing(tmp_path):
    table = with_neighbour()
    pool = copy.deepcopy(table["arrays"][0]["pools"][0])
    table["arrays"][0]["pools"].append({**pool, "name": "pool-2"})
    table["arrays"][0]["volumes"].append({"name": "vol-2", "pool": "pool-2", "size": "1 GiB"})
    table["datastores"].append({"name": "ds-2", "volumes": ["vol-2"]})
    table["vms"][1]["disks"][0]["datastore"] = "ds-2"
    result = live(table, tmp_path).result
    for method in result.methods.values():
        backed_up, far_away = method.vms
        assert far_away.foreground.whole.excess_latency_seconds == 0.0
        assert backed_up.foreground.whole.excess_latency_seconds > 0.0


@pytest.mark.parametrize("method", METHODS)
def test_the_same_io_arrives_under_every_method(three, method):
    """The n-th request is the same one: the guest's load knows nothing of the backup."""
    mine, first = three.runs[method].world, three.runs["software"].world
    for vm in ("vm-1", "neighbour"):
        loads = [world.scenario.vms for world in (mine, first)]
        assert loads[0] == loads[1]
        count = min(w.hypervisor.vm(vm).guest.arrived for w in (mine, first))
        seen = [w.engine.meter.latencies(vm) for w in (mine, first)]
        before = [lat.during(0, three.result.methods[method].runs[0].start) for lat in seen]
        assert np.array_equal(before[0].arrived, before[1].arrived)
        assert np.array_equal(before[0].seconds, before[1].seconds)
        assert count > 100
    a, b = three.result.methods[method], three.result.methods["software"]
    assert a.foreground.before == b.foreground.before
    assert a.array_utilisation.before == b.array_utilisation.before
