"""Numbers and names that the result model is built from: each with its unit and its limits.

A figure is rounded to nine significant digits when the model takes it, not when it is printed.
So the object in memory and the object read back from ``result.json`` are equal, and the same run
gives the same bytes.  Nine digits keep a tenth of a millisecond over a whole day.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SIGNIFICANT_DIGITS: Final = 9

MethodName = Literal["software", "storage", "mounted"]
"""How a backup gets at frozen disks; see ``MethodResult``."""

EngineName = Literal["kernel", "reference"]
"""What ran the I/O: the compiled engine, or its specification."""

METHOD_NAMES: Final[tuple[MethodName, ...]] = ("software", "storage", "mounted")
"""Every method, in the order in which a report shows them."""

PhaseName = Literal[
    "before", "snapshot", "preparing", "reading", "consolidating", "cleaning", "after"
]
"""A stage of a job as the guests feel it; see ``Phase``."""

LOAD_PHASES: Final = ("before", "reading", "consolidating", "after")
"""The phases for which the load on the guests is summed up, in the order of a software job."""

Kind = Literal["full", "incremental"]
Consistency = Literal["crash", "file system", "application"]


def rounded(value: float) -> float:
    """Return *value* with nine significant digits, and zero without a sign."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0


Signed = Annotated[float, Field(allow_inf_nan=False), AfterValidator(rounded)]
Figure = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(rounded)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), AfterValidator(rounded)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]


class Record(BaseModel):
    """Base of every part of a result: immutable, strict, and closed to unknown fields."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )
