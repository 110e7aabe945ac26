"""Leases on the disks of a VM that is exported, and the downloads that they allow.

    initializing ──▶ ready ──▶ done      HttpNfcLeaseComplete
                       ├─────▶ error     HttpNfcLeaseAbort; or nothing was heard of for too long

While a lease is open, nothing changes the VM.  The client reads each disk at its URL, tells of its
progress lest the lease end, and completes it.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.clock import perform
from stuntdouble.codecs.vmdk import StreamOptimized
from stuntdouble.errors import InvalidState
from stuntdouble.http import Response
from stuntdouble.units import KIB, MIB
from stuntdouble.vsphere.answers import plain
from stuntdouble.vsphere.faults import invalid_argument
from stuntdouble.vsphere.folder import allowed
from stuntdouble.vsphere.hardware import virtual_disk
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.vmomi import moid, new, vim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from simpy.events import Event

    from stuntdouble.http import Request
    from stuntdouble.hypervisor import VmDisk
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.machine import MachineOperations
    from stuntdouble.vsphere.sessions import Session

_LEASE: Final = vim.HttpNfcLease
LEASE_SECONDS: Final = 300
"""A lease of which nothing is heard ends after five minutes, as vCenter's default is."""
READY_SECONDS: Final = 0.5
"""Site time until a lease is ready.  No source."""
SLICE_BYTES: Final = MIB
PERCENT_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Item:
    """A disk of a lease: its name among the files, and what it is called."""

    name: str
    key: str
    disk: VmDisk


class HttpNfcLease(Managed):
    """``vim.HttpNfcLease``: of one VM, held by one session."""

    kind = _LEASE

    def __init__(
        self, center: VirtualCenter, moid: str, machine: MachineOperations, secret: str
    ) -> None:
        super().__init__(center, moid)
        self.machine = machine
        self.secret = secret
        self.items = [_item(center, machine, n) for n in range(len(machine.vm.disks))]
        self._state = "initializing"
        self._fault: Any = None
        self._percent = 0
        self._heard = center.patience_now()
        self._manifest: dict[str, Any] = {}

    @property
    def open(self) -> bool:
        """Whether the VM is held."""
        return self._looked_at() in {"initializing", "ready"}

    def _looked_at(self) -> str:
        """Return the state, after a look at whether it has lasted for too long."""
        late = self.center.patience_now() - self._heard > LEASE_SECONDS
        if late and self._state in {"initializing", "ready"}:
            self.give_up("The lease has timed out.")
        return self._state

    def give_up(self, text: str) -> None:
        """End it, because nobody can be expected to go on."""
        self._end("error", vim.fault.Timedout(msg=text))

    def _end(self, state: str, fault: Any = None) -> None:
        self._state, self._fault = state, fault
        self.center.roots.leases.close(self)
        self.center.changes.touch(self)

    def becoming_ready(self) -> Generator[Event, Any, None]:
        """Let it become ready."""
        yield self.center.env.timeout(READY_SECONDS)
        if self._state == "initializing":
            self._state = "ready"
            self.center.changes.touch(self)

    def require_ready(self) -> None:
        """Refuse what only a lease that is ready allows."""
        if self._looked_at() != "ready":
            raise vim.fault.InvalidState(msg=f"The lease is in state {self._state}.")

    # What it shows. --------------------------------------------------------------------------

    @prop
    def state(self) -> str:
        return self._looked_at()

    @prop
    def error(self) -> Any:
        return self._fault

    @prop
    def initialize_progress(self) -> int:
        return 0 if self._state == "initializing" else PERCENT_MAX

    @prop
    def transfer_progress(self) -> int:
        return self._percent

    @prop
    def mode(self) -> str:
        return "pushOrGet"

    @prop
    def capabilities(self) -> Any:
        return _LEASE.Capabilities(pullModeSupported=False, corsSupported=False)

    @prop
    def info(self) -> Any:
        if self._looked_at() != "ready":
            return None
        total = sum(item.disk.spec.capacity_bytes for item in self.items)
        return new(
            _LEASE.Info,
            lease=self.ref,
            entity=self.machine.ref,
            deviceUrl=[self._url(item) for item in self.items],
            totalDiskCapacityInKB=total // KIB,
            leaseTimeout=LEASE_SECONDS,
        )

    def _url(self, item: Item) -> Any:
        """Return where a disk is; clients put the host that they know in the place of ``*``."""
        return new(
            _LEASE.DeviceUrl,
            key=item.key,
            importKey=item.key,
            url=f"{self.center.base_url}/nfc/{self.secret}/{item.name}",
            sslThumbprint=self.center.thumbprint,
            disk=True,
            targetId=item.name,
            fileSize=sum(level.file.size_bytes for level in item.disk.chain.levels),
        )

    # What its holder does. -------------------------------------------------------------------

    @operation("HttpNfcLeaseProgress")
    def progress(self, session: Session, percent: int) -> None:
        """Tell how far the transfer is, so that the lease lasts."""
        del session
        if not 0 <= percent <= PERCENT_MAX:
            raise invalid_argument("percent", f"{percent} is not from 0 to {PERCENT_MAX}")
        self.require_ready()
        self._percent, self._heard = percent, self.center.patience_now()
        self.center.changes.touch(self)

    @operation("HttpNfcLeaseComplete")
    def complete(self, session: Session) -> None:
        """End it: everything has been read."""
        del session
        self.require_ready()
        self._percent = PERCENT_MAX
        self._end("done")

    @operation("HttpNfcLeaseAbort")
    def abort(self, session: Session, fault: Any = None) -> None:
        """End it: the client gives up."""
        del session
        if not self.open:
            raise vim.fault.InvalidState(msg=f"The lease is in state {self._state}.")
        self._end("error", fault or vim.fault.InvalidState(msg="The lease was aborted."))

    @operation("HttpNfcLeaseGetManifest")
    def manifest(self, session: Session) -> list[Any]:
        """Return sizes and digests of the disks that have been read to their ends."""
        del session
        self.require_ready()
        return list(self._manifest.values())

    # Downloads. ------------------------------------------------------------------------------

    def item(self, name: str) -> Item | None:
        """Return a disk by the name of its file, None where there is none."""
        return next((item for item in self.items if item.name == name), None)

    async def download(self, item: Item) -> AsyncIterator[bytes]:
        """Yield a disk as a stream-optimized VMDK, as it is read.

        Raises:
            InvalidState: the lease has ended, or the VM runs.
        """
        vm, spec = self.machine.vm, item.disk.spec
        writer = StreamOptimized(spec.capacity_bytes, item.name, hardware=vm.hardware_version)
        digest = hashlib.sha1(usedforsecurity=False)  # what manifests of OVF are made of
        pieces = [writer.begin()]
        for offset in range(0, spec.capacity_bytes, SLICE_BYTES):
            if not self.open:
                raise InvalidState(f"the lease on {vm.name}", "over", "read on")
            length = min(SLICE_BYTES, spec.capacity_bytes - offset)
            admin = self.center.hypervisor.admin
            data = await perform(self.center.env, admin.read_disk(vm, spec.key, offset, length))
            pieces.append(await asyncio.to_thread(writer.add, data))
            for piece in filter(None, pieces):
                digest.update(piece)
                yield piece
            pieces = []
        last = writer.end()
        digest.update(last)
        self._manifest[item.name] = new(
            _LEASE.ManifestEntry,
            key=item.key,
            sha1=digest.hexdigest(),
            checksum=digest.hexdigest(),
            checksumType="sha1",
            size=writer.bytes_written,
            disk=True,
            capacity=spec.capacity_bytes,
            populatedSize=writer.populated_bytes,
        )
        yield last


