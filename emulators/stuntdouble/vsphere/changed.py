"""What has changed since when: so that a client that waits for updates hears of them, and of no more.

Every object has the number of its latest change.  What the emulated hypervisor notes in its journal
is a change of the objects that the note is about; tasks tell of themselves.  ``layoutEx`` and
``storage`` are refreshed silently, as vSphere does: asking again shows the new, waiting does not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stuntdouble.trace.journal import Event
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.objects import Managed

_STRUCTURE: Final = frozenset(
    {
        *("registered", "unregistered", "mounted", "unmounted", "created", "destroyed"),
        *("relocated", "snapshot", "snapshot-removed", "revert"),
    }
)
"""Notes after which there are other objects than before, or they lie elsewhere."""


class Changes:
    """Numbers of changes; ``latest`` is that of the last one, ``structure`` of the last regrouping."""

    def __init__(self, center: VirtualCenter) -> None:
        self.latest = 0
        self.structure = 0
        self._of: dict[str, int] = {}
        self._center = center
        self._waiting: dict[tuple[str, str], asyncio.Future[bool]] = {}
        center.hypervisor.host.journal.listeners.append(self._heard)

    def touch(self, changed: Managed) -> None:
        """Note that an object has changed."""
        self.latest += 1
        self._of[changed.moid] = self.latest
        self._wake()

    def regroup(self) -> None:
        """Note that there are other objects than before."""
        self.latest += 1
        self.structure = self.latest
        self._wake()

    def of(self, moid: str) -> int:
        """Return the number of an object's latest change."""
        return self._of.get(moid, 0)

    def since(self, number: int) -> list[str]:
        """Return the objects that have changed after change *number*."""
        return [moid for moid, latest in self._of.items() if latest > number]

    def forget(self, gone: Managed) -> None:
        """Let go of the number of an object that is no more."""
        self._of.pop(gone.moid, None)

    def next(self, collector: str, session: str) -> asyncio.Future[bool]:
        """Return a future that finishes at the next change; True where the wait is called off.

        A collector has one waiter a session: a second one takes the place of the first.
        """
        self.cancel(collector, session)
        future = asyncio.get_running_loop().create_future()
        self._waiting[collector, session] = future
        return future

    def cancel(self, collector: str, session: str) -> None:
        """Call off a wait, if there is one."""
        waiting = self._waiting.pop((collector, session), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(True)

    def left(self, collector: str, session: str, future: asyncio.Future[bool]) -> None:
        """Let go of a wait that is over, however it ended."""
        if self._waiting.get((collector, session)) is future:
            del self._waiting[collector, session]

    def end(self, session: str) -> None:
        """Call off every wait of a session."""
        for collector, waiter in list(self._waiting):
            if waiter == session:
                self.cancel(collector, waiter)

    @property
    def waiting(self) -> int:
        """How many clients wait for word of a change."""
        return len(self._waiting)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_result(False)

    def _heard(self, event: Event) -> None:
        if event.kind in _STRUCTURE:
            self.regroup()
        for managed in self._center.roots.about(event):
            self.touch(managed)
