"""A connection: calls that block, sessions that end, tasks that are waited for.

pyVmomi blocks.  In wall time its calls run in threads; in virtual time in whatever lets time pass
there.  Which of the two is the caller's to say, by ``run``.
"""

from __future__ import annotations

import asyncio
import http.client
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pyVmomi import vim, vmodl

from stuntdouble.adapters.vsphere.faults import error_of
from stuntdouble.errors import TaskInProgress, TimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_PC: Final = vmodl.query.PropertyCollector
_BROKEN: Final = (OSError, http.client.HTTPException)
"""What pyVmomi raises where a connection cannot be had, or breaks: it has no type of its own."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits for what, in seconds.

    Args:
        watch_seconds: for one answer about a task, which comes as soon as it has ended.
        poll_seconds: between two tries; it doubles up to ``poll_seconds_max``.
        poll_seconds_max: the longest time between two tries.
        busy_seconds: for a VM that another task holds.
        visible_seconds: for what a finished task has made to appear among the properties; vCenter
            may tell of a task's success before the inventory shows it.
        reconnects: how often a call that only reads is tried again on a new connection.
    """

    watch_seconds: int = 10
    poll_seconds: float = 0.2
    poll_seconds_max: float = 5.0
    busy_seconds: float = 1800.0
    visible_seconds: float = 60.0
    reconnects: int = 3


class Connection:
    """A session with a server, begun again whenever it has ended.

    Args:
        open_: logs in and returns a service instance; it blocks.
        run: runs a function that blocks, and returns what it returns.
        patience: see there.
    """

    def __init__(
        self,
        open_: Callable[[], Any],
        run: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self._open = open_
        self._run = run or asyncio.to_thread
        self._instance: Any = None
        self._content: Any = None
        self._opening = asyncio.Lock()

    # Calls. ----------------------------------------------------------------------------------

    async def content(self) -> Any:
        """Return the service content of the present session; log in where there is none.

        Raises:
            Unreachable: nobody answers.
            AccessDenied: wrong user or password.
        """
        async with self._opening:
            if self._instance is None:
                try:
                    self._instance = await self._run(self._open)
                    self._content = await self._run(self._instance.RetrieveContent)
                except vmodl.MethodFault as fault:
                    raise error_of(fault, "the server", "log in") from fault
                except _BROKEN as error:
                    raise Unreachable("the vSphere server") from error
            return self._content

    async def read(self, function: Callable[[Any], T], subject: str, request: str) -> T:
        """Call *function* with the service content; one that only reads may be called again.

        Raises:
            Error: see ``faults``.
        """
        for _ in range(self.patience.reconnects):
            try:
                return await self._once(function, subject, request)
            except Unreachable:
                await asyncio.sleep(self.patience.poll_seconds)
        return await self._once(function, subject, request)

    async def change(self, function: Callable[[Any], T], subject: str, request: str) -> T:
        """Call *function*, which changes something; it waits while another task holds the VM.

        Only what the server says it has not begun is tried again.

        Raises:
            TaskInProgress: the VM was held for too long.
            Unreachable: the connection broke, and whether the call took effect is unknown.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience.busy_seconds
        pause = self.patience.poll_seconds
        while True:
            try:
                return await self._once(function, subject, request)
            except TaskInProgress:
                if loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, self.patience.poll_seconds_max)

    async def _once(self, function: Callable[[Any], T], subject: str, request: str) -> T:
        """Call *function*; where the session had ended, once more in a new one."""
        for last in (False, True):
            content = await self.content()
            try:
                result: T = await self._run(partial(function, content))
            except vim.fault.NotAuthenticated as fault:
                self._forget(content)
                if last:
                    raise error_of(fault, subject, request) from fault
            except vmodl.MethodFault as fault:
                raise error_of(fault, subject, request) from fault
            except _BROKEN as error:
                self._forget(content)
                raise Unreachable("the vSphere server") from error
            else:
                return result
        raise AssertionError("a call either returns or raises")

    def _forget(self, content: Any) -> None:
        """Let go of the session that *content* is of, unless another has taken its place by now."""
        if self._content is content and self._instance is not None:
            _hang_up(self._instance)
            self._instance = self._content = None

    async def close(self) -> None:
        """Log out; a server that does not answer any more is left alone."""
        if self._instance is None:
            return
        content, instance = self._content, self._instance
        self._instance = self._content = None
        try:
            await self._run(content.sessionManager.Logout)
        except (vmodl.MethodFault, *_BROKEN):
            return
        finally:
            _hang_up(instance)

    # Tasks. ----------------------------------------------------------------------------------

    async def task(self, start: Callable[[Any], Any], subject: str, request: str) -> Any:
        """Start a task, wait for its end, and return its result.

        Raises:
            Error: the server refused, or the task failed.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience.busy_seconds
        while True:
            info = await self._ended(await self.change(start, subject, request), subject, request)
            if info.state == "success":
                return info.result
            error = error_of(info.error, subject, request)
            if not isinstance(error, TaskInProgress) or loop.time() > until:
                raise error from info.error
            await asyncio.sleep(self.patience.poll_seconds_max)

    async def _ended(self, ref: Any, subject: str, request: str) -> Any:
        """Wait for a task; return its information."""
        look = partial(_watch, ref=ref, seconds=self.patience.watch_seconds)
        while (info := await self.read(look, subject, request)) is None:
            pass  # it is running: the server was asked to answer as soon as it is not
        return info

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str) -> T:
        """Return what *look* finds as soon as it finds something.

        Raises:
            TimedOut: it did not become visible in time.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience.visible_seconds
        pause = self.patience.poll_seconds
        while (found := await look()) is None:
            if loop.time() + pause > end:
                raise TimedOut(f"{what} to become visible", self.patience.visible_seconds)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self.patience.poll_seconds_max)
        return found


def _hang_up(instance: Any) -> None:
    """Close the connections that pyVmomi keeps open for later; in process there are none."""
    drop = getattr(instance._stub, "DropConnections", None)  # noqa: SLF001  (pyVmomi's own way)
    if drop is not None:
        drop()


def _watch(content: Any, ref: Any, seconds: int) -> Any:
    """Return a task's information once it has ended, None where that takes more than *seconds*.

    It waits on a collector of its own: another waiter on the same one would take its updates.
    """
    task = same(content, ref)
    collector = content.propertyCollector.CreatePropertyCollector()
    try:
        spec = _PC.FilterSpec(
            objectSet=[_PC.ObjectSpec(obj=task)],
            propSet=[_PC.PropertySpec(type=vim.Task, pathSet=["info.state"])],
        )
        collector.CreateFilter(spec=spec, partialUpdates=True)
        version, options = "", _PC.WaitOptions(maxWaitSeconds=seconds)
        while (update := collector.WaitForUpdatesEx(version, options)) is not None:
            version = update.version
            states = [
                change.val
                for told in update.filterSet
                for each in told.objectSet
                for change in each.changeSet
            ]
            if states and states[-1] in {"success", "error"}:
                return task.info
        return None
    finally:
        collector.DestroyPropertyCollector()


def same(content: Any, ref: Any) -> Any:
    """Return a reference to the same object that goes by the present session."""
    return type(ref)(ref._moId, content.rootFolder._stub)  # noqa: SLF001  (pyVmomi's own way to say it)
