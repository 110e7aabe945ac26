"""Examples at the end of a command's help."""

from __future__ import annotations


def examples(*lines: str, after: str = "") -> str:
    """Return an epilog for click: *lines* as they are to be typed, then a paragraph *after*."""
    # \b keeps click from joining the lines into a paragraph.
    shown = "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
    return f"{shown}\n\n{after}" if after else shown
