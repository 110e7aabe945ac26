"""A backup job whose every run is in the catalog, with how it ended and why."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Required, TypedDict

from stuntdouble.backup.catalog import Job, RunState
from stuntdouble.backup.job import run_job, silent

if TYPE_CHECKING:
    from typing import Unpack

    from stuntdouble.backup.catalog import Catalog
    from stuntdouble.backup.report import JobReport, Note
    from stuntdouble.backup.select import JobSpec
    from stuntdouble.backup.storing import Storing
    from stuntdouble.ports import Array, Hypervisor, Initiator, Repository


class Systems(TypedDict, total=False):
    """The systems that a job works on, and how it stores, as ``run_job`` takes them.

    Each method needs its own.
    """

    hypervisor: Required[Hypervisor]
    array: Array | None
    initiator: Initiator | None
    host_iqn: str
    storing: Storing


async def run_recorded(
    catalog: Catalog,
    job_name: str,
    spec: JobSpec,
    *,
    repository: Repository,
    note: Note = silent,
    **systems: Unpack[Systems],
) -> JobReport:
    """Define the job *job_name*, run it by ``run_job``, and record the run in *catalog*.

    The catalog is brought together with *repository* first, so that an incremental builds on
    what is really there.  The run's number becomes part of the names of what the job makes,
    which keeps apart jobs that start together.  A run has succeeded where every VM was backed up
    cleanly; else its reason names each VM that was not, and what went wrong.

    Raises:
        Misuse: the method lacks a port that it needs; the run is recorded as failed.
        Unreachable: the store of the catalog does not answer.
    """
    loop = asyncio.get_running_loop()
    catalog.define(_job(job_name, spec))
    catalog.reconcile(repository)
    run = catalog.queue(job_name, loop.time())
    catalog.move(run.id, RunState.RUNNING, loop.time())
    try:
        report = await run_job(
            replace(spec, run=run.serial),
            repository=repository,
            history=catalog,
            note=note,
            **systems,
        )
    except asyncio.CancelledError:
        catalog.move(run.id, RunState.CANCELLED, loop.time(), "the job was cancelled")
        raise
    except BaseException as error:
        catalog.move(run.id, RunState.FAILED, loop.time(), str(error) or repr(error))
        raise
    state = RunState.SUCCEEDED if report.ok else RunState.FAILED
    catalog.move(run.id, state, loop.time(), _reason(report))
    return report


def _job(name: str, spec: JobSpec) -> Job:
    """Return *spec* as the catalog keeps it; its settings are all fields, as JSON."""
    plain = replace(spec.selection, disks=dict(spec.selection.disks))
    settings = asdict(replace(spec, selection=plain))
    del settings["run"]
    return Job(name, spec.method.value, spec.selection.vms, json.dumps(settings, sort_keys=True))


def _reason(report: JobReport) -> str:
    """Return what went wrong, VM by VM; empty if nothing did."""
    causes = [f"{vm.vm}: {vm.error}" for vm in report.vms if vm.error]
    causes += [f"left behind {line}" for line in report.left_behind]
    return "; ".join(causes)
