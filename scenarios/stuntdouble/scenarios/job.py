"""The backup job that a scenario describes, as the backup server takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.backup import JobSpec, LatencyLimits, QuiesceFallback, Selection
from stuntdouble.ports import Throttle, Transport

if TYPE_CHECKING:
    from stuntdouble.backup import Method
    from stuntdouble.ports import Kind
    from stuntdouble.scenarios.spec import Scenario


def backed_up(scenario: Scenario) -> tuple[str, ...]:
    """Return the VMs that the job selects."""
    return scenario.backup.vms or tuple(vm.name for vm in scenario.vms)


def job_of(scenario: Scenario, method: Method, kind: Kind) -> JobSpec:
    """Return the job as *scenario* describes it; times and rates are of site time."""
    backup = scenario.backup
    limits = backup.latency
    latency = None if limits is None else LatencyLimits(limits.hold, limits.throttle, limits.poll)
    return JobSpec(
        method=method,
        selection=Selection(backed_up(scenario), dict(backup.disks)),
        kind=kind,
        quiesce=backup.quiesce,
        quiesce_fallback=QuiesceFallback(backup.quiesce_fallback),
        transport=Transport(backup.transport),
        throttle=Throttle(backup.throttle.depth, backup.throttle.block, backup.throttle.rate),
        concurrency=backup.concurrency,
        latency=latency,
    )
