"""Run a scenario's backups against a served site, one method after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.backup import Method, run_recorded
from stuntdouble.backup.catalog import Catalog
from stuntdouble.backup.repository import Repository
from stuntdouble.backup.retention import Policy
from stuntdouble.backup.retention import apply as apply_retention
from stuntdouble.ports import Kind
from stuntdouble.results import RemoteResult
from stuntdouble.scenarios.build import HOST_IQN
from stuntdouble.scenarios.hosting import Hosted
from stuntdouble.scenarios.job import job_of
from stuntdouble.scenarios.remote.arrays import OURS
from stuntdouble.scenarios.remote.figures import Lived, RunSpan, remote_method
from stuntdouble.scenarios.remote.leftovers import Inventory
from stuntdouble.scenarios.remote.site import RemoteSite
from stuntdouble.scenarios.remote.verifying import holds_the_truth
from stuntdouble.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from stuntdouble.backup import JobSpec
    from stuntdouble.results import MethodName, Progress, RemoteMethod
    from stuntdouble.scenarios.remote.arrays import ArrayChoice
    from stuntdouble.scenarios.remote.target import Target
    from stuntdouble.scenarios.spec import Scenario

_RETRY_SECONDS: Final = (0.5, 2.0, 5.0)
"""Wall time between tries of a clean-up step: what fails here for a moment is a socket.  Chosen."""

_UNMEASURED: Final = (
    "Not measured: what reading costs the guests, and a transport the job. Bytes of disks came over"
    " NBD, whichever transport the scenario names, and a served site hands them out at once."
)


@dataclass(frozen=True)
class _Going:
    """A comparison under way: what all its methods have in common."""

    scenario: Scenario
    site: RemoteSite
    directory: Path
    progress: Progress
    at_first: Any  # a checkpoint, of which only the instant matters here


def compare_remote(
    scenario: Scenario,
    *,
    seed: int,
    target: Target,
    methods: tuple[str, ...],
    command: str,
    directory: Path,
    progress: Progress,
    array: ArrayChoice = OURS,
) -> RemoteResult:
    """Run *scenario* by *methods* (its own, where empty) against the site that is served at *target*.

    The array is reached as *array* says.

    Before each method the site is put back to where it was at the start.  Repositories are left
    under ``directory/repository/<method>``.

    Raises:
        Misuse: another site is served there, or without the endpoints that this needs.
        AccessDenied: wrong user, password or certificate.
        Unreachable: nobody answers, or not any more.
    """
    chosen = tuple(dict.fromkeys(Method(m) for m in (methods or scenario.methods)))

    async def main() -> RemoteResult:
        async with await RemoteSite.reach(target, scenario, array) as site:
            at_first = await site.check(scenario, seed)
            rate = (await site.going()).rate
            going = _Going(scenario, site, directory, progress, at_first)
            found = await site.attended(_methods(going, chosen))
        return RemoteResult(
            scenario=scenario.name,
            title=scenario.title,
            seed=seed,
            command=command,
            server=target.url,
            rate=rate,
            methods=found,
            expected_failures=tuple(m for m in scenario.expect_failure if m in found),
            notes=tuple(_notes(scenario, rate, site.reached.said)),
        )

    return asyncio.run(main())


def _notes(scenario: Scenario, rate: float, array: str) -> list[str]:
    notes = [_UNMEASURED, *([array] if array else [])]
    if rate > 1:
        notes.append(f"A second of the client's own work counts as {rate:g} s of site time.")
    if scenario.after:
        steps = ", ".join(step.do for step in scenario.after)
        notes.append(f"What the scenario does after its backups is left out: {steps}.")
    return notes


async def _methods(going: _Going, chosen: tuple[Method, ...]) -> dict[MethodName, RemoteMethod]:
    return {method.value: await _method(going, method) for method in chosen}


async def _method(going: _Going, method: Method) -> RemoteMethod:
    """Put the site back, run every backup of the scenario, and return the figures."""
    going.progress.stage(method.value)
    await going.site.native.restore(going.at_first)
    began = float(going.at_first["seconds"])
    # Not durable: a comparison that the machine does not outlive is run again.
    path = going.directory / "repository" / method.value
    with Repository.open(path, durable=False) as repository:
        run = _Run(going, method, repository, Lived(method, began))
        return await run.through()


@dataclass
class _Run:
    """One method's backups over the site."""

    going: _Going
    method: Method
    repository: Repository
    lived: Lived
    catalog: Catalog = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = Catalog.open(open_store(), asyncio.get_running_loop().time())

    async def through(self) -> RemoteMethod:
        """Live through the runs of the scenario, and look at what came of them."""
        scenario, site = self.going.scenario, self.going.site
        before = await Inventory.of(site)
        await site.pass_time(scenario.times.before)
        for number, kind in enumerate(scenario.backup.runs):
            if number:
                await site.pass_time(await self._pause(number))
            self._tell(number, f"run {number + 1}, {kind}")
            await self._backup(Kind(kind))
        after = await Inventory.of(site)
        lines = await site.native.journal(("stun", "consolidation"), self.lived.began)
        return remote_method(scenario, self.lived, lines, before.left_in(after))

    async def _pause(self, number: int) -> float:
        """Return the site time until run *number* begins: none where the one before took too long."""
        times = self.going.scenario.times
        if not times.every:
            return times.between
        now = (await self.going.site.native.clock()).seconds
        return max(self.lived.began + times.before + number * times.every - now, 0.0)

    def _tell(self, done: int, text: str) -> None:
        self.going.progress.update(done / len(self.going.scenario.backup.runs), text)

    async def _backup(self, kind: Kind) -> None:
        """Run the job once, verify what it made, let go of what has expired."""
        scenario, site = self.going.scenario, self.going.site
        loop = asyncio.get_running_loop()
        hosted = Hosted(self.repository)
        committed: dict[str, float] = {}

        def note(what: str, subject: str, /, **facts: object) -> None:
            del subject
            if what == "restore-point":
                committed[str(facts["id"])] = loop.time()

        begin = await site.going()
        wall = loop.time()
        report = await run_recorded(
            self.catalog,
            f"{scenario.name} by {self.method}",
            _in_wall_time(job_of(scenario, self.method, kind), begin.rate),
            hypervisor=site.hypervisor,
            repository=hosted,
            array=site.array,
            initiator=site.initiator,
            host_iqn=HOST_IQN,
            note=note,
        )
        hosted.check()
        end = await site.native.clock()
        span = RunSpan(wall, loop.time(), begin.seconds, end.seconds)
        self.lived.runs.append((report, span))
        for outcome in report.vms:
            if (point := outcome.point) is not None:
                self.lived.points.append((point, span.site(committed[point.id])))
                self.lived.verified[point.id] = await self._verify(point.id)
        if scenario.backup.keep_last:
            policy = Policy(keep_last=scenario.backup.keep_last)
            apply_retention(policy, self.repository, self.catalog, loop.time())
            for kept in self.repository.points():
                self.lived.verified[kept.id] &= await self._verify(kept.id)

    async def _verify(self, id_: str) -> bool:
        site, point = self.going.site, self.repository.point(id_)
        snapshot = site.hypervisor.taken[point.vm, point.moment]
        return await holds_the_truth(self.repository, point, snapshot, site.native)


def _in_wall_time(spec: JobSpec, rate: float) -> JobSpec:
    """Return a job whose times and rates, of site time, are those of a wall clock."""
    throttle = replace(spec.throttle, bytes_per_second=spec.throttle.bytes_per_second * rate)
    limits = spec.latency
    if limits is not None:
        limits = replace(
            limits,
            poll_seconds=limits.poll_seconds / rate,
            wait_seconds_max=limits.wait_seconds_max / rate,
        )
    return replace(spec, throttle=throttle, latency=limits, retry_seconds=_RETRY_SECONDS)
