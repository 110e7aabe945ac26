"""Latency control: back off while the foreground suffers.

Two thresholds over the mean latency of the job's datastores, looked at every few seconds:

    latency      0 ............ hold ............ throttle ............
    new tasks    started        none is started   none is started
    read depth   as asked       as asked          halved at each look, down to 1

Both come from backup products in the field, which ship 20 ms and 30 ms and look every 20 s.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.errors import Error, Misuse, TimedOut

if TYPE_CHECKING:
    from stuntdouble.backup.report import Note
    from stuntdouble.ports import Hypervisor, Throttle


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """Say how much latency a backup may cause before it backs off; all in seconds.

    ``wait_seconds_max`` bounds how long one task is held back: then it fails with TimedOut, so
    that a job on a datastore that never calms down ends and says so.
    """

    hold_seconds: float = 0.020
    throttle_seconds: float = 0.030
    poll_seconds: float = 20.0
    wait_seconds_max: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 < self.hold_seconds <= self.throttle_seconds:
            raise Misuse(
                "latency control",
                f"holds at {self.hold_seconds} s and throttles at {self.throttle_seconds} s:"
                " need 0 < hold <= throttle",
            )
        if self.poll_seconds <= 0 or self.wait_seconds_max <= 0:
            raise Misuse("latency control", "poll and longest wait must be above 0 s")


class LatencyControl:
    """Watch the datastores of a job, hold its new tasks back and throttle its reads.

    It changes ``depth`` of the *throttle* that all reads of the job share.
    A look that fails changes nothing: an unknown latency is no reason to speed up or to stop.
    """

    def __init__(
        self,
        limits: LatencyLimits,
        hypervisor: Hypervisor,
        datastores: tuple[str, ...],
        throttle: Throttle,
        note: Note,
    ) -> None:
        self._limits = limits
        self._hypervisor = hypervisor
        self._datastores = datastores
        self._throttle = throttle
        self._note = note
        self._depth_asked = throttle.depth
        self._calm = asyncio.Event()
        self._calm.set()

    async def watch(self) -> None:
        """Look at the latency until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._limits.poll_seconds)

    async def look(self) -> None:
        """Look once, at the slowest datastore, and act on it."""
        try:
            each = [await self._hypervisor.latency_seconds(store) for store in self._datastores]
        except Error as error:
            self._note("latency-unknown", "job", error=str(error))
            return
        worst = max(each, default=0.0)
        self._set_hold(worst)
        self._set_depth(worst)

    async def admit(self) -> None:
        """Return when a new task may start.

        Raises:
            TimedOut: the datastores did not calm down within ``wait_seconds_max``.
        """
        try:
            async with asyncio.timeout(self._limits.wait_seconds_max):
                await self._calm.wait()
        except TimeoutError:
            where = ", ".join(self._datastores)
            bound = self._limits.hold_seconds
            raise TimedOut(
                f"waiting for a latency of {where} below {bound} s", self._limits.wait_seconds_max
            ) from None

    def _set_hold(self, latency: float) -> None:
        calm = latency <= self._limits.hold_seconds
        if calm == self._calm.is_set():
            return
        if calm:
            self._calm.set()
        else:
            self._calm.clear()
        self._note("resumed" if calm else "held", "job", latency_seconds=latency)

    def _set_depth(self, latency: float) -> None:
        if latency > self._limits.throttle_seconds:
            depth = max(1, self._throttle.depth // 2)
        else:
            depth = self._depth_asked
        if depth != self._throttle.depth:
            self._throttle.limit(depth=depth)
            self._note("throttled", "job", depth=depth, latency_seconds=latency)
