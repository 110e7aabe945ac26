"""What was emulated and on which footing, in the words of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble import hypervisor
from stuntdouble.results import Assumption, Site, SiteDatastore, SitePool, SiteVm
from stuntdouble.scenarios.values import parameters, parse_rate
from stuntdouble.units import format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from stuntdouble.iops import Recorded
    from stuntdouble.scenarios import spec

_RAID = {
    "raid0": "RAID 0, no redundancy",
    "raid10": "RAID 10, write penalty 2",
    "raid5": "RAID 5, write penalty 4",
    "raid6": "RAID 6, write penalty 6",
}


def assumptions(scenario: spec.Scenario) -> tuple[Assumption, ...]:
    """Return the parameters that the outcome hangs on, each with its source."""
    host = parameters(hypervisor.Parameters, scenario.hypervisor)
    backup = scenario.backup
    limit = host.snapshot_concurrency
    rows = [
        ("consolidation", "hypervisor.consolidation", host.consolidation),
        (
            "snapshot-layer concurrency",
            "hypervisor.snapshot_concurrency",
            f"{limit} outstanding I/Os" if limit else "not limited",
        ),
        ("delta disks", "hypervisor.delta_format", host.delta_format),
        ("transport of software reads", "backup.transport", backup.transport),
        ("read depth, all methods", "backup.throttle.depth", str(backup.throttle.depth)),
        ("read block, all methods", "backup.throttle.block", format_size(backup.throttle.block)),
        ("read rate, all methods", "backup.throttle.rate", _rate(backup.throttle.rate)),
        ("queueing", "queueing", "one first-come-first-served class for guests and background"),
    ]
    rows += _held_up(scenario)
    known = dict(scenario.sources)
    made = [
        Assumption(name=name, value=value, source=known.pop(key, _origin(scenario, key)))
        for name, key, value in rows
    ]
    made += [Assumption(name=key, value=_value(scenario, key), source=known[key]) for key in known]
    return tuple(made)


def _held_up(scenario: spec.Scenario) -> list[tuple[str, str, str]]:
    """Return what holds I/O up besides queues, where the scenario asks for any of it."""
    rows = []
    for a in scenario.arrays:
        for p in a.pools:
            key = f"arrays.{a.name}.pools.{p.name}"
            if p.cache is not None:
                value = (
                    f"{format_size(p.cache.mark_bytes)} dirty at most, a write takes"
                    f" {format_duration(p.cache.write)}, {p.cache.destages} destages at a time"
                )
                rows.append((f"write-back cache of {p.name}", f"{key}.cache", value))
            if p.blocking:
                rows.append(
                    (f"writes to {p.name}", f"{key}.blocking", "wait for the copy of their chunk")
                )
            if p.foreground_first:
                rows.append(
                    (
                        f"queues of {p.name}",
                        f"{key}.foreground_first",
                        "serve guests before backups",
                    )
                )
    for vm in scenario.vms:
        for k in vm.disks:
            if k.iops_limit:
                value = f"{k.iops_limit} I/Os a second, {k.iops_burst} at once"
                rows.append((f"limit of disk {k.key} of {vm.name}", "vms", value))
    return rows


def trace_notes(scenario: spec.Scenario, recorded: Recorded | None) -> list[str]:
    """Say how much of a trace lies beyond the disks that replay it."""
    if recorded is None:
        return []
    notes = []
    for vm in scenario.trace_vms:
        size = vm.disks[0].size
        folded = int((recorded.offset_bytes > size - recorded.length_bytes).sum())
        if folded:
            notes.append(
                f"{folded:,} of {len(recorded):,} recorded I/Os lie beyond the {format_size(size)}"
                f" of the first disk of {vm.name}, and were folded back into it"
            )
    return notes


def site_summary(scenario: spec.Scenario) -> Site:
    """Return what was emulated, in short."""
    sizes = {v.name: v.size for a in scenario.arrays for v in a.volumes}
    return Site(
        vms=tuple(
            SiteVm(
                name=vm.name,
                disks=len(vm.disks),
                capacity_bytes=sum(k.size for k in vm.disks),
                allocated_bytes=sum(
                    k.written if k.provisioning == "thin" else k.size for k in vm.disks
                ),
                load=_load(vm.load),
            )
            for vm in scenario.vms
        ),
        datastores=tuple(
            SiteDatastore(
                name=d.name,
                capacity_bytes=sum(sizes[v] for v in d.volumes),
                volumes=len(d.volumes),
            )
            for d in scenario.datastores
        ),
        pools=tuple(
            SitePool(
                name=f"{a.name}/{p.name}",
                media=f"{p.disks} x {p.media} {format_size(p.disk_size)}",
                raid=_RAID[p.raid],
                capacity_bytes=p.usable_bytes,
            )
            for a in scenario.arrays
            for p in a.pools
        ),
    )


def _rate(rate: float) -> str:
    return f"{format_size(int(rate))}/s" if rate else "not limited"


def _load(load: spec.Load) -> str:
    if load.kind == "none":
        return "idle"
    if load.kind == "trace":
        return "recorded I/O, replayed"
    shape = f"{format_size(load.io)}, {load.reads:.0%} reads"
    if load.kind == "closed":
        think = format_duration(load.think)
        return f"{load.outstanding} outstanding, thinks {think}, {shape}"
    rate = f"{load.iops:g} IOPS" if load.curve == "flat" else f"{load.iops:g} IOPS ({load.curve})"
    return f"{rate}, {shape}"


def _origin(scenario: spec.Scenario, key: str) -> str:
    """Say who chose the value of *key*, where the scenario names no source for it."""
    found: Any = scenario
    for part in key.split("."):
        if isinstance(found, tuple):  # pools, VMs: what is said of one of them has been chosen
            break
        chosen = found if isinstance(found, dict) else found.model_fields_set
        if part not in chosen:
            return "default of the model"
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return "scenario"


def _value(scenario: spec.Scenario, key: str) -> str:
    """Return the value that *key* has in the scenario, for the report."""
    found: Any = scenario
    unit: Any = str
    for part in key.split("."):
        if isinstance(found, dict):
            found, unit = found.get(part, ""), str
        elif isinstance(found, tuple):
            found = next((x for x in found if part in {getattr(x, "name", ""), str(x)}), "")
        else:
            unit = _unit(type(found), part)
            found = getattr(found, part, "")
    if isinstance(found, dict):
        return ", ".join(f"{name} {value}" for name, value in found.items())
    return str(unit(found))


def _unit(model: Any, field: str) -> Any:
    """Return what words a value of a table's field: a size, a duration, a rate, a plain number."""
    known = getattr(model, "model_fields", {})
    readers = [getattr(m, "func", None) for m in known[field].metadata] if field in known else []
    words = {parse_size: format_size, parse_duration: format_duration, parse_rate: _rate}
    return next((words[reader] for reader in readers if reader in words), str)
