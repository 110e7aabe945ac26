"""The curves that were measured once and are kept, and the set-up that all of them share.

A curve is the I/Os per second of a guest in bins of equal length.  The first bin holds the burst
credit of the throttle group; ``settled`` is the curve without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final

SCHEMA_VERSION: Final = 1
"""Of ``curves.json``."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all curves were measured on: a disk behind a throttle, and a closed loop on it.

    Args:
        disk_bytes: size of the disk; writes fall uniformly on all of it.
        chunk_bytes: what the first write after a snapshot copies or redirects.
        io_bytes: bytes of an I/O of the guest.
        outstanding: I/Os of the guest under way at a time.
        iops: I/Os a second that the throttle group lets through, of whatever size and to
            whichever of base, delta and target.
        burst_ios: I/Os that it lets through at once after a rest.
        bin_seconds: length of a bin.
    """

    disk_bytes: int
    chunk_bytes: int
    io_bytes: int
    outstanding: int
    iops: float
    burst_ios: float
    bin_seconds: float

    @property
    def chunks(self) -> int:
        """How many chunks the disk has."""
        return self.disk_bytes // self.chunk_bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """When a live commit began, in seconds of the curve, and how long its two parts took."""

    started_seconds: float
    ready_seconds: float
    pivot_seconds: float

    @property
    def ended_seconds(self) -> float:
        """When the guest wrote to the base again."""
        return self.started_seconds + self.ready_seconds + self.pivot_seconds


@dataclass(frozen=True, slots=True)
class Curve:
    """A guest's I/Os per second, bin by bin.

    Args:
        name: how it is asked for.
        title: how it is shown.
        setup: what it was measured on.
        extra_ios: I/Os beside its own that the first write of a chunk costs; 0 has no snapshot.
        read_fraction: share of the guest's I/Os that are reads.
        iops: I/Os per second in each bin, the first with the burst credit.
        commit: of a curve during which a live commit ran.
        source: where the figures come from.
    """

    name: str
    title: str
    setup: Setup
    extra_ios: int
    read_fraction: float
    iops: tuple[float, ...]
    commit: Commit | None
    source: str

    @property
    def settled(self) -> tuple[float, ...]:
        """The bins after the first."""
        return self.iops[1:]

    @property
    def seconds(self) -> float:
        """How long it was measured."""
        return len(self.iops) * self.setup.bin_seconds

    def first(self, bins: int) -> Curve:
        """Return the curve without what comes after its first *bins*."""
        return replace(self, iops=self.iops[:bins])


@cache
def stored_curves() -> dict[str, Curve]:
    """Return the curves that are kept, by name, in the order in which they are measured."""
    text = files("stuntdouble.lab").joinpath("curves.json").read_text("utf-8")
    content = json.loads(text)
    assert content["schema_version"] == SCHEMA_VERSION
    setup = Setup(**content["setup"])
    found = (_curve(entry, setup, content["source"]) for entry in content["curves"])
    return {curve.name: curve for curve in found}


def _curve(entry: dict[str, Any], setup: Setup, source: str) -> Curve:
    commit = entry.get("commit")
    return Curve(
        name=entry["name"],
        title=entry["title"],
        setup=setup,
        extra_ios=entry["extra_ios"],
        read_fraction=entry["read_fraction"],
        iops=tuple(float(value) for value in entry["iops"]),
        commit=Commit(**commit) if commit else None,
        source=source,
    )
