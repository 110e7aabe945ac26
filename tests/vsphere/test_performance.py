"""Performance statistics: what counters say is what the engine did, in either format."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import greenlet
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from stuntdouble.errors import NoProgress
from stuntdouble.vsphere import performance
from stuntdouble.vsphere.samples import INTERVAL_SECONDS, KEPT, Samples
from vcenter import Site, played

P = vim.PerformanceManager


def meanwhile(awaitable: Any) -> Any:
    return greenlet.getcurrent().parent.switch(awaitable)


def until(site: Site, seconds: float) -> None:
    """Let time pass up to an instant of site time."""
    meanwhile(asyncio.sleep(seconds - site.now))


def names(site: Site) -> dict[str, int]:
    return {
        f"{c.groupInfo.key}.{c.nameInfo.key}.{c.rollupType}": c.key
        for c in site.content.perfManager.perfCounter
    }


def asked(site: Site, entity: Any, name: str = "", instance: str = "*", **spec: Any) -> Any:
    wanted = [P.MetricId(counterId=names(site)[name], instance=instance)] if name else []
    query = P.QuerySpec(entity=entity, metricId=wanted, **spec)
    return site.content.perfManager.QueryPerf([query])[0]


def values(site: Site, entity: Any, name: str, instance: str = "*", **spec: Any) -> Any:
    found = asked(site, entity, name, instance, **spec)
    return {each.id.instance: list(each.value) for each in found.value}


def world_vm(site: Site) -> Any:
    return next(iter(site.world.hypervisor.vms.values()))


def test_what_a_disk_did_is_what_its_guest_did() -> None:
    def client(site: Site) -> None:
        vm, inside = site.vm(), world_vm(site)
        done = []
        for instant in (20, 40, 60, 80):
            until(site, instant)
            done.append(inside.guest.completed)
        ios = np.diff(done) / INTERVAL_SECONDS
        reads = values(site, vm, "virtualDisk.numberReadAveraged.average")
        writes = values(site, vm, "virtualDisk.numberWriteAveraged.average")
        assert list(reads) == list(writes) == ["scsi0:0"]
        both = np.add(reads["scsi0:0"], writes["scsi0:0"])
        assert both[-3:] == pytest.approx(ios, abs=1.01)
        assert ios.min() > 0
        load = inside.guest.load.patterns[0]
        share = np.sum(reads["scsi0:0"]) / np.sum(both)
        assert share == pytest.approx(load.read_fraction, abs=0.1)
        size = values(site, vm, "virtualDisk.read.average")["scsi0:0"][-1] * 1024
        assert size / reads["scsi0:0"][-1] == pytest.approx(load.io_bytes, rel=0.1)

    played(client)


def test_latency_is_that_of_the_meter() -> None:
    def client(site: Site) -> None:
        vm, inside = site.vm(), world_vm(site)
        host, store = vm.runtime.host, vm.datastore[0]
        until(site, 60)
        seconds = site.world.hypervisor.latency_seconds(store.name)
        assert seconds > 0
        name = "datastore.datastoreVMObservedLatency.latest"
        seen = values(site, host, name, maxSample=1)
        assert seen == {store.info.vmfs.uuid: [pytest.approx(seconds * 1e6, rel=0.01)]}
        for entity in (vm, host):
            for name in ("disk.maxTotalLatency.latest", "datastore.maxTotalLatency.latest"):
                assert values(site, entity, name, maxSample=1) == {"": [round(seconds * 1e3)]}
        for name, entity, instance in (
            ("virtualDisk.throughput.cont.average", vm, "scsi0:0"),
            ("disk.throughput.contention.average", vm, ""),
            ("disk.throughput.contention.average", host, ""),
        ):
            assert values(site, entity, name, maxSample=1) == {instance: [round(seconds * 1e3)]}
        usage = values(site, vm, "virtualDisk.throughput.usage.average", maxSample=1)["scsi0:0"]
        assert usage == values(site, vm, "disk.usage.average", maxSample=1)[""]
        iops = values(site, host, "datastore.datastoreIops.average", maxSample=1)
        mine = values(site, store, "datastore.numberReadAveraged.average", intervalId=300)
        assert mine == {"": []}
        assert list(iops) == [store.info.vmfs.uuid]
        assert inside.guest.completed > 0

    played(client)


def two_disks(scenario: Any) -> Any:
    (vm,) = scenario.vms
    (disk,) = vm.disks
    both = tuple(disk.model_copy(update={"key": 2000 + n}) for n in range(2))
    return scenario.model_copy(update={"vms": (vm.model_copy(update={"disks": both}),)})


def test_of_two_disks_each_has_its_own_throughput_and_its_own_latencies() -> None:
    def client(site: Site) -> None:
        vm, inside = site.vm(), world_vm(site)
        until(site, 20)
        before = inside.guest.completed
        until(site, 60)
        done = (inside.guest.completed - before) / INTERVAL_SECONDS

        def disk(name: str) -> Any:
            found = values(site, vm, f"virtualDisk.{name}")
            assert sorted(found) == ["scsi0:0", "scsi0:1"]
            return np.array([found[each][-2:] for each in sorted(found)], float)

        reads, writes = disk("numberReadAveraged.average"), disk("numberWriteAveraged.average")
        each = (reads + writes).sum(axis=1)
        assert each.sum() == pytest.approx(done, abs=4.01)
        assert each[0] == pytest.approx(each[1], rel=0.2)
        took_read, took_write = disk("readLatencyUS.latest"), disk("writeLatencyUS.latest")
        assert took_read.min() > 0
        assert took_write.min() > 0
        assert not np.allclose(took_read, took_write, rtol=0.01)
        assert not np.allclose(took_read[0], took_read[1], rtol=1e-4)
        for milli, micro in (
            (disk("totalReadLatency.average"), took_read),
            (disk("totalWriteLatency.average"), took_write),
        ):
            assert milli * 1e3 == pytest.approx(micro, abs=501)
        between = disk("throughput.cont.average") * 1e3
        assert (between >= np.minimum(took_read, took_write) - 501).all()
        assert (between <= np.maximum(took_read, took_write) + 501).all()

    played(client, change=two_disks)


def test_longer_intervals_sum_up_the_shorter_ones() -> None:
    def client(site: Site) -> None:
        vm, store = site.vm(), site.vm().datastore[0]
        until(site, 610)
        name = "datastore.write.average"
        short = values(site, vm, name)[store.info.vmfs.uuid]
        long = asked(site, vm, name, intervalId=300)
        assert [(each.timestamp, each.interval) for each in long.sampleInfo] == [
            (site.center.when(300), 300),
            (site.center.when(600), 300),
        ]
        means = np.reshape(short, (2, 15)).mean(axis=1)
        assert list(long.value[0].value) == pytest.approx(means, abs=1)
        of_store = values(site, store, name)
        assert of_store == {"": list(long.value[0].value)}
        full = values(site, store, "disk.capacity.latest")[""]
        used = values(site, store, "disk.used.latest")[""]
        emulated = next(iter(site.world.hypervisor.datastores.values()))
        assert full == [emulated.capacity_bytes // 1024] * 2
        assert 0 < used[0] <= used[1] <= full[0]

    played(client)


def test_samples_lie_after_the_start_and_up_to_the_end() -> None:
    def client(site: Site) -> None:
        vm, begun = site.vm(), site.now
        assert asked(site, vm).sampleInfo == []
        until(site, 130)
        all_of_them = [each.timestamp for each in asked(site, vm).sampleInfo]
        first = site.center.when((begun // 20 + 2) * 20)
        assert all_of_them[0] in {first, first - timedelta(seconds=20)}
        assert all_of_them[-1] == site.center.when(120)
        assert np.ptp(np.diff(all_of_them)) == timedelta(0)
        start, end = all_of_them[0], all_of_them[2]
        some = asked(site, vm, startTime=start, endTime=end).sampleInfo
        assert [each.timestamp for each in some] == all_of_them[1:3]
        last = asked(site, vm, maxSample=2, intervalId=20).sampleInfo
        assert [each.timestamp for each in last] == all_of_them[-2:]
        assert {each.interval for each in last} == {20}
        for wrong in ({"intervalId": 7}, {"maxSample": 0}, {"format": "xml"}):
            with pytest.raises(vmodl.fault.InvalidArgument):
                asked(site, vm, **wrong)
        with pytest.raises(vmodl.fault.InvalidArgument):
            asked(site, vm.datastore[0], intervalId=20)

    played(client)


def test_lines_of_text_say_the_same() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        until(site, 90)
        plain, text = asked(site, vm), asked(site, vm, format="csv")
        said = text.sampleInfoCSV.split(",")
        assert said[::2] == ["20"] * len(plain.sampleInfo)
        assert said[1::2] == [f"{e.timestamp:%Y-%m-%dT%H:%M:%SZ}" for e in plain.sampleInfo]
        assert [(e.id.counterId, e.id.instance, e.value) for e in text.value] == [
            (e.id.counterId, e.id.instance, ",".join(map(str, e.value))) for e in plain.value
        ]

    played(client)


def test_every_counter_is_some_entitys_and_what_is_available_has_values() -> None:
    def client(site: Site) -> None:
        vm, manager = site.vm(), site.content.perfManager
        host, store = vm.runtime.host, vm.datastore[0]
        assert manager.QueryAvailablePerfMetric(vm) == []
        until(site, 700)
        there: set[int] = set()
        for entity, period in ((vm, 20), (host, 20), (store, 300)):
            ids = manager.QueryAvailablePerfMetric(entity, None, None, period)
            got = asked(site, entity, intervalId=period)
            assert [(e.counterId, e.instance) for e in ids] == [
                (e.id.counterId, e.id.instance) for e in got.value
            ]
            assert all(len(e.value) == len(got.sampleInfo) > 0 for e in got.value)
            there |= {e.counterId for e in ids}
        assert there == set(names(site).values())
        assert manager.QueryAvailablePerfMetric(store, None, None, 20) == []
        assert manager.QueryAvailablePerfMetric(vm.parent) == []
        assert manager.QueryPerf([P.QuerySpec(entity=vm.parent)]) == []

    played(client)


def test_an_answer_without_bounds_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "VALUES_MAX", 300)

    def client(site: Site) -> None:
        vm, manager = site.vm(), site.content.perfManager
        until(site, 130)
        spec = P.QuerySpec(entity=vm, intervalId=20, maxSample=3)
        per = len(manager.QueryPerf([spec])[0].value) * 3
        assert len(manager.QueryPerf([spec] * (300 // per))) == 300 // per
        with pytest.raises(vmodl.fault.InvalidArgument) as refused:
            manager.QueryPerf([spec] * (300 // per + 1))
        assert refused.value.invalidProperty == "querySpec.size"
        twice = [P.MetricId(counterId=1, instance="*")] * 1000
        (once,) = manager.QueryPerf([P.QuerySpec(entity=vm, metricId=twice)])
        assert len(once.value) == 1

    played(client)


def test_the_lists_of_counters_and_providers() -> None:
    def client(site: Site) -> None:
        manager, vm = site.content.perfManager, site.vm()
        every = manager.perfCounter
        assert [c.key for c in manager.QueryPerfCounter([3, 1])] == [3, 1]
        assert [c.key for c in manager.QueryPerfCounterByLevel(4)] == [c.key for c in every]
        assert all(c.level == 1 for c in manager.QueryPerfCounterByLevel(1))
        for wrong in ([0], [len(every) + 1], [1] * (len(every) + 1)):
            with pytest.raises(vmodl.fault.InvalidArgument):
                manager.QueryPerfCounter(wrong)
        with pytest.raises(vmodl.fault.InvalidArgument):
            manager.QueryPerfCounterByLevel(5)
        live = manager.QueryPerfProviderSummary(vm)
        assert (live.currentSupported, live.refreshRate) == (True, 20)
        store = manager.QueryPerfProviderSummary(vm.datastore[0])
        assert (store.currentSupported, store.refreshRate) == (False, None)
        with pytest.raises(vmodl.fault.InvalidArgument):
            manager.QueryPerfProviderSummary(vm.parent)
        assert [each.samplingPeriod for each in manager.historicalInterval] == [300]
        assert {each.key for each in manager.description.statsType} >= {c.statsType for c in every}

    played(client)


def test_a_host_shows_its_vms_besides() -> None:
    def client(site: Site) -> None:
        vm, host = site.vm(), site.vm().runtime.host
        until(site, 90)
        wanted = [P.MetricId(counterId=names(site)["disk.usage.average"], instance="")]
        manager = site.content.perfManager
        both = manager.QueryPerfComposite(P.QuerySpec(entity=host, metricId=wanted))
        assert [each.entity for each in both.childEntity] == [vm]
        assert list(both.entity.value[0].value) == list(both.childEntity[0].value[0].value)
        with pytest.raises(vmodl.fault.InvalidArgument):
            manager.QueryPerfComposite(P.QuerySpec(entity=host))
        with pytest.raises(vmodl.fault.InvalidArgument):
            manager.QueryPerfComposite(P.QuerySpec(entity=vm, metricId=wanted))

    played(client)


def test_statistics_keep_no_run_alive() -> None:
    def client(site: Site) -> None:
        meanwhile(asyncio.get_running_loop().create_future())

    with pytest.raises(NoProgress):
        played(client)


class Meter:
    """A meter that is told of I/Os and says nothing."""

    def __init__(self) -> None:
        self.told = 0

    def take_ios(self, names: list[str], numbers: Any, times: Any, kinds: Any) -> None:
        self.told += len(numbers)

    def io(self, guest: str, arrived: float, completed: float, kind: Any) -> None:
        self.told += 1

    def last_arrival(self, guest: str) -> float:
        del guest
        return 0.0


GUESTS = ("a", "b", "c")
IOS = st.tuples(
    st.floats(0, 5000),  # when it completed
    st.floats(0, 1),  # how long it took
    st.integers(0, 2),  # guest
    st.integers(0, 3),  # disk
    st.integers(0, 1),  # a write?
    st.integers(1, 1 << 20),  # bytes
)


@given(ios=st.lists(IOS, min_size=1, max_size=200), batch=st.integers(0, 60))
def test_samples_are_what_passed(ios: list[Any], batch: int) -> None:
    ios.sort()
    meter = Meter()
    engine = SimpleNamespace(env=SimpleNamespace(now=0.0), meter=meter)
    samples = Samples(engine)
    for first in range(0, len(ios), batch or 1):
        some = ios[first : first + (batch or 1)]
        times = np.array([[end - took, end] for end, took, *_ in some])
        kinds = np.array([each[3:] for each in some], np.int64)
        if batch:
            numbers = np.array([each[2] for each in some], np.int64)
            engine.meter.take_ios(list(GUESTS), numbers, times, kinds)
        else:
            engine.meter.io(GUESTS[some[0][2]], *times[0].tolist(), tuple(kinds[0].tolist()))
        engine.env.now = some[-1][0]
        if first % 3 == 0:
            samples.refresh()
            samples.disk("b", 0)
    samples.refresh()
    assert meter.told == len(ios)
    known = samples.known
    assert len(known) <= KEPT
    for number in known:
        mine = [each for each in ios if each[0] // INTERVAL_SECONDS == number]
        one = range(number, number + 1)
        for guest, name in enumerate(GUESTS):
            for disk in range(4):
                found = samples.sums(np.array([samples.disk(name, disk)]), one)
                for write in range(2):
                    want = [e for e in mine if e[2:5] == (guest, disk, write)]
                    assert found.ios[write] == len(want)
                    assert found.size_bytes[write] == sum(e[5] for e in want)
                    assert found.seconds[write] == pytest.approx(sum(e[1] for e in want), abs=1e-6)
    every = np.array([samples.disk(name, disk) for name in GUESTS for disk in range(4)])
    while_known = [e for e in ios if e[0] // INTERVAL_SECONDS in known]
    assert samples.sums(every, known).ios.sum() == len(while_known)
