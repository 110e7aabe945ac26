"""How things may be called on this array.

Names keep their case and are compared without it.  A snapshot is called after its volume, a dot
between: ``vol.suffix``; in a group snapshot ``group.suffix.vol``.
"""

from __future__ import annotations

import re
from typing import Final

from stuntdouble.arrayapi.pure.refusals import Refusal

NAME_LENGTH_MAX: Final = 63  # of volume, host, group and suffix (Purity//FA REST API guide)

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_VOLUME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_TELLING: Final = re.compile(r"[A-Za-z-]")  # a suffix of digits alone is the array's own

_RULE: Final = (
    "{kind} name must be between 1 and 63 characters (alphanumeric{more} and '-') in length and"
    " begin and end with a letter or number. The name must include at least one letter{more} or"
    " '-'."
)
_SUFFIX_RULE: Final = (
    "Snapshot suffix must be between 1 and 63 characters (alphanumeric and '-') in length and begin"
    " and end with a letter or number. The suffix must include at least one letter or '-'."
)


def check_name(kind: str, name: str) -> None:
    """Refuse what is no name of a *kind* such as "Volume", "Host" or "Protection group"."""
    wide = kind == "Volume"
    pattern, more = (_VOLUME, ", '_'") if wide else (_NAME, "")
    telling = _TELLING.search(name) or (wide and "_" in name)
    if not pattern.fullmatch(name) or not telling:
        raise Refusal(_RULE.format(kind=kind, more=more), name)


def check_suffix(suffix: str) -> None:
    """Refuse what may not stand behind the dot of a snapshot's name."""
    if not _NAME.fullmatch(suffix) or not _TELLING.search(suffix):
        raise Refusal(_SUFFIX_RULE, suffix)


def suffix_of(snapshot: str) -> str:
    """Return what stands between a snapshot's first dot and the next, if there is one."""
    return snapshot.split(".")[1] if "." in snapshot else ""


def same(one: str, other: str) -> bool:
    """Tell whether two names are one and the same on this array."""
    return one.casefold() == other.casefold()
