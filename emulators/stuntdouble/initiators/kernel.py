"""LUNs by way of the kernel's own initiator: ``iscsiadm`` logs in, disks are found by their names.

    iface     a name of our own, bound to no address or device, with our IQN
    node      target, portal, iface: manual startup, secrets, digests ─▶ login ─▶ session
    disk      found by its NAA identifier; the unit itself says who it is before a byte is read

All that is made carries the iface's name, and only that is taken away again: records and sessions of
the machine's administrator are under other ifaces.  What a process that was killed has left behind
is taken over by the next one, and taken away by it.

``iscsiadm`` takes secrets as words of its command line, which other users of the machine may see
while it runs.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Error, Misuse, NotFound
from stuntdouble.initiators.iscsiadm import Exit, Iscsiadm
from stuntdouble.initiators.local import LocalDevice, LocalInitiator
from stuntdouble.initiators.wall import Patience, Wall
from stuntdouble.initiators.wwn import disk_of, identification, wwn_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Protocol

    from stuntdouble.extents import Runs
    from stuntdouble.ports import Mapping, Span, Throttle

    class Secrets(Protocol):
        """What proves us to a target, and perhaps the target to us; ``codecs.iscsi.Credentials``."""

        @property
        def user(self) -> str:
            """The initiator's name."""
            ...

        @property
        def secret(self) -> str:
            """Its secret."""
            ...

        @property
        def mutual_user(self) -> str:
            """The target's name; empty where it has nothing to prove."""
            ...

        @property
        def mutual_secret(self) -> str:
            """The target's secret."""
            ...


IFACE: Final = "stuntdouble"

_REPLACEMENT_SECONDS: Final = 30
"""For how long the kernel holds I/O back when a session is lost, before it fails it: as long as our
own initiator tries again; open-iscsi's default of 120 s is for file systems."""


