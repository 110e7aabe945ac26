"""What came of it, as a table for the terminal and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table

from stuntdouble.lab.judging import AGAINST
from stuntdouble.results.text import to_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stuntdouble.lab.curves import Curve
    from stuntdouble.lab.judging import Against, Finding, Judged

REPORT_VERSION: Final = 1
"""Of the JSON that a run writes."""

_DIGITS: Final = 6
"""Of each number written: more than was measured, and the same on every machine."""


def table(judged: Sequence[Judged]) -> Table:
    """Return a row for each finding: what was measured, what is kept, and how far it is off."""
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, highlight=False)
    made.add_column("curve", no_wrap=True)
    errors = (f"off\n{name}" for name in AGAINST)
    for heading in ("measured", "kept", *errors, "allowed", ""):
        made.add_column(heading, justify="right", no_wrap=True)
    for one in judged:
        made.add_row(one.measured.name, style="bold")
        for finding in one.findings:
            made.add_row(*_cells(finding), style="" if finding.met else "bold red")
    return made


def _cells(finding: Finding) -> list[str]:
    errors = {comparison.against: percent(comparison.error) for comparison in finding.comparisons}
    kept = finding.comparisons[0]
    return [
        f"  {finding.part}, {finding.unit}",
        f"{finding.measured:.1f}",
        f"{kept.value:.1f}",
        *(errors.get(name, "-") for name in AGAINST),
        percent(kept.tolerance),
        "met" if finding.met else "MISSED",
    ]


def percent(error: float) -> str:
    """Return a relative error as it is shown."""
    return f"{100 * error:.1f} %" if math.isfinite(error) else "no bins"


def as_json(judged: Sequence[Judged], versions: Mapping[str, str], *, quick: bool) -> str:
    """Return everything that was measured and judged."""
    content = {
        "report_version": REPORT_VERSION,
        "quick": quick,
        "met": all(one.met for one in judged),
        "versions": dict(versions),
        "curves": [_curve(one) for one in judged],
    }
    return to_text(_rounded(content)) + "\n"


def _curve(one: Judged) -> dict[str, Any]:
    return {
        "name": one.measured.name,
        "title": one.measured.title,
        "met": one.met,
        "setup": asdict(one.measured.setup),
        "measured": _bins(one.measured),
        "kept": _bins(one.kept),
        "models": dict(one.models),
        "findings": [
            {**asdict(finding), "met": finding.met, "comparisons": _comparisons(finding)}
            for finding in one.findings
        ],
    }


def _bins(curve: Curve) -> dict[str, Any]:
    commit = asdict(curve.commit) if curve.commit else None
    return {"iops": curve.iops, "commit": commit, "source": curve.source}


def _comparisons(finding: Finding) -> dict[Against, dict[str, Any]]:
    return {
        one.against: {
            "value": one.value,
            "error": one.error if math.isfinite(one.error) else None,
            "tolerance": one.tolerance,
            "met": one.met,
        }
        for one in finding.comparisons
    }


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.{_DIGITS}g}")
        case dict():
            return {key: _rounded(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_rounded(inner) for inner in value]
    return value
