"""Figures in words: the one place that decides how many digits a reader sees.

Terminal and page print the same text for the same figure.  A dash stands for "no such figure".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.results.figures import MethodName

NONE: Final = "–"

METHOD_TITLES: Final[dict[MethodName, str]] = {
    "software": "Software snapshot",
    "storage": "Storage snapshot",
    "mounted": "Mounted snapshot",
}

METHOD_EXPLAINED: Final[dict[MethodName, str]] = {
    "software": "Reads through the hypervisor while the VM snapshot stays open.",
    "storage": "Reads a promoted array snapshot; the VM snapshot is gone before reading starts.",
    "mounted": "Registers the promoted array snapshot with an extra host and reads through it.",
}

PHASE_TITLES: Final = {
    "before": "before the job",
    "snapshot": "VM snapshot open",
    "preparing": "preparing the array snapshot",
    "reading": "while reading",
    "consolidating": "while consolidating",
    "cleaning": "cleaning up",
    "after": "after the job",
}


def printable(text: str) -> str:
    """Return *text* with a replacement sign for what a terminal might obey instead of print."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def milliseconds(value: float | None) -> str:
    """Return a latency of *value* milliseconds, in seconds from ten seconds on."""
    if value is None:
        return NONE
    if value >= 10_000:
        return format_duration(value / 1000)
    return f"{value:,.0f} ms" if value >= 99.95 else f"{value:.3g} ms"


def seconds(value: float | None) -> str:
    """Return a duration of *value* seconds."""
    if value is None:
        return NONE
    return f"-{format_duration(-value)}" if value < 0 else format_duration(value)


def size(value: float | None) -> str:
    """Return a size of *value* bytes."""
    return NONE if value is None else format_size(int(value))


def share(value: float | None) -> str:
    """Return a share from 0 to 1 as a percentage."""
    if value is None:
        return NONE
    return "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def number(value: float | None) -> str:
    """Return a count or a rate, with thousands apart."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 99.95 or float(value).is_integer() else f"{value:.3g}"


def yes_no(value: bool | None) -> str:  # noqa: FBT001
    """Return a finding: yes, no, or a dash where nothing was found out."""
    return NONE if value is None else "yes" if value else "no"


def clock(value: float) -> str:
    """Return an instant of site time as hours, minutes and seconds: ``"1:02:03.4"``."""
    tenths = round(value * 10)
    whole, tenth = divmod(tenths, 10)
    minutes, second = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}.{tenth}"


def watch(value: float) -> str:
    """Return an instant as a watch shows it, whole seconds: ``"1:02:03"``."""
    return clock(int(value)).partition(".")[0]


def counted(count: int, noun: str) -> str:
    """Return *count* with its noun: ``"1 VM"``, ``"3 VMs"``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(parts: Iterable[str]) -> str:
    """Return *parts* as a list in a sentence: ``"a, b and c"``."""
    *rest, last = parts
    return f"{', '.join(rest)} and {last}" if rest else last
