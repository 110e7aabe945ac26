"""The site in front of which the guest's target stands: served here, in a process of its own.

Its LUNs come over NBD: the guest attaches them, and exports them by our exporters.  What the backup
server reads of them goes through both.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from stuntdouble.backup import Method, run_recorded
from stuntdouble.backup.catalog import Catalog
from stuntdouble.backup.repository import Repository
from stuntdouble.errors import TimedOut
from stuntdouble.initiators.iscsi import IscsiInitiator
from stuntdouble.lab.lio.guest import ADDRESS, HOST, PORTS
from stuntdouble.lab.processes import running
from stuntdouble.ports import Kind
from stuntdouble.scenarios import load
from stuntdouble.scenarios.build import BACKUP_IQN, HOST_IQN
from stuntdouble.scenarios.job import job_of
from stuntdouble.scenarios.remote.site import RemoteSite
from stuntdouble.scenarios.remote.target import target_of
from stuntdouble.scenarios.remote.verifying import holds_the_truth
from stuntdouble.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stuntdouble.extents import Runs
    from stuntdouble.lab.lio.guest import Guest
    from stuntdouble.ports import BlockDevice, Mapping, Span, Throttle
    from stuntdouble.scenarios.spec import Scenario

SCENARIO: Final = """
name = "lio-lab"
title = "A VM on a LUN that a real kernel's target exports"
[[arrays]]
name = "array-1"
pools = [{ name = "pool-1", media = "flash", raid = "raid10", disks = 4, disk_size = "1 GiB", reserve = "64 MiB" }]
volumes = [{ name = "vol-1", pool = "pool-1", size = "96 MiB" }]
[[datastores]]
name = "ds-1"
volumes = ["vol-1"]
fragmentation = 0.5
[[vms]]
name = "vm-1"
disks = [{ datastore = "ds-1", size = "48 MiB", written = "32 MiB" }]
load = { iops = 20, reads = 0.4, io = "4 KiB", working_set = "32 MiB" }
[backup]
runs = ["full"]
throttle = { depth = 8, block = "256 KiB" }
[times]
before = 1
between = 1
after = 1
"""
"""Small, since all of it is read under emulation, several times; scattered, so that a disk is many
extents of its LUN; and written to all the time."""

_READY_SECONDS_MAX: Final = 300.0
"""Until the site is served: seconds, but for a machine that compiles the I/O core first."""


class Site:
    """A served site, and the way of its LUNs through the guest.

    Args:
        remote: the site as a backup server reaches it.
        scenario: what is served.
        nbd: its NBD endpoint, by URL.
        guest: which exports.
    """

    def __init__(self, remote: RemoteSite, scenario: Scenario, nbd: str, guest: Guest) -> None:
        self.remote = remote
        self.scenario = scenario
        self._nbd_port = urlsplit(nbd).port
        self.guest = guest

    def uri(self, naa: str) -> str:
        """Return where a LUN is, as the guest reaches it."""
        return f"nbd://{HOST}:{self._nbd_port}/lun/{naa}"

    def request(self, mapping: Mapping, **changes: Any) -> dict[str, Any]:
        """Return a request for the iSCSI export of a LUN to the backup server."""
        return {
            "source": self.uri(mapping.naa),
            "lun": mapping.lun,
            "portal": [ADDRESS, PORTS[0]],
            "initiators": [[BACKUP_IQN, None]],
            **changes,
        }

    async def promoted(self, name: str) -> Mapping:
        """Snapshot the volume, promote and map the snapshot; return the mapping."""
        array = self.remote.array
        volume = next(each for each in await array.volumes() if not each.promoted_from)
        (snapshot,) = await array.create_snapshots((volume.naa,), name)
        made = await array.promote(snapshot.name, f"{name}-copy")
        return await array.map_volume(made.name, BACKUP_IQN)

    async def forget(self, mapping: Mapping) -> None:
        """Take back what ``promoted`` has made."""
        array = self.remote.array
        snapshot = next(
            each.promoted_from for each in await array.volumes() if each.name == mapping.volume
        )
        await array.unmap_volume(mapping.volume, BACKUP_IQN)
        await array.delete_volume(mapping.volume)
        await array.delete_snapshot(snapshot)

    async def back_up(self, folder: Path) -> tuple[int, bool]:
        """Back the VM up by its array snapshot; return bytes read, and whether the point is right.

        The promoted LUN comes by the guest's target.

        Raises:
            Error: what the job failed with.
        """
        initiator = LabInitiator(self)
        spec = job_of(self.scenario, Method.STORAGE, Kind.FULL)
        with Repository.open(folder, durable=False) as repository:
            report = await run_recorded(
                Catalog.open(open_store(), asyncio.get_running_loop().time()),
                "lio-lab",
                spec,
                hypervisor=self.remote.hypervisor,
                repository=repository,
                array=self.remote.array,
                initiator=initiator,
                host_iqn=HOST_IQN,
            )
            (outcome,) = report.vms
            if outcome.point is None:
                return report.bytes_read, False
            point = repository.point(outcome.point.id)
            snapshot = self.remote.hypervisor.taken[point.vm, point.moment]
            right = await holds_the_truth(repository, point, snapshot, self.remote.native)
            return report.bytes_read, right and initiator.attached > 0


class LabInitiator:
    """Implements ``ports.Initiator``: a LUN is exported by the guest, and read by our initiator.

    Attributes:
        attached: how many LUNs it has opened.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.attached = 0

    @property
    def iqn(self) -> str:
        """The name by which the array masks, and by which the guest's target does."""
        return BACKUP_IQN

    async def attach(self, mapping: Mapping) -> BlockDevice:
        """Let the guest export the LUN, and open it."""
        guest = self._site.guest
        facts = {"kind": "lio-iscsi", "request": self._site.request(mapping)}
        export = await guest.call("export", facts)
        try:
            device = await opened(guest, export, mapping)
        except BaseException:
            await guest.call("unexport", {"number": export["id"], "force": True})
            raise
        self.attached += 1
        return _Exported(device, guest, export["id"])


