"""The report as JSON: the same rows give the same text, and the text gives the same rows."""

from __future__ import annotations

from stuntdouble.results.text import loaded, to_text
from stuntdouble.validity.report import Report


def dump(report: Report) -> str:
    """Return *report* as JSON, fields in the model's order; it ends with a newline."""
    return to_text(report.model_dump(mode="json")) + "\n"


def load(text: str | bytes) -> Report:
    """Return the report that *text*, a ``validity.json``, holds.

    Raises:
        Misuse: not JSON, or not a report of this version; names the first field that is wrong.
    """
    return loaded(Report, text, "validity.json")
