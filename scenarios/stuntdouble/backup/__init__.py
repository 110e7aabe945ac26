"""The backup server: real workflow code on plain asyncio, with nothing but ports below it.

``run_job`` runs a ``JobSpec`` by one of three methods and returns a ``JobReport``;
``run_recorded`` also keeps the run in a catalog.  The same code drives emulators in virtual time
and adapters of real systems in wall time.
"""

from __future__ import annotations

from stuntdouble.backup.job import run_job
from stuntdouble.backup.latency import LatencyLimits
from stuntdouble.backup.recorded import run_recorded
from stuntdouble.backup.report import JobReport, Note, Phase, VmOutcome
from stuntdouble.backup.select import JobSpec, Method, QuiesceFallback, Selection
from stuntdouble.backup.storing import InThread, Storing, at_once
from stuntdouble.backup.work import History

__all__ = [
    "History",
    "InThread",
    "JobReport",
    "JobSpec",
    "LatencyLimits",
    "Method",
    "Note",
    "Phase",
    "QuiesceFallback",
    "Selection",
    "Storing",
    "VmOutcome",
    "at_once",
    "run_job",
    "run_recorded",
]
