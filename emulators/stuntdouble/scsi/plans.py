"""What shall go wrong on the data path, on which unit, at which commands, how often.

A plan is written as a table, so that an operator can have it read from a file or sent to a running
target, and is checked as strictly:

    {"kind": "medium-error", "naa": "6000…", "block": 4096, "blocks": 8, "after": 2, "times": 1}
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Misuse
from stuntdouble.scsi.lun import LUN_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FaultKind(Enum):
    """What goes wrong."""

    LATENCY = "latency"
    """The command takes *seconds* longer."""

    BUSY = "busy"
    TASK_SET_FULL = "task-set-full"
    ATTENTION = "attention"
    """The unit has *asc*/*ascq* to tell first."""

    NOT_READY = "not-ready"
    """02/04/*ascq*."""

    MEDIUM_ERROR = "medium-error"
    """03/11/00, whenever any of the *blocks* from *block* on is read."""

    NO_SPACE = "no-space"
    """07/27/07, and nothing is written."""

    PULLED = "pulled"
    """The unit goes away: a read delivers half, nothing else is there until the plan is withdrawn."""

    CORRUPTION = "corruption"
    """As many *bytes* of what is read are others, and nothing says so."""


READ, WRITE, OTHER = "read", "write", "other"
COMMAND_KINDS: Final = (READ, WRITE, OTHER)

_DEFAULT_COMMANDS: Final = {
    FaultKind.MEDIUM_ERROR: (READ,),
    FaultKind.CORRUPTION: (READ,),
    FaultKind.NO_SPACE: (WRITE,),
}
_ALLOWED_COMMANDS: Final = {
    FaultKind.MEDIUM_ERROR: (READ, WRITE),
    FaultKind.CORRUPTION: (READ,),
    FaultKind.NO_SPACE: (WRITE,),
}
_PARAMETERS: Final = {
    FaultKind.LATENCY: ("seconds",),
    FaultKind.ATTENTION: ("asc", "ascq"),
    FaultKind.NOT_READY: ("ascq",),
    FaultKind.MEDIUM_ERROR: ("block", "blocks"),
    FaultKind.CORRUPTION: ("bytes",),
}
_REQUIRED: Final = frozenset(("seconds", "asc", "block"))


@dataclass(frozen=True)
class FaultPlan:
    """One fault.

    Args:
        kind: what goes wrong.
        initiator_iqn: of whose commands; None means everybody's.
        lun: at which LUN; None means any.
        naa: on which unit; None means any.
        commands: of which kinds: ``read``, ``write``, ``other``.
        from_seconds: from which time on.
        after: how many commands that it could hit it lets pass first.
        times: how often it strikes; None means without end.
        probability: how likely it strikes a command that it could.
        seconds: how long, for ``latency``.
        asc: additional sense code, for ``attention``.
        ascq: its qualifier, for ``attention`` and ``not-ready``.
        block: the first bad block, for ``medium-error``.
        blocks: how many are bad.
        bytes: how many bytes of a read are wrong, for ``corruption``.
    """

    kind: FaultKind
    initiator_iqn: str | None = None
    lun: int | None = None
    naa: str | None = None
    commands: tuple[str, ...] = ()
    from_seconds: float = 0.0
    after: int = 0
    times: int | None = None
    probability: float = 1.0
    seconds: float = 0.0
    asc: int = 0
    ascq: int = 0
    block: int = 0
    blocks: int = 1
    bytes: int = 1

    @classmethod
    def parse(cls, table: Mapping[str, object], where: str = "fault") -> FaultPlan:
        """Return the plan that a table says.

        Args:
            table: see the fields; ``kind`` by its value, ``commands`` as a list.
            where: named in errors.

        Raises:
            Misuse: a key is unknown, missing, of another kind of fault, or its value out of range.
        """
        kind = _kind(table.get("kind"), where)
        parameters = _PARAMETERS.get(kind, ())
        allowed = {*_COMMON, *parameters}
        for key in table:
            if key not in allowed:
                known = ", ".join(sorted(allowed))
                raise Misuse(f"{where}.{key}", f"no such key for {kind.value}; known are {known}")
        for key in parameters:
            if key in _REQUIRED and key not in table:
                raise Misuse(f"{where}.{key}", f"missing: {kind.value} needs it")
        values: dict[str, Any] = {
            key: _CHECKS[key](value, f"{where}.{key}")
            for key, value in table.items()
            if key != "kind"
        }
        values.setdefault("commands", _DEFAULT_COMMANDS.get(kind, (READ, WRITE)))
        possible = _ALLOWED_COMMANDS.get(kind, COMMAND_KINDS)
        for one in values["commands"]:
            if one not in possible:
                problem = f"{one!r} is not what {kind.value} can hit: {', '.join(possible)}"
                raise Misuse(f"{where}.commands", problem)
        return cls(kind, **values)

    def table(self) -> dict[str, object]:
        """Return the table that says this plan."""
        shown = {"kind", *_COMMON, *_PARAMETERS.get(self.kind, ())}
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name in shown}
        values |= {"kind": self.kind.value, "commands": list(self.commands)}
        return {key: value for key, value in values.items() if value is not None}


def _kind(value: object, where: str) -> FaultKind:
    known = {kind.value: kind for kind in FaultKind}
    if not isinstance(value, str) or value not in known:
        raise Misuse(f"{where}.kind", f"{value!r} is none of {', '.join(known)}")
    return known[value]


def _whole(low: int, high: int) -> Callable[[object, str], int]:
    def check(value: object, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Misuse(where, f"{value!r} is no whole number from {low} to {high}")
        return value

    return check


def _number(low: float, high: float) -> Callable[[object, str], float]:
    def check(value: object, where: str) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:  # type: ignore[operator]  # a number by now
            raise Misuse(where, f"{value!r} is no number from {low:g} to {high:g}")
        return float(value)  # type: ignore[arg-type]  # a number by now

    return check


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise Misuse(where, f"{value!r} is no name")
    return value


def _commands(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise Misuse(where, f"{value!r} is no list of {', '.join(COMMAND_KINDS)}")
    for one in value:
        if one not in COMMAND_KINDS:
            raise Misuse(where, f"{one!r} is none of {', '.join(COMMAND_KINDS)}")
    return tuple(value)


_BYTE: Final = _whole(0, 255)
_COUNT: Final = _whole(0, 1 << 62)
_SECONDS: Final = _number(0.0, 1e9)
_CHECKS: Final[dict[str, Callable[[object, str], object]]] = {
    "initiator_iqn": _text,
    "lun": _whole(0, LUN_MAX),
    "naa": _text,
    "commands": _commands,
    "from_seconds": _SECONDS,
    "after": _COUNT,
    "times": _whole(1, 1 << 62),
    "probability": _number(0.0, 1.0),
    "seconds": _SECONDS,
    "asc": _BYTE,
    "ascq": _BYTE,
    "block": _COUNT,
    "blocks": _whole(1, 1 << 62),
    "bytes": _whole(1, 1 << 20),
}
_COMMON: Final = (
    "kind",
    "initiator_iqn",
    "lun",
    "naa",
    "commands",
    "from_seconds",
    "after",
    "times",
    "probability",
)
