"""Faults on the way to an array: at the wire of its management, and on the path of its data.

They lie over what is there and change nothing of it: none of them is an input of the site, and all go
away with a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from stuntdouble.native import models as m

if TYPE_CHECKING:
    from stuntdouble.native.control import Control
    from stuntdouble.native.crossing import Crossing

_Count = Annotated[int, Field(ge=0, le=1_000_000)]

PLANS_MAX = 1000
"""Of one array at a time.  Chosen: each is looked at for every command."""


class WireFaults(m.Said):
    """What goes wrong at the wire of an array's management; numbers count down as requests meet them."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"unavailable": 3, "match": "POST *"}]},
    )
    unavailable: _Count = Field(0, description="Requests that are answered 503, and not done.")
    unauthorised: _Count = Field(0, description="Requests that lose their session first.")
    drop_after_commit: _Count = Field(0, description="Requests that are done, and not answered.")
    no_body: _Count = Field(0, description="Answers without the body that is due.")
    truncated: _Count = Field(0, description="Lists that are cut in half.")
    contradictory_total: _Count = Field(0, description="Lists that are told to be one longer.")
    slow_seconds: float = Field(0.0, ge=0, le=3600, description="Wall time before each answer.")
    match: str = Field("*", description='Only requests whose "METHOD /path" matches meet any.')


class DataFault(m.Said):
    """A planned fault of the data path, and how often it has struck."""

    plan: dict[str, Any]
    seen: int = Field(description="Commands that it could have hit so far.")
    fired: int = Field(description="Commands that it has hit.")


class DataFaults(m.Said):
    """The plans that are to be at work from now on, in place of all others."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"plans": [{"kind": "medium-error", "block": 4096, "times": 1}]}]
        },
    )
    plans: list[dict[str, Any]] = Field(
        max_length=PLANS_MAX,
        description="Each has a `kind` (latency, busy, task-set-full, attention, not-ready,"
        " medium-error, no-space, pulled, corruption), and may have initiator_iqn, lun, naa,"
        " commands, from_seconds, after, times, probability and what its kind needs.",
    )


class Drop(m.Said):
    """Whose sessions are to be cut; everybody's by default."""

    initiator_iqn: str | None = None
    announced: bool = Field(
        default=False, description="Whether the target says so first, by an asynchronous message."
    )


class Dropped(m.Said):
    """How many sessions were cut."""

    sessions: int


def overlay_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths of faults that lie over an array."""
    paths = APIRouter(prefix="/faults", tags=["faults"])

    @paths.get("/wire")
    async def wire() -> dict[str, WireFaults]:
        """Show what goes wrong at the wire of each vendor's interface that listens."""
        return await cross(control.wire_faults())

    @paths.put("/wire/{endpoint}")
    async def set_wire(endpoint: str, wanted: WireFaults) -> WireFaults:
        """Choose what goes wrong there; what is not named is well."""
        return await cross(control.set_wire_faults(endpoint, wanted))

    @paths.get("/data/{array}")
    async def data(array: str) -> list[DataFault]:
        """Show which faults the array's LUNs have over iSCSI."""
        return await cross(control.data_faults(array))

    @paths.put("/data/{array}")
    async def set_data(array: str, wanted: DataFaults) -> list[DataFault]:
        """Choose which faults the array's LUNs have over iSCSI from now on."""
        return await cross(control.set_data_faults(array, wanted.plans))

    @paths.post("/session-drop")
    async def drop(wanted: Drop) -> Dropped:
        """Cut iSCSI sessions; initiators may log in again at once."""
        return await cross(control.drop_sessions(wanted))

    return paths
