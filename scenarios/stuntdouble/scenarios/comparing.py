"""Run a scenario by each method, on the same site, seed and guest I/O, and compare."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from stuntdouble.array import LocalArray, LocalInitiator
from stuntdouble.backup import (
    JobSpec,
    LatencyLimits,
    Method,
    QuiesceFallback,
    Selection,
    run_recorded,
)
from stuntdouble.backup.catalog import Catalog
from stuntdouble.backup.repository import Repository
from stuntdouble.backup.retention import Policy
from stuntdouble.backup.retention import apply as apply_retention
from stuntdouble.clock import completed, run
from stuntdouble.errors import Misuse
from stuntdouble.hypervisor import LocalHypervisor
from stuntdouble.iops import Meter, read_trace
from stuntdouble.ports import Kind, Throttle, Transport
from stuntdouble.results import Result
from stuntdouble.scenarios.after import take_steps
from stuntdouble.scenarios.build import BACKUP_IQN, HOST_IQN, World, build, prepare
from stuntdouble.scenarios.collect import edges_asked_for, method_result, twins_end
from stuntdouble.scenarios.describe import assumptions, site_summary
from stuntdouble.scenarios.lived import Run
from stuntdouble.scenarios.stages import Stages
from stuntdouble.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from stuntdouble.clock import Environment
    from stuntdouble.iops import Recorded
    from stuntdouble.results import EngineName, MethodName, MethodResult, Progress
    from stuntdouble.scenarios.spec import Scenario

_TOLD_BY_EMULATORS: Final = frozenset(
    {
        *("array-snapshot", "array-snapshot-deleted", "promoted", "mapped", "unmapped"),
        *("volume-deleted", "mounted", "unmounted", "registered", "unregistered"),
        *("snapshot-removed", "job-end"),
    }
)
"""Milestones of a job that the emulators note themselves (and the end, which is a report)."""

_LOOK_SECONDS: Final = 5.0  # of site time between two updates of the progress display
_LOOKS_MAX: Final = 2000  # of a run, about: a week need not be looked at every 5 s


@dataclass(frozen=True, slots=True)
class Plan:
    """What every run of a comparison has in common."""

    scenario: Scenario
    seed: int
    recorded: Recorded | None
    engine: EngineName

    def build(self, env: Environment, meter: Meter) -> World:
        """Return a site of its own for one run, which *meter* measures."""
        return build(self.scenario, self.seed, env, self.recorded, self.engine, meter)


def compare(
    scenario: Scenario,
    *,
    seed: int,
    trace: Path | None,
    methods: tuple[str, ...],
    command: str,
    directory: Path,
    progress: Progress,
    engine: EngineName = "kernel",
) -> Result:
    """Run *scenario* by *methods* (its own, where empty) and return what they cost.

    *engine* is the compiled kernel, or its specification, which gives the same and takes longer.

    Repositories are left under ``directory/repository/<method>``.

    Raises:
        Misuse: a trace is missing or makes no sense, or the directory cannot be written.
    """
    recorded = _recorded(scenario, trace)
    chosen = [Method(m) for m in (methods or scenario.methods)]
    plan = Plan(scenario, seed, recorded, engine)
    runs = []
    for method in dict.fromkeys(chosen):
        progress.stage(method.value)
        repository = Repository.open(directory / "repository" / method.value)
        runs.append(run(partial(_one, plan, method, repository, progress)))
    progress.stage("no backup")
    longest = max(done.ended - done.began for done in runs)
    meter = Meter(
        [edge for done in runs for edge in edges_asked_for(done)],
        {vm.name: [t for done in runs for t in twins_end(done, vm.name)] for vm in scenario.vms},
    )
    alone = run(partial(_left_alone, plan, longest, meter))
    results: dict[MethodName, MethodResult] = {
        done.method.value: method_result(done, alone) for done in runs
    }
    notes = [f"{done.method}: {line}" for done in runs for line in done.notes]
    return Result(
        scenario=scenario.name,
        title=scenario.title,
        seed=seed,
        command=command,
        engine=engine,
        site=site_summary(scenario),
        assumptions=assumptions(scenario),
        methods=results,
        expected_failures=tuple(m for m in scenario.expect_failure if m in results),
        notes=tuple(notes),
    )


def _recorded(scenario: Scenario, trace: Path | None) -> Recorded | None:
    if scenario.trace_vms and trace is None:
        vm = scenario.trace_vms[0].name
        raise Misuse(
            f"scenario {scenario.name}", f"VM {vm} replays a trace: name one by --trace FILE"
        )
    if trace is None:
        return None
    if not scenario.trace_vms:
        raise Misuse(f"scenario {scenario.name}", "no VM of it replays a trace: leave --trace out")
    return read_trace(trace)


async def _one(
    plan: Plan, method: Method, repository: Repository, progress: Progress, env: Environment
) -> Run:
    """Live through the scenario once."""
    world = plan.build(env, Meter())
    done = Run(
        world,
        method,
        repository,
        LocalHypervisor(world.hypervisor, resolve_luns=world.mapped_to_host),
        LocalArray(next(iter(world.arrays.values()))),
        Stages(world.journal, world.engine.meter),
    )
    await prepare(world)
    watcher = asyncio.create_task(_report_progress(done, progress))
    try:
        await _backups(done)
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    await _retire(world)
    done.leftovers = await _leftovers(done)
    await take_steps(done)
    return done


async def _left_alone(plan: Plan, seconds: float, meter: Meter, env: Environment) -> Meter:
    """Let the same site run without any backup: what the guests would have felt."""
    world = plan.build(env, meter)
    await prepare(world)
    await asyncio.sleep(seconds)
    await _retire(world)
    return meter


async def _retire(world: World) -> None:
    """Let no guest issue any more, and wait for what is under way: it counts as well."""
    with world.env.entered():
        for guest in world.engine.guests:
            world.engine.retire(guest)
        drained = [world.engine.drained(guest) for guest in world.engine.guests]
    for each in drained:
        await completed(each)


async def _backups(done: Run) -> None:
    scenario, loop = done.world.scenario, asyncio.get_running_loop()
    done.began = loop.time()
    shifts = _shifts(done.world, done.began)
    done.stages.begin(done.began)
    await asyncio.sleep(scenario.times.before)
    catalog = Catalog.open(open_store(), loop.time())
    for number, kind in enumerate(scenario.backup.runs):
        if number:
            done.phase = "between"
            await asyncio.sleep(_pause(done, number, loop.time()))
        await _backup(done, catalog, Kind(kind))
    done.phase = "after"
    done.stages.after(loop.time())
    rest = done.began + scenario.times.total - loop.time()
    await asyncio.sleep(max(scenario.times.after, rest))
    done.ended = loop.time()
    done.stages.end(done.ended)
    now = _shifts(done.world, done.ended)
    done.late = {name: shift - shifts.get(name, shift) for name, shift in now.items()}


def _pause(done: Run, number: int, now: float) -> float:
    """Return the seconds until run *number* begins: none where the one before took too long."""
    times = done.world.scenario.times
    if not times.every:
        return times.between
    return max(done.began + times.before + number * times.every - now, 0.0)


def _shifts(world: World, now: float) -> dict[str, float]:
    """Return how far each guest's clock is behind the site's."""
    return {
        guest.name: guest.shift + (now - guest.stunned_at if guest.stuns else 0.0)
        for guest in world.engine.guests
    }


async def _backup(done: Run, catalog: Catalog, kind: Kind) -> None:
    """Run the job once, verify what it made, let go of what has expired."""
    world, backup = done.world, done.world.scenario.backup

    def note(what: str, subject: str, /, **facts: object) -> None:
        done.phase = what
        if what in _TOLD_BY_EMULATORS:
            done.stages.tell(world.env.now, what, subject)
        else:
            world.journal.note(world.env.now, what, subject, **facts)

    array = next(iter(world.arrays.values()))
    report = await run_recorded(
        catalog,
        f"{world.scenario.name} by {done.method}",
        job_spec(world, done.method, kind),
        hypervisor=done.hypervisor,
        repository=done.repository,
        array=done.array,
        initiator=LocalInitiator(array, BACKUP_IQN),
        host_iqn=HOST_IQN,
        note=note,
    )
    done.reports.append(report)
    for outcome in report.vms:
        if outcome.point is not None:
            done.points.append(outcome.point)
            done.verify(outcome.point)
    if backup.keep_last:
        now = asyncio.get_running_loop().time()
        gone = apply_retention(Policy(keep_last=backup.keep_last), done.repository, catalog, now)
        done.notes += [f"retention let go of {point.id}" for point in gone]
        for point in done.repository.points():
            done.verify(point)
    done.forget()


def job_spec(world: World, method: Method, kind: Kind) -> JobSpec:
    """Return the job as the scenario describes it."""
    backup = world.scenario.backup
    limits = backup.latency
    latency = None if limits is None else LatencyLimits(limits.hold, limits.throttle, limits.poll)
    return JobSpec(
        method=method,
        selection=Selection(world.backed_up, dict(backup.disks)),
        kind=kind,
        quiesce=backup.quiesce,
        quiesce_fallback=QuiesceFallback(backup.quiesce_fallback),
        transport=Transport(backup.transport),
        throttle=Throttle(backup.throttle.depth, backup.throttle.block, backup.throttle.rate),
        concurrency=backup.concurrency,
        latency=latency,
    )


async def _leftovers(done: Run) -> list[tuple[str, str]]:
    """Return what the job left behind, by asking the emulators themselves."""
    world = done.world
    existing = {vm.name: vm.chain.snapshots for vm in world.scenario.vms}
    known = set(world.naas)
    left: list[tuple[str, str]] = []
    for vm in await done.hypervisor.vms():
        if vm.name not in existing:
            left.append(("registered VM", vm.name))
            continue
        left += [("VM snapshot", s) for s in vm.snapshots[existing[vm.name] :]]
        if vm.consolidation_needed:
            left.append(("delta disk", vm.name))
    left += [
        ("mount", name) for name, store in world.hypervisor.datastores.items() if store.mounted_copy
    ]
    for volume in await done.array.volumes():
        if volume.name not in known:
            left.append(("promoted volume", volume.name))
    left += [("array snapshot", s.name) for s in await done.array.snapshots()]
    left += [("mapping", f"{m.volume} at LUN {m.lun}") for m in await done.array.mappings()]
    return left


async def _report_progress(done: Run, progress: Progress) -> None:
    times, loop = done.world.scenario.times, asyncio.get_running_loop()
    runs = len(done.world.scenario.backup.runs)
    spaced = (runs - 1) * (times.every or times.between)
    about = max(times.total, times.before + spaced + times.after + 300.0)
    pause = max(_LOOK_SECONDS, about / _LOOKS_MAX)
    while True:
        now = loop.time() - done.began
        ios = sum(g.completed for g in done.world.engine.guests)
        progress.emulated(
            now / (now + about) if done.phase != "after" else 0.95,
            phase=done.phase,
            seconds=now,
            ios=ios,
            restore_points=len(done.points),
        )
        await asyncio.sleep(pause)
