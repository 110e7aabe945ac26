"""Latency control in virtual time: it holds new tasks back, throttles, and lets go again."""

from __future__ import annotations

import asyncio

import pytest

from backup.bench import spec_of, two_vms
from stuntdouble.backup import LatencyLimits, Method
from stuntdouble.backup.latency import LatencyControl
from stuntdouble.clock import run
from stuntdouble.errors import TimedOut, Unreachable
from stuntdouble.ports import Kind, Throttle

LIMITS = LatencyLimits(0.020, 0.030, poll_seconds=20.0, wait_seconds_max=100.0)


class Gauge:
    """A hypervisor that shows a latency per datastore, and counts who looks."""

    def __init__(self, **latencies: float | Exception) -> None:
        self.latencies = latencies
        self.looks: list[tuple[float, str]] = []

    async def latency_seconds(self, datastore):
        self.looks.append((asyncio.get_running_loop().time(), datastore))
        found = self.latencies[datastore]
        if isinstance(found, Exception):
            raise found
        return found


def control_of(gauge: Gauge, throttle: Throttle, notes: list) -> LatencyControl:
    def note(kind, subject, /, **facts):
        notes.append(kind)

    return LatencyControl(LIMITS, gauge, tuple(gauge.latencies), throttle, note)


def test_it_looks_every_twenty_seconds_at_every_datastore():
    gauge = Gauge(a=0.0, b=0.0)

    async def main(env):
        watching = asyncio.create_task(control_of(gauge, Throttle(), []).watch())
        await asyncio.sleep(50)
        watching.cancel()

    run(main)
    assert gauge.looks == [(t, name) for t in (0.0, 20.0, 40.0) for name in "ab"]


def test_depth_is_halved_down_to_one_and_restored():
    gauge = Gauge(a=0.001, b=0.0)
    throttle = Throttle(depth=5)
    notes: list[str] = []
    depths = []

    async def main(env):
        control = control_of(gauge, throttle, notes)
        for latency in (0.030, 0.031, 0.5, 0.5, 0.5, 0.029):
            gauge.latencies["b"] = latency
            await control.look()
            depths.append(throttle.depth)

    run(main)
    assert depths == [5, 2, 1, 1, 1, 5]
    assert notes == ["held", "throttled", "throttled", "throttled"]


def test_tasks_start_when_the_latency_falls():
    gauge = Gauge(a=0.021)
    started: list[float] = []

    async def main(env):
        control = control_of(gauge, Throttle(), [])
        await control.look()
        watching = asyncio.create_task(control.watch())

        async def task():
            await control.admit()
            started.append(asyncio.get_running_loop().time())

        waiting = asyncio.create_task(task())
        await asyncio.sleep(30)
        assert started == []
        gauge.latencies["a"] = 0.020
        await waiting
        watching.cancel()

    run(main)
    assert started == [40.0]


def test_a_task_is_not_held_back_for_ever():
    async def main(env):
        control = control_of(Gauge(a=1.0), Throttle(), [])
        await control.look()
        with pytest.raises(TimedOut, match=r"latency of a below 0.02 s took longer than 100.0 s"):
            await control.admit()
        return asyncio.get_running_loop().time()

    assert run(main) == 100.0


def test_a_look_that_fails_changes_nothing():
    gauge = Gauge(a=0.5)
    throttle = Throttle(depth=8)
    notes: list[str] = []

    async def main(env):
        control = control_of(gauge, throttle, notes)
        await control.look()
        gauge.latencies["a"] = Unreachable("vcenter")
        await control.look()

    run(main)
    assert throttle.depth == 4
    assert notes == ["held", "throttled", "latency-unknown"]


@pytest.mark.parametrize("method", list(Method))
def test_a_job_under_latency_control_reads_gently_and_leaves_its_spec_alone(method):
    bench = two_vms()
    spec = spec_of(method, Kind.FULL, latency=LIMITS)
    times = []

    async def main(env):
        bench.estate.latency = 0.5
        job = asyncio.create_task(bench.job(spec))
        await asyncio.sleep(50)
        assert bench.estate.count("create_snapshot") == 0
        assert "throttled" in bench.kinds()
        assert spec.throttle.depth == 4, "the job throttles a copy of its own"
        bench.estate.latency = 0.0
        report = await job
        times.append(asyncio.get_running_loop().time())
        return report

    report = run(main)
    assert report.ok
    assert (report.started, report.ended) == (0.0, 60.0)
    assert times == [60.0], "the watch ends with the job"
    assert {facts[2] for name, facts in bench.estate.calls if name == "read"} == {4}
    bench.check_restorable()
    bench.check_nothing_left()


def test_a_job_that_is_held_back_too_long_fails_and_says_so():
    bench = two_vms()
    bench.estate.latency = 0.5

    async def main(env):
        return await bench.job(spec_of(Method.STORAGE, Kind.FULL, latency=LIMITS))

    report = run(main)
    assert all("took longer than 100.0 s" in vm.error for vm in report.vms)
    assert bench.estate.count("create_snapshot") == 0
