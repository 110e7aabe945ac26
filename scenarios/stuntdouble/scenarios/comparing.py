"""Run a scenario by each method, on the same site, seed and guest I/O, and compare."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from stuntdouble.array import LocalArray, LocalInitiator
from stuntdouble.backup import Method, run_recorded
from stuntdouble.backup.catalog import Catalog
from stuntdouble.backup.repository import Repository
from stuntdouble.backup.retention import Policy
from stuntdouble.backup.retention import apply as apply_retention
from stuntdouble.clock import completed, run
from stuntdouble.errors import Misuse, NoSpace
from stuntdouble.iops import Meter, read_trace
from stuntdouble.ports import Kind
from stuntdouble.results import Result
from stuntdouble.scenarios.after import take_steps
from stuntdouble.scenarios.build import BACKUP_IQN, HOST_IQN, World, build, engine_class, prepare
from stuntdouble.scenarios.collect import edges_asked_for, method_result, twins_end
from stuntdouble.scenarios.describe import assumptions, site_summary, trace_notes
from stuntdouble.scenarios.doors import Door, open_door
from stuntdouble.scenarios.hosting import Hosted
from stuntdouble.scenarios.job import job_of
from stuntdouble.scenarios.lived import Run
from stuntdouble.scenarios.sidebyside import Asked, side_by_side
from stuntdouble.store import open_store
from stuntdouble.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stuntdouble.backup import JobSpec
    from stuntdouble.clock import Environment
    from stuntdouble.iops import Recorded
    from stuntdouble.results import EngineName, MethodResult, Progress
    from stuntdouble.scenarios.sidebyside import Figures, Telling
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
_LOOKS_MAX: Final = 400  # of a run, about: a bar as wide as a screen has no more steps


@dataclass(frozen=True, slots=True)
class Plan:
    """What every run of a comparison has in common."""

    scenario: Scenario
    seed: int
    recorded: Recorded | None
    engine: EngineName
    door: Door

    def build(self, env: Environment, meter: Meter) -> World:
        """Return a site of its own for one run, which *meter* measures."""
        return build(self.scenario, self.seed, env, self.recorded, self.engine, meter)


def compare(  # noqa: PLR0913  (by name, each an option of the command line)
    scenario: Scenario,
    *,
    seed: int,
    trace: Path | None,
    methods: tuple[str, ...],
    command: str,
    directory: Path,
    progress: Progress,
    engine: EngineName = "kernel",
    door: Door = "direct",
    processes: int = 1,
) -> Result:
    """Run *scenario* by *methods* (its own, where empty) and return what they cost.

    *engine* is the compiled kernel, or its specification, which gives the same and takes longer.
    *door* is how the backup server reaches the hypervisor.

    Repositories are left under ``directory/repository/<method>``.  With more than one of
    *processes* the methods run side by side, and take about as much memory as one after another.

    Raises:
        Misuse: a trace is missing or makes no sense, or the directory cannot be written.
        OSError: the directory's disk is full.
    """
    recorded = _recorded(scenario, trace)
    plan = Plan(scenario, seed, recorded, engine, door)
    chosen = tuple(dict.fromkeys(Method(m).value for m in (methods or scenario.methods)))
    begin = partial(_begin, plan, directory)
    leave_alone = partial(_without, plan, progress)
    engine_class(engine)  # once, before there are processes that would each compile it
    if processes > 1 and len(chosen) > 1:
        progress.stage(", ".join(chosen))
        lived = side_by_side(begin, chosen, leave_alone, progress)
    else:
        lived = _one_by_one(begin, chosen, leave_alone, progress)
    notes = trace_notes(scenario, recorded)
    notes += [f"{name}: {line}" for name, (_, lines) in lived.items() for line in lines]
    return Result(
        scenario=scenario.name,
        title=scenario.title,
        seed=seed,
        command=command,
        engine=engine,
        site=site_summary(scenario),
        assumptions=assumptions(scenario),
        methods={Method(name).value: figures for name, (figures, _) in lived.items()},
        expected_failures=tuple(m for m in scenario.expect_failure if m in lived),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Lived:
    """A run that is over, and waits for the site left alone."""

    run: Run

    @property
    def asked(self) -> Asked:
        names = [vm.name for vm in self.run.world.scenario.vms]
        twins = {name: twins_end(self.run, name) for name in names}
        seconds = self.run.ended - self.run.began
        return Asked(seconds, edges_asked_for(self.run), twins)

    def figures(self, alone: Meter) -> Figures:
        figures: MethodResult = method_result(self.run, alone)
        return figures, self.run.notes


def _begin(plan: Plan, directory: Path, name: str, progress: Telling) -> _Lived:
    # Not durable: a comparison that the machine does not outlive is run again, to the same bytes.
    repository = Repository.open(directory / "repository" / name, durable=False)
    return _Lived(run(partial(_one, plan, Method(name), repository, progress)))


def _without(plan: Plan, progress: Progress, asked: list[Asked]) -> Meter:
    """Let the same site run without any backup, measured as the runs ask for."""
    progress.stage("no backup")
    names = [vm.name for vm in plan.scenario.vms]
    meter = Meter(
        [edge for each in asked for edge in each.edges],
        {name: [end for each in asked for end in each.twins[name]] for name in names},
    )
    return run(partial(_left_alone, plan, max(each.seconds for each in asked), meter, progress))


def _one_by_one(
    begin: Callable[[str, Telling], _Lived],
    names: tuple[str, ...],
    leave_alone: Callable[[list[Asked]], Meter],
    progress: Progress,
) -> dict[str, Figures]:
    lived = {}
    for name in names:
        progress.stage(name)
        lived[name] = begin(name, progress)
    alone = leave_alone([each.asked for each in lived.values()])
    return {name: each.figures(alone) for name, each in lived.items()}


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
    plan: Plan, method: Method, repository: Repository, progress: Telling, env: Environment
) -> Run:
    """Live through the scenario once."""
    world = await _ready(plan, env, Meter())
    done = Run(
        world,
        method,
        repository,
        open_door(world, plan.door),
        LocalArray(next(iter(world.arrays.values()))),
    )
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


async def _ready(plan: Plan, env: Environment, meter: Meter) -> World:
    """Return a site in which all is as the scenario says it was before, and the VMs run.

    Raises:
        Misuse: it has no room for that.
    """
    try:
        world = plan.build(env, meter)
        await prepare(world)
    except NoSpace as error:
        scenario = f"scenario {plan.scenario.name}"
        raise Misuse(scenario, f"has no room for what is there at the start: {error}") from None
    return world


async def _left_alone(
    plan: Plan, seconds: float, meter: Meter, progress: Progress, env: Environment
) -> Meter:
    """Let the same site run without any backup: what the guests would have felt."""
    world = await _ready(plan, env, meter)

    async def tell() -> None:
        while True:
            now = asyncio.get_running_loop().time() - began
            ios = sum(guest.completed for guest in world.engine.guests)
            progress.update(now / seconds, f"{format_duration(now)}, {ios:,} I/Os")
            await asyncio.sleep(_pause_between_looks(seconds))

    began = asyncio.get_running_loop().time()
    watcher = asyncio.create_task(tell())
    await asyncio.sleep(seconds)
    watcher.cancel()
    await _retire(world)
    if meter.pull is not None:  # all of it is taken over, and needs no engine from now on
        meter.pull()
        meter.pull = None
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
    hosted = Hosted(done.repository)
    report = await run_recorded(
        catalog,
        f"{world.scenario.name} by {done.method}",
        job_spec(world, done.method, kind),
        hypervisor=done.hypervisor,
        repository=hosted,
        array=done.array,
        initiator=LocalInitiator(array, BACKUP_IQN),
        host_iqn=HOST_IQN,
        note=note,
    )
    hosted.check()
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
    return job_of(world.scenario, method, kind)


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


async def _report_progress(done: Run, progress: Telling) -> None:
    times, loop = done.world.scenario.times, asyncio.get_running_loop()
    runs = len(done.world.scenario.backup.runs)
    spaced = (runs - 1) * (times.every or times.between)
    about = max(times.total, times.before + spaced + times.after + 300.0)
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
        await asyncio.sleep(_pause_between_looks(about))


def _pause_between_looks(seconds: float) -> float:
    """Return the site time between two updates of the display, for a run of about *seconds*."""
    return max(_LOOK_SECONDS, seconds / _LOOKS_MAX)
