"""What we have made, written down before it is made: whoever is killed leaves a list of its doings.

    planned ──▶ building ──▶ whole ──▶ ending ──▶ (nothing)
                   └───────────────────▲

A record is kept where a ``Keeper`` keeps it: in files of a directory that does not survive a
reboot, as what it tells of does not, or in a store (``stuntdouble.store``), which is one too.
Secrets are not in it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from stuntdouble.errors import InvalidState, NotFound
from stuntdouble.lio.requests import Export, Portal

if TYPE_CHECKING:
    from collections.abc import Mapping

Phase: TypeAlias = Literal["building", "whole", "ending"]

_HASH: Final = "exports"


class Keeper(Protocol):
    """Keeps text by hash and field, as ``stuntdouble.store.Store`` does."""

    def get(self, name: str, field: str) -> str | None:
        """Return a value, or None."""
        ...

    def all(self, name: str) -> Mapping[str, str]:
        """Return every field of a hash."""
        ...

    def put(self, name: str, field: str, value: str) -> None:
        """Set a field."""
        ...

    def drop(self, name: str, field: str) -> bool:
        """Remove a field; return whether it was there."""
        ...


class Directory:
    """A ``Keeper`` in files: one for each field, replaced as a whole.

    Args:
        path: the directory; it is made when something is put into it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def get(self, name: str, field: str) -> str | None:
        """Return a value, or None."""
        try:
            return (self._path / name / field).read_text("utf-8")
        except FileNotFoundError:
            return None

    def all(self, name: str) -> dict[str, str]:
        """Return every field of a hash; one that is dropped meanwhile is not among them."""
        folder = self._path / name
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        values = {each: self.get(name, each) for each in names if not each.startswith(".")}
        return {each: value for each, value in values.items() if value is not None}

    def put(self, name: str, field: str, value: str) -> None:
        """Set a field; it is on the disk when this returns, or as it was."""
        folder = self._path / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = folder / f".{field}.{os.getpid()}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, value.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(folder / field)

    def drop(self, name: str, field: str) -> bool:
        """Remove a field; return whether it was there."""
        try:
            (self._path / name / field).unlink()
        except FileNotFoundError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Record:
    """An export of ours: how far it is, of whom, and by which steps.

    Args:
        phase: a row of the table above.
        owner: the process with which it ends (see ``machine.owner``); empty where it stays.
        steps: those that it is made of, as ``steps.facts`` tells them.
        export: what came of it, or will.
    """

    phase: Phase
    owner: str
    steps: tuple[dict[str, Any], ...]
    export: Export


class Records:
    """The records of a ``Keeper``."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def put(self, record: Record) -> None:
        """Write a record down, over the one of the same export."""
        self._keeper.put(_HASH, record.export.id, json.dumps(asdict(record)))

    def get(self, number: str) -> Record:
        """Return a record; NotFound where there is none."""
        text = self._keeper.get(_HASH, number)
        if text is None:
            raise NotFound("export", number)
        return _parsed(number, text)

    def all(self) -> list[Record]:
        """Return every record."""
        return [_parsed(*pair) for pair in self._keeper.all(_HASH).items()]

    def turn(self, record: Record, phase: Phase) -> Record:
        """Write down that an export has come to a phase."""
        turned = replace(record, phase=phase)
        self.put(turned)
        return turned

    def drop(self, number: str) -> None:
        """Forget a record; idempotent."""
        self._keeper.drop(_HASH, number)


def _parsed(number: str, text: str) -> Record:
    try:
        content = json.loads(text)
        export = content["export"]
        portal = Portal(**export["portal"]) if export["portal"] else None
        lists = {name: tuple(export[name]) for name in ("initiators", "path")}
        made = Export(**{**export, **lists, "portal": portal})
        return Record(content["phase"], content["owner"], tuple(content["steps"]), made)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidState(
            f"the record of export {number}", f"no record ({error})", "read"
        ) from None
