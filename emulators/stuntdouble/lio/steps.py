"""The kinds of steps there are, and how one becomes JSON and comes back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import InvalidState
from stuntdouble.lio.attaching import NbdStep
from stuntdouble.lio.backstores import BackstoreStep
from stuntdouble.lio.copying import CopyStep
from stuntdouble.lio.fabrics import IscsiStep, LoopbackStep
from stuntdouble.lio.fuses import FuseStep
from stuntdouble.lio.loops import LoopStep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.lio.work import Step

KINDS: Final[dict[str, Any]] = {
    kind.kind: kind
    for kind in (NbdStep, FuseStep, CopyStep, LoopStep, BackstoreStep, IscsiStep, LoopbackStep)
}


def facts(steps: Iterable[Any]) -> tuple[dict[str, Any], ...]:
    """Return steps as JSON has them; nothing in them is secret."""
    return tuple({"kind": step.kind, **asdict(step)} for step in steps)


def parsed(rows: Iterable[dict[str, Any]]) -> list[Step]:
    """Return the steps of ``facts``.

    Raises:
        InvalidState: one makes no sense: another version wrote it.
    """
    found: list[Step] = []
    for row in rows:
        rest: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
        }
        try:
            found.append(KINDS[rest.pop("kind")](**rest))
        except (KeyError, TypeError) as error:
            raise InvalidState("a step of an export", f"unknown ({error})", "undo it") from None
    return found
