"""What a scenario says about a VM's own I/O."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from stuntdouble.scenarios.values import Seconds, Share, Size, Table
from stuntdouble.units import KIB

DAY_SECONDS: Final = 86_400.0

IOPS_MAX: Final = 1e6
"""What one VM has been shown to do: VMware's "one million IOPS" of a single VM, vSphere 5.1, 2012."""

IOPS_MIN: Final = 1e-6
"""Chosen: an I/O in eleven days; a year is the longest that anything takes."""

SKEW_MAX: Final = 100.0
"""Chosen: half of the I/Os then go to 2⁻¹⁰⁰ of the working set, which is one I/O of any."""

SPEED_MIN: Final = 1e-3
SPEED_MAX: Final = 1e3
"""Chosen: a week's trace in ten minutes, or an hour's in six weeks."""


class Load(Table):
    """A VM's own I/O.  ``trace`` takes the file that the command line names.

    A ``sweep`` of writes goes through the working set in order, as new data fills a disk; the
    other I/Os keep to its ``hot`` start.
    """

    kind: Literal["poisson", "closed", "trace", "none"] = "poisson"
    iops: float = Field(default=0.0, ge=0, le=IOPS_MAX)
    reads: Share = 0.7
    io: Size = 4 * KIB
    working_set: Size = 0
    skew: float = Field(default=1.0, ge=1, le=SKEW_MAX)
    sequential: Share = 0.0
    sweep: Share = 0.0
    hot: Size = 0
    outstanding: int = Field(default=1, ge=1, le=1024)
    think: Seconds = 0.0
    speed: float = Field(default=1.0, ge=SPEED_MIN, le=SPEED_MAX)
    curve: Literal["flat", "office-day", "batch-night"] = "flat"
    begins: Annotated[Seconds, Field(lt=DAY_SECONDS)] = 0.0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "poisson" and self.iops <= 0:
            raise ValueError("a poisson load needs iops above 0 (or kind = 'none')")
        if 0 < self.iops < IOPS_MIN:
            raise ValueError(f"iops is {self.iops!r}: the least that makes sense is {IOPS_MIN:g}")
        if self.curve != "flat" and self.kind != "poisson":
            raise ValueError(f"curve changes the rate of a poisson load, and this is {self.kind}")
        if self.curve == "flat" and "begins" in self.model_fields_set:
            raise ValueError("begins is of no use without a curve")
        return self
