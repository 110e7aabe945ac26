"""Say what a run cost and achieved: as JSON, in the terminal, and as a page for the customer.

``Result`` is the only thing that passes between a scenario and a reader; every form shown here
is computed from it alone.  Names are imported when first used, because pydantic and rich are slow
to load and a command such as ``--help`` needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stuntdouble.results.figures import (
        LOAD_PHASES,
        METHOD_NAMES,
        EngineName,
        MethodName,
        PhaseName,
    )
    from stuntdouble.results.model import (
        SCHEMA_VERSION,
        Assumption,
        MethodResult,
        Result,
        Site,
        SiteDatastore,
        SitePool,
        SiteVm,
        dump,
        load,
    )
    from stuntdouble.results.page import page_html
    from stuntdouble.results.parts import (
        Backup,
        ByPhase,
        Consolidation,
        DatastoreResult,
        Event,
        Foreground,
        Latency,
        Leftover,
        Load,
        Phase,
        PointResult,
        RunResult,
        Series,
        Stalls,
        Stuns,
        VmResult,
        WholeJob,
    )
    from stuntdouble.results.progress import Progress
    from stuntdouble.results.publishing import publish, publish_remote
    from stuntdouble.results.remote import RemoteMethod, RemoteResult, dump_remote, load_remote
    from stuntdouble.results.remoteview import remote_table
    from stuntdouble.results.schema import published_schema, result_schema, schema_text
    from stuntdouble.results.terminal import comparison_table
    from stuntdouble.results.verdict import plain_verdict

__all__ = [
    "LOAD_PHASES",
    "METHOD_NAMES",
    "SCHEMA_VERSION",
    "Assumption",
    "Backup",
    "ByPhase",
    "Consolidation",
    "DatastoreResult",
    "EngineName",
    "Event",
    "Foreground",
    "Latency",
    "Leftover",
    "Load",
    "MethodName",
    "MethodResult",
    "Phase",
    "PhaseName",
    "PointResult",
    "Progress",
    "RemoteMethod",
    "RemoteResult",
    "Result",
    "RunResult",
    "Series",
    "Site",
    "SiteDatastore",
    "SitePool",
    "SiteVm",
    "Stalls",
    "Stuns",
    "VmResult",
    "WholeJob",
    "comparison_table",
    "dump",
    "dump_remote",
    "load",
    "load_remote",
    "page_html",
    "plain_verdict",
    "publish",
    "publish_remote",
    "published_schema",
    "remote_table",
    "result_schema",
    "schema_text",
]

_HOMES: Final = {
    "figures": ("LOAD_PHASES", "METHOD_NAMES", "EngineName", "MethodName", "PhaseName"),
    "model": (
        *("SCHEMA_VERSION", "Assumption", "MethodResult", "Result", "Site", "SiteDatastore"),
        *("SitePool", "SiteVm", "dump", "load"),
    ),
    "page": ("page_html",),
    "parts": (
        *("Backup", "ByPhase", "Consolidation", "DatastoreResult", "Event", "Foreground"),
        *("Latency", "Leftover", "Load", "Phase", "PointResult", "RunResult", "Series", "Stalls"),
        *("Stuns", "VmResult", "WholeJob"),
    ),
    "progress": ("Progress",),
    "publishing": ("publish", "publish_remote"),
    "remote": ("RemoteMethod", "RemoteResult", "dump_remote", "load_remote"),
    "remoteview": ("remote_table",),
    "schema": ("published_schema", "result_schema", "schema_text"),
    "terminal": ("comparison_table",),
    "verdict": ("plain_verdict",),
}
_MODULE_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module that holds *name*, and return it."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
