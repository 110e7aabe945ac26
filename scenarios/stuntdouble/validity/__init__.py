"""Hold the model against what is known: theory, a measured block layer, drives, publications.

Each row is one comparison, with its source, its parameters, its error and a verdict; ``run``
computes rows, ``dump`` and ``load`` keep them, and ``python -m stuntdouble.validity`` does all of
it.  Names are imported when first used: ``--help`` must not wait for an engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stuntdouble.validity.catalogue import CHECKS, SEED, chosen, run
    from stuntdouble.validity.grid import Axis, Cell, Sensitivity
    from stuntdouble.validity.keeping import dump, load
    from stuntdouble.validity.making import Check, Outcome
    from stuntdouble.validity.report import Report
    from stuntdouble.validity.row import Parameter, Point, Row
    from stuntdouble.validity.sensitivity import places, run_grid

__all__ = [
    "CHECKS",
    "SEED",
    "Axis",
    "Cell",
    "Check",
    "Outcome",
    "Parameter",
    "Point",
    "Report",
    "Row",
    "Sensitivity",
    "chosen",
    "dump",
    "load",
    "places",
    "run",
    "run_grid",
]

_HOMES: Final = {
    "catalogue": ("CHECKS", "SEED", "chosen", "run"),
    "keeping": ("dump", "load"),
    "making": ("Check", "Outcome"),
    "grid": ("Axis", "Cell", "Sensitivity"),
    "report": ("Report",),
    "row": ("Parameter", "Point", "Row"),
    "sensitivity": ("places", "run_grid"),
}
_MODULE_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
