"""From a Problem of the native interface back to the error that it tells of.

A Problem has the error's class by name and its text.  The text is the class's template filled in
with the facts, so the facts are read back from it, as text.
"""

from __future__ import annotations

import ast
import re
import string
from contextlib import suppress
from functools import cache
from typing import Any

from stuntdouble import errors


def error_of(problem: dict[str, Any]) -> errors.Error:
    """Return the error that *problem*, the JSON of a Problem, tells of.

    One whose class is not known here, or whose text is not of its class's template, is refused as
    InvalidState, with all that the problem says.
    """
    kind, what = str(problem.get("kind", "")), str(problem.get("what", ""))
    where = str(problem.get("where", "")) or "the native interface"
    found = getattr(errors, kind, None) if kind in errors.__all__ else None
    if isinstance(found, type) and issubclass(found, errors.Error):
        facts = _facts(found, what)
        if facts is not None:
            return found(*facts)
        if found in {errors.Misuse, errors.NotFound}:
            return found(where, what)
    said = f"refusing by {kind or 'an answer that is no Problem'} ({what})"
    return errors.InvalidState(where, said, "do that")


def _facts(kind: type[errors.Error], text: str) -> list[str] | None:
    """Return the facts of an error from its text, in order; None where the text is another."""
    pattern, quoted = _pattern(kind.template)
    match = pattern.fullmatch(text)
    if match is None:
        return None
    found = match.groupdict()
    for name in quoted:
        with suppress(ValueError, SyntaxError):
            found[name] = str(ast.literal_eval(found[name]))
    return [found[name] for name in sorted(found)]


@cache
def _pattern(template: str) -> tuple[re.Pattern[str], frozenset[str]]:
    """Return what texts by a template look like, and the groups that are written as ``repr`` does."""
    parts, quoted = [], set()
    for literal, field, _, conversion in string.Formatter().parse(template):
        parts.append(re.escape(literal))
        if field is None:
            continue
        parts.append(f"(?P<f{field}>.*?)")
        if conversion == "r":
            quoted.add(f"f{field}")
    return re.compile("".join(parts), re.DOTALL), frozenset(quoted)
