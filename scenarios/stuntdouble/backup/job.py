"""A backup job: select, back up by one of three methods, report."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from stuntdouble.backup import mounted, software, storage
from stuntdouble.backup.latency import LatencyControl
from stuntdouble.backup.report import Diary, JobReport, failing_alone
from stuntdouble.backup.select import Method, resolve, volume_groups
from stuntdouble.backup.storing import at_once
from stuntdouble.backup.work import Work, together
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stuntdouble.backup.report import Note
    from stuntdouble.backup.select import JobSpec, Target
    from stuntdouble.backup.storing import Storing
    from stuntdouble.backup.work import History
    from stuntdouble.ports import Array, Hypervisor, Initiator, Repository


def silent(kind: str, subject: str, /, **facts: object) -> None:
    """Take no notice of a milestone."""


async def run_job(  # noqa: PLR0913  (by name: what it works on, and with)
    spec: JobSpec,
    *,
    hypervisor: Hypervisor,
    repository: Repository,
    history: History,
    array: Array | None = None,
    initiator: Initiator | None = None,
    host_iqn: str = "",
    note: Note = silent,
    storing: Storing = at_once,
) -> JobReport:
    """Run a backup job and report on every selected VM.

    The storage method needs *array* and *initiator*, the mounted method *array* and
    *host_iqn*, the initiator of the host that mounts the copies.  *note* hears each milestone
    while it happens; the last is ``job-end``, with the report among its facts.  *storing* says where
    what has been read is stored: on the loop, or beside it.

    An error of one VM stands in the report and fails no other VM.  A cancelled job cleans up,
    announces ``job-end`` and raises CancelledError: its report is in that last note.

    Raises:
        Misuse: the method lacks a port that it needs.
    """
    work = Work(
        spec,
        hypervisor,
        repository,
        history,
        note,
        replace(spec.throttle),
        array=array,
        initiator=initiator,
        host_iqn=host_iqn,
        storing=storing,
    )
    _check_ports(work)
    loop = asyncio.get_running_loop()
    started = loop.time()
    diaries = {name: Diary(name, note) for name in spec.selection.vms}
    cancelled = False
    note("job-start", "job", method=spec.method.value, asked=spec.kind.value)
    try:
        with failing_alone(*diaries.values()):
            await _back_up_all(work, diaries)
    except asyncio.CancelledError:
        cancelled = True
        raise
    finally:
        outcomes = tuple(diary.outcome() for diary in diaries.values())
        report = JobReport(spec.method, spec.kind, started, loop.time(), cancelled, outcomes)
        note("job-end", "job", report=report)
    return report


def _check_ports(work: Work) -> None:
    method = work.spec.method
    if method is not Method.SOFTWARE:
        work.the_array()
    if method is Method.STORAGE:
        work.the_initiator()
    if method is Method.MOUNTED and not work.host_iqn:
        raise Misuse(f"method {method}", "it needs the host's initiator name: none was given")


async def _back_up_all(work: Work, diaries: Mapping[str, Diary]) -> None:
    targets = await _targets(work, diaries)
    if work.spec.method is Method.SOFTWARE:
        each = [partial(software.back_up, work, t, diaries[t.vm.name]) for t in targets]
    else:
        back_up = {Method.STORAGE: storage.back_up_group, Method.MOUNTED: mounted.back_up_group}
        start = back_up[work.spec.method]
        each = [partial(start, work, group, diaries) for group in volume_groups(targets)]
    if work.spec.latency is None:
        await together(start() for start in each)
        return
    stores = tuple(dict.fromkeys(disk.datastore for t in targets for disk in t.disks))
    work.latency = LatencyControl(
        work.spec.latency, work.hypervisor, stores, work.throttle, work.note
    )
    await work.latency.look()
    await together((start() for start in each), meanwhile=work.latency.watch())


async def _targets(work: Work, diaries: Mapping[str, Diary]) -> tuple[Target, ...]:
    """Resolve the selection; VMs that cannot be backed up fail here, with a line."""
    on_array: frozenset[str] | None = None
    if work.spec.method is not Method.SOFTWARE:
        on_array = frozenset([info.naa for info in await work.the_array().volumes()])
    targets, refused = resolve(work.spec.selection, await work.hypervisor.vms(), on_array)
    for name, error in refused.items():
        diaries[name].fail(str(error))
    for target in targets:
        diary = diaries[target.vm.name]
        diary.skipped = target.skipped
        for line in target.skipped:
            diary.tell("skipped", f"skipped {line}", disk=line)
    return targets