class KernelInitiator:
    """Implements ``ports.Initiator`` over open-iscsi.

    A CHAP secret goes to ``iscsiadm`` as an argument, the one way it has: for as long as that runs,
    whoever may list processes of this machine can see it.

    Args:
        portal: ``host:port`` of a portal of the array.
        iqn: the name by which the array masks; the kernel takes it for our sessions alone.
        target: the target's name.
        chap: what proves us to the target, and perhaps the target to us.
        iface: what our records are known by; initiators of several processes need several.
        tool: runs ``iscsiadm``.
        sysfs: where the kernel tells of its disks.
        dev: where device nodes are.
        ask: says who an open disk is.
        wait_seconds: wall time that a disk may take to show.
    """

    def __init__(  # noqa: PLR0913  (what a test, and a guest, put in place of the machine)
        self,
        portal: str,
        iqn: str,
        target: str,
        *,
        chap: Secrets | None = None,
        iface: str = IFACE,
        tool: Iscsiadm | None = None,
        sysfs: Path = Path("/sys"),
        dev: Path = Path("/dev"),
        ask: Callable[[int, str], str] = identification,
        wait_seconds: float = 15.0,
    ) -> None:
        self.iqn = iqn
        self._target = target
        self._chap = chap
        self._iface = iface
        self._node = ("-m", "node", "-T", target, "-p", portal, "-I", iface)
        self._tool = tool or Iscsiadm()
        self._sysfs = sysfs
        self._wait_seconds = wait_seconds
        self._local = LocalInitiator(iqn, sysfs=sysfs, dev=dev, ask=ask)
        self._users = 0
        self._lock = asyncio.Lock()

    async def attach(self, mapping: Mapping) -> KernelDevice:
        """Open the mapped LUN, read-only: the one whose NAA identifier is the mapping's.

        Raises:
            Misuse: a mapping for another initiator, or an ``iscsiadm`` that refuses our words.
            NotFound: no such target, or no disk with that name shows.
            InvalidState: what shows is another volume by now.
            AccessDenied: the target, or the machine, does not let us.
            Unreachable, TimedOut: nobody answers at the portal, or the daemon does not run.
        """
        if mapping.initiator_iqn != self.iqn:
            raise Misuse(f"LUN {mapping.lun}", f"is mapped to {mapping.initiator_iqn}, not to us")
        async with self._lock:
            await self._enter()
            try:
                disk = await self._find(mapping.naa.lower())
                return KernelDevice(self, disk, self._local.open(disk, mapping.naa.lower()))
            except BaseException:
                with suppress(Error):  # what went wrong first is what is to be known
                    await self._exit()
                raise

    async def release(self, disk: str, naa: str) -> None:
        """Let the kernel forget a disk, and log out with the last one: for ``KernelDevice``."""
        async with self._lock:
            if self._users > 1:  # another volume may come under the same LUN number
                self._forget(disk, naa)
            await self._exit()

    # Sessions. ---------------------------------------------------------------------------------

    async def _enter(self) -> None:
        if not self._users:
            try:
                await self._log_in()
            except BaseException:
                with suppress(Error):
                    await self._clean_up()
                raise
        self._users += 1

    async def _exit(self) -> None:
        self._users -= 1
        if not self._users:
            await self._clean_up()

    async def _log_in(self) -> None:
        """Make iface and node, and log in; what an earlier process left of ours is taken over."""
        run, node = self._tool.run, self._node
        iface = ("-m", "iface", "-I", self._iface)
        await run(*iface, "--op", "new")
        await run(*iface, "--op", "update", "-n", "iface.initiatorname", "-v", self.iqn)
        await run(*node, "--op", "new")
        for name, value in self._settings().items():
            await run(*node, "--op", "update", "-n", name, "-v", value)
        await run(*node, "--login", allowed=(Exit.SESSION_EXISTS,))

    def _settings(self) -> dict[str, str]:
        settings = {
            "node.startup": "manual",
            "node.conn[0].startup": "manual",
            "node.session.timeo.replacement_timeout": str(_REPLACEMENT_SECONDS),
            "node.conn[0].iscsi.HeaderDigest": "CRC32C,None",
            "node.conn[0].iscsi.DataDigest": "CRC32C,None",
        }
        chap = self._chap
        if chap is not None:
            settings |= {
                "node.session.auth.authmethod": "CHAP",
                "node.session.auth.username": chap.user,
                "node.session.auth.password": chap.secret,
            }
            if chap.mutual_secret:
                settings |= {
                    "node.session.auth.username_in": chap.mutual_user,
                    "node.session.auth.password_in": chap.mutual_secret,
                }
        return settings

    async def _clean_up(self) -> None:
        """Log out and delete what is ours, as far as it is there; raise the first failure.

        The iface goes last: without it, nothing that carries its name is found any more.
        """
        nothing = (Exit.NOTHING_FOUND, Exit.SESSION_NOT_FOUND)
        failures = []
        for words, allowed in (
            ((*self._node, "--logout"), nothing),
            ((*self._node, "--op", "delete"), nothing),
        ):
            try:
                await self._tool.run(*words, allowed=allowed)
            except Error as error:
                failures.append(error)
        if not failures and not await self._used():
            await self._tool.run(
                "-m", "iface", "-I", self._iface, "--op", "delete", allowed=(Exit.INVALID,)
            )
        if failures:
            raise failures[0]

    async def _used(self) -> bool:
        """Whether the iface has other records still: deleting it would delete them."""
        text = await self._tool.run("-m", "node", "-P", "1", allowed=(Exit.NOTHING_FOUND,))
        return f"Iface Name: {self._iface}\n" in text + "\n"

    # Disks. ------------------------------------------------------------------------------------

    async def _find(self, naa: str) -> str:
        """Return the kernel's name of the disk; look again, and have it look again, for a while."""
        patience = Patience(Wall(), self._wait_seconds)
        while True:
            found = disk_of(naa, self._sysfs)
            if found:
                return found
            await self._tool.run(*self._node, "--rescan")
            if not disk_of(naa, self._sysfs):
                await patience.again(NotFound("disk of this machine", f"{naa} of {self._target}"))

    def _forget(self, disk: str, naa: str) -> None:
        """Delete a disk that is still what it was from the kernel's list; it may be gone already."""
        place = self._sysfs / "block" / disk
        if wwn_of(place) == naa and (place / "device" / "delete").exists():
            (place / "device" / "delete").write_text("1")


class KernelDevice:
    """A disk of the kernel's initiator; made by ``KernelInitiator.attach``."""

    def __init__(self, initiator: KernelInitiator, disk: str, device: LocalDevice) -> None:
        self.identity = device.identity
        self.size_bytes = device.size_bytes
        self.disk = disk
        self.path = device.path
        self._initiator = initiator
        self._device = device
        self._closed = False

    def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs* in rising order; see ``LocalDevice.read``."""
        return self._device.read(runs, throttle)

    async def write(self, offset: int, data: memoryview) -> None:
        """Refuse: the disk is open read-only."""
        await self._device.write(offset, data)

    async def close(self) -> None:
        """Let go of the disk, and log out with the last one; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._device.close()
        finally:
            await self._initiator.release(self.disk, self.identity)
