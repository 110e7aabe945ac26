"""Exporters: a LUN goes out as iSCSI or as a SCSI disk by the kernel's target, or as a loop device.

``KernelExporter`` is one of three, by its kind; each obeys ``Exporter``.  What it takes is a ``Request``
about an NBD export of a served site, a file or a device.  What has been made is noted down before,
so that ``recover`` takes away what a process that was killed has left, and nothing else; ``probe``
says what works here.  Nothing beyond the standard library is needed until a back end is made: then
rtslib (``stuntdouble[lio]``).  Names are loaded when they are used: a child that does one job starts
in half the time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stuntdouble.lio.exporters import Exporter, KernelExporter, Recovered, recover
    from stuntdouble.lio.machine import Limits, Machine
    from stuntdouble.lio.planning import Kind, Plan, new_number, plan
    from stuntdouble.lio.probing import EXPORTERS, Finding, probe
    from stuntdouble.lio.records import Directory, Keeper, Records
    from stuntdouble.lio.requests import (
        Chap,
        Export,
        Initiator,
        NbdSource,
        PathSource,
        Portal,
        Request,
        Session,
        Source,
        source,
    )
    from stuntdouble.lio.targetcli import commands
    from stuntdouble.lio.work import KernelError

__all__ = [
    "EXPORTERS",
    "Chap",
    "Directory",
    "Export",
    "Exporter",
    "Finding",
    "Initiator",
    "Keeper",
    "KernelError",
    "KernelExporter",
    "Kind",
    "Limits",
    "Machine",
    "NbdSource",
    "PathSource",
    "Plan",
    "Portal",
    "Records",
    "Recovered",
    "Request",
    "Session",
    "Source",
    "commands",
    "new_number",
    "plan",
    "probe",
    "recover",
    "source",
]

_HOMES = {
    "Chap": "requests",
    "Directory": "records",
    "EXPORTERS": "probing",
    "Export": "requests",
    "Exporter": "exporters",
    "Finding": "probing",
    "Initiator": "requests",
    "Keeper": "records",
    "KernelError": "work",
    "KernelExporter": "exporters",
    "Kind": "planning",
    "Limits": "machine",
    "Machine": "machine",
    "NbdSource": "requests",
    "PathSource": "requests",
    "Plan": "planning",
    "Portal": "requests",
    "Records": "records",
    "Recovered": "exporters",
    "Request": "requests",
    "Session": "requests",
    "Source": "requests",
    "commands": "targetcli",
    "new_number": "planning",
    "plan": "planning",
    "probe": "probing",
    "recover": "exporters",
    "source": "requests",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    """Load a name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
