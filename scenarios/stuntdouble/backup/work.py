"""What every step of a job needs: the spec, the ports, and the bounds that VMs share."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stuntdouble.backup.storing import at_once
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator

    from stuntdouble.backup.latency import LatencyControl
    from stuntdouble.backup.report import Note
    from stuntdouble.backup.select import JobSpec
    from stuntdouble.backup.storing import Storing
    from stuntdouble.ports import (
        Array,
        Hypervisor,
        Initiator,
        Repository,
        RestorePoint,
        Throttle,
    )


class History(Protocol):
    """What is remembered between jobs: the newest restore point of each VM and method."""

    def last(self, vm: str, method: str) -> RestorePoint | None:
        """Return the newest restore point of *vm* by *method*, or None."""

    def record(self, point: RestorePoint) -> None:
        """Remember *point*, which the repository has committed."""


@dataclass(slots=True)
class Work:
    """One job under way.

    ``throttle`` is the job's own copy.  ``vm_slots`` bounds the VMs (storage and mounted
    method: groups) worked on at a time, ``read_slots`` the VMs of all groups that are read at a time.
    """

    spec: JobSpec
    hypervisor: Hypervisor
    repository: Repository
    history: History
    note: Note
    throttle: Throttle
    array: Array | None = None
    initiator: Initiator | None = None
    host_iqn: str = ""
    storing: Storing = at_once
    latency: LatencyControl | None = None
    vm_slots: asyncio.Semaphore = field(init=False)
    read_slots: asyncio.Semaphore = field(init=False)
    _stamp: str = field(init=False)
    _numbers: Iterator[int] = field(init=False, default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.vm_slots = asyncio.Semaphore(self.spec.concurrency)
        self.read_slots = asyncio.Semaphore(self.spec.concurrency)
        self._stamp = stamp(asyncio.get_running_loop().time(), self.spec.run)

    def new_name(self) -> str:
        """Return a name for something the job makes: prefix, stamp of the job, running number.

        With what the array adds for the members of a group (``.10``) and ``-copy`` for a
        promoted volume, names stay within 31 characters for 999 names a job.
        """
        return f"{self.spec.snapshot_prefix}-{self._stamp}-{next(self._numbers)}"

    def the_array(self) -> Array:
        """Return the array, or raise Misuse where the job was given none."""
        if self.array is None:
            raise Misuse(f"method {self.spec.method}", "it needs a storage array: none was given")
        return self.array

    def the_initiator(self) -> Initiator:
        """Return the backup server's initiator, or raise Misuse where there is none."""
        if self.initiator is None:
            raise Misuse(f"method {self.spec.method}", "it needs an initiator: none was given")
        return self.initiator

    @asynccontextmanager
    async def turn(self, slots: asyncio.Semaphore) -> AsyncIterator[None]:
        """Hold one of *slots*, once latency control lets a new task start."""
        async with slots:
            if self.latency is not None:
                await self.latency.admit()
            yield


def stamp(seconds: float, run: int) -> str:
    """Return the seven characters that tell a job from others: its start and its run number.

    Base 36: five digits for the milliseconds of the start, two for the run.  Two runs have the
    same stamp only if they start in the same millisecond of a cycle of 36**5 ms (16.8 h) and
    their numbers are a multiple of 36**2 = 1,296 apart.
    """
    instant = np.base_repr(round(seconds * 1000) % 36**5, 36).zfill(5)
    return (instant + np.base_repr(run % 36**2, 36).zfill(2)).lower()


async def together(
    coroutines: Iterable[Coroutine[Any, Any, None]],
    *,
    meanwhile: Coroutine[Any, Any, None] | None = None,
) -> None:
    """Run all side by side to their end; if one breaks, cancel the others and raise its error.

    *meanwhile* runs as long as they do.  Errors that concern one VM never arrive here (see
    ``failing_alone``), so what does is a bug, and is raised as it is, not wrapped in a group.
    """
    try:
        async with asyncio.TaskGroup() as watch:
            watching = watch.create_task(meanwhile) if meanwhile is not None else None
            async with asyncio.TaskGroup() as group:
                for coroutine in coroutines:
                    group.create_task(coroutine)
            if watching is not None:
                watching.cancel()
    except BaseExceptionGroup as broken:
        error: BaseException = broken
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