def _item(center: VirtualCenter, machine: MachineOperations, number: int) -> Item:
    disk = list(machine.vm.disks.values())[number]
    shown = virtual_disk(center, machine.vm, disk)
    bus = shown.controllerKey % 1000
    key = f"/{moid(machine.ref)}/ParaVirtualSCSIController{bus}:{shown.unitNumber}"
    return Item(f"disk-{number}.vmdk", key, disk)


class Leases:
    """The leases that are open."""

    def __init__(self, center: VirtualCenter) -> None:
        self._center = center
        self._open: dict[str, HttpNfcLease] = {}

    def open(self, session: Session, machine: MachineOperations) -> Any:
        """Open a lease on a VM; return its reference."""
        center = self._center
        moid = f"session[{session.id}]lease-{center.number('lease')}"
        lease = HttpNfcLease(center, moid, machine, center.secret(32))
        made = session.hold(lease)
        self._open[lease.secret] = lease
        center.env.process(lease.becoming_ready())
        return made

    def close(self, lease: HttpNfcLease) -> None:
        """Let go of a lease that is over."""
        self._open.pop(lease.secret, None)

    def of(self, machine: MachineOperations) -> HttpNfcLease | None:
        """Return the lease that holds a VM, None where none does."""
        found = [lease for lease in self._open.values() if lease.machine is machine]
        return next((lease for lease in found if lease.open), None)

    def by_secret(self, secret: str) -> HttpNfcLease | None:
        """Return an open lease by what its URLs tell of it."""
        found = self._open.get(secret)
        return found if found is not None and found.open else None

    def end(self, session: Session) -> None:
        """End the leases of a session that ends, and forget them."""
        for lease in [each for each in session.own.values() if isinstance(each, HttpNfcLease)]:
            if lease.open:
                lease.give_up("The session has ended.")
            self._center.changes.forget(lease)


async def leased_disks(center: VirtualCenter, request: Request) -> Response:
    """Answer a request for a disk of a lease."""
    if allowed(center, request) is None:
        return plain(401, "log in", ("WWW-Authenticate", 'Basic realm="vSphere"'))
    _, _, secret, *rest = [*request.path.split("/"), ""]
    lease = center.roots.leases.by_secret(secret)
    item = lease.item("/".join(rest).rstrip("/")) if lease is not None else None
    if lease is None or item is None:
        return plain(404, "there is no such disk, or its lease is over")
    if request.method not in {"GET", "HEAD"}:
        return plain(405, "a disk of a lease is read", ("Allow", "GET, HEAD"))
    kind = ("Content-Type", "application/x-vnd.vmware-streamVmdk")
    return Response(200, lease.download(item), (kind,))
