"""What every step of a job needs: the spec, the ports, and the bounds that VMs share."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator

    from stuntdouble.backup.latency import LatencyControl
    from stuntdouble.backup.report import Note
    from stuntdouble.backup.select import JobSpec
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

    ``throttle`` is the job's own copy.  ``vm_slots`` bounds the VMs (storage method: groups)
    worked on at a time, ``read_slots`` the VMs of all groups that are read at a time.
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
    latency: LatencyControl | None = None
    vm_slots: asyncio.Semaphore = field(init=False)
    read_slots: asyncio.Semaphore = field(init=False)
    _stamp: str = field(init=False)
    _numbers: Iterator[int] = field(init=False, default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.vm_slots = asyncio.Semaphore(self.spec.concurrency)
        self.read_slots = asyncio.Semaphore(self.spec.concurrency)
        milliseconds = round(asyncio.get_running_loop().time() * 1000)
        self._stamp = np.base_repr(milliseconds, 36).lower()

    def new_name(self) -> str:
        """Return a name for something the job makes: prefix, start in ms, running number.

        The start is written in base 36: with what the array adds for the members of a group
        (``.10``) and ``-copy`` for a promoted volume, names stay within 31 characters for 999
        names a job and two years of site time (7 digits).
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
