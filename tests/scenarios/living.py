"""Scenarios lived through in a test, with what a result alone does not tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from stuntdouble.iops import Meter, Recorder
from stuntdouble.results import Progress, Result
from stuntdouble.scenarios import compare, comparing, load, parse

if TYPE_CHECKING:
    from pathlib import Path

    from stuntdouble.scenarios.lived import Run
    from stuntdouble.scenarios.spec import Scenario


@dataclass
class Lived:
    """A comparison's result, each method's run, and the same site left alone."""

    result: Result
    runs: dict[str, Run] = field(default_factory=dict)
    alone: Recorder | None = None


def live(table: dict[str, Any], directory: Path, **options: Any) -> Lived:
    """Run a scenario given as a table; keep the runs, and every I/O of them."""
    return _live(parse(table, "test"), directory, **options)


@dataclass(frozen=True)
class Guest:
    """How many of a VM's I/Os arrived, and what became of them."""

    arrived: int
    completed: int
    in_flight: int
    dropped: int


@dataclass(frozen=True)
class Aftermath:
    """What is left of a method's run once its site is gone."""

    snapshots: dict[str, int]
    consolidation_needed: list[str]
    guests: dict[str, Guest]
    restores: list[tuple[str, str, bool]]


@dataclass(frozen=True)
class Outcome:
    """A scenario of the library: what it says, what it gave, what it left."""

    scenario: Scenario
    result: Result
    directory: Path
    after: dict[str, Aftermath]


def live_library(name: str, directory: Path, trace: Path | None = None) -> Outcome:
    """Run a scenario of the library; keep no site, each of them is large."""
    scenario = load(name)
    lived = _live(scenario, directory, trace=trace, meter=Meter)
    after = {method: _aftermath(run) for method, run in lived.runs.items()}
    return Outcome(scenario, lived.result, directory, after)


def _aftermath(run: Run) -> Aftermath:
    vms = [run.world.hypervisor.vm(vm.name) for vm in run.world.scenario.vms]
    return Aftermath(
        {vm.name: len(vm.snapshots) for vm in vms},
        [vm.name for vm in vms if vm.info().consolidation_needed],
        {
            g.name: Guest(g.arrived, g.completed, g.in_flight, g.dropped)
            for g in (vm.guest for vm in vms)
        },
        run.restores,
    )


def _live(
    scenario: Scenario,
    directory: Path,
    *,
    methods: tuple[str, ...] = (),
    seed: int = 1,
    trace: Path | None = None,
    meter: type[Meter] = Recorder,
) -> Lived:
    runs: dict[str, Run] = {}
    meters = []
    figures = comparing.method_result

    def keep(done: Run, alone: Meter) -> Any:
        runs[done.method.value] = done
        meters.append(alone)
        return figures(done, alone)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "method_result", keep)
        patch.setattr(comparing, "Meter", meter)
        result = compare(
            scenario,
            seed=seed,
            trace=trace,
            methods=methods,
            command="test",
            directory=directory,
            progress=Progress(quiet=True),
        )
    return Lived(result, runs, meters[0])


def of(*names: str) -> pytest.MarkDecorator:
    """Mark a test that looks at the outcomes of scenarios of the library."""
    cases = [pytest.param(name, marks=pytest.mark.slow) for name in names]
    return pytest.mark.parametrize("outcome", cases, indirect=True)
