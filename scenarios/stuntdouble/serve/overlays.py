"""Faults that lie over a site's arrays: whoever opens a door to them, hangs them up here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stuntdouble.errors import InvalidState, NotFound
from stuntdouble.native import overlays as m
from stuntdouble.scsi import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.arrayapi import WireFaults
    from stuntdouble.serve.iscsi import IscsiEndpoint


@dataclass
class Overlays:
    """Switches of the vendors' interfaces by name, and the iSCSI endpoint, once they are there."""

    wire: dict[str, WireFaults] = field(default_factory=dict)
    iscsi: IscsiEndpoint | None = None

    def shown(self) -> dict[str, m.WireFaults]:
        """Return what goes wrong at each wire."""
        return {name: m.WireFaults(**faults.shown()) for name, faults in self.wire.items()}

    def switch(self, name: str, wanted: m.WireFaults) -> m.WireFaults:
        """Set the switches of a wire; NotFound where it does not listen."""
        if name not in self.wire:
            raise NotFound("vendor's interface", name)
        self.wire[name].change(wanted.model_dump())
        return self.shown()[name]

    def data(self, array: str) -> list[m.DataFault]:
        """Return the plans of an array's LUNs, and how often they struck."""
        found = self._target().device(array).faults
        return [
            m.DataFault(plan=each.plan.table(), seen=each.seen, fired=each.fired) for each in found
        ]

    def plan(self, array: str, tables: Sequence[dict[str, Any]]) -> list[m.DataFault]:
        """Have these plans at an array's LUNs, all of them or, where one makes no sense, none.

        Raises:
            Misuse: it makes none.
        """
        where = (f"plans[{number}]" for number in range(len(tables)))
        plans = [FaultPlan.parse(*each) for each in zip(tables, where, strict=True)]
        self._target().plan(array, plans)
        return self.data(array)

    def drop(self, wanted: m.Drop) -> m.Dropped:
        """Cut sessions."""
        target = self._target()
        dropped = target.drop(wanted.initiator_iqn, announced=wanted.announced)
        return m.Dropped(sessions=dropped)

    def _target(self) -> IscsiEndpoint:
        if self.iscsi is None:
            raise InvalidState("iSCSI", "not served", "break it: serve the site with --iscsi")
        return self.iscsi