async def opened(guest: Guest, export: dict[str, Any], mapping: Mapping, **how: Any) -> BlockDevice:
    """Open an export of the guest by our initiator, on the port that leads there."""
    portal = f"127.0.0.1:{guest.ports[PORTS[0]]}"
    facts = {"target": export["target"], **how}
    initiator = IscsiInitiator(portal, mapping.initiator_iqn, **facts)
    return await initiator.attach(replace(mapping, naa=export["naa"], lun=export["lun"]))


class _Exported:
    """A device whose export ends with it."""

    def __init__(self, device: BlockDevice, guest: Guest, number: str) -> None:
        self._device, self._guest, self._number = device, guest, number
        self.identity, self.size_bytes = device.identity, device.size_bytes

    def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs*; see ``ports.BlockDevice``."""
        return self._device.read(runs, throttle)

    async def write(self, offset: int, data: memoryview) -> None:
        """Write; see ``ports.BlockDevice``."""
        await self._device.write(offset, data)

    async def close(self) -> None:
        """Log out, and end the export; idempotent."""
        if self._number:
            number, self._number = self._number, ""
            await self._device.close()
            await self._guest.call("unexport", {"number": number})


@asynccontextmanager
async def served(folder: Path, guest: Guest) -> AsyncIterator[Site]:
    """Serve the site until the block ends.

    Raises:
        ProgramError: it ends before.
        TimedOut: it does not begin.
    """
    file, ready = folder / "lio-lab.toml", folder / "ready.json"
    file.write_text(SCENARIO, "utf-8")
    password = secrets.token_urlsafe(12)
    endpoints = [word for name in ("vsphere", "native", "nbd") for word in (f"--{name}", ":0")]
    words = (
        sys.executable,
        "-m",
        "stuntdouble.cli",
        "serve",
        str(file),
        *endpoints,
        "--plain-http",
    )
    options = ("--password", password, "--ready-file", str(ready), "--quiet")
    async with running(*words, *options, directory=folder) as program:
        for _ in range(round(_READY_SECONDS_MAX * 10)):
            if ready.exists():
                break
            if program.process.returncode is not None:
                raise program.failure()
            await asyncio.sleep(0.1)
        else:
            raise TimedOut("the served site", f"{_READY_SECONDS_MAX:g}")
        told = json.loads(ready.read_text("utf-8"))["endpoints"]
        url = told["vsphere"]["url"]
        target = target_of(url, user="admin", password=password, fingerprint=None, insecure=False)
        scenario = load(str(file))
        async with await RemoteSite.reach(target, scenario) as remote:
            yield Site(remote, scenario, told["nbd"]["url"], guest)
