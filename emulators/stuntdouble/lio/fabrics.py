"""The steps ``iscsi`` and ``loopback``: a back end as a LUN, to initiators or to this machine.

A target of its own for each export, with one portal group and one LUN, number 0 in there; an
initiator sees it under the number that its mapping says.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from stuntdouble.errors import InvalidState, LunInUse, Misuse
from stuntdouble.lio import configfs, devices
from stuntdouble.lio.backstores import NAA_PREFIX, library, told
from stuntdouble.lio.requests import Portal, Session
from stuntdouble.lio.work import Made, wait_for

if TYPE_CHECKING:
    from stuntdouble.lio.requests import Chap
    from stuntdouble.lio.work import Work

CLOSED: Final = {
    "generate_node_acls": 0,
    "cache_dynamic_acls": 0,
    "demo_mode_discovery": 0,
    "demo_mode_write_protect": 1,
}
"""Attributes of a portal group that nobody is let into, or told of, but whom we name."""

_APPEARS_SECONDS: Final = 20.0  # a device is there within 0.1 s, under emulation within one


@dataclass(frozen=True)
class IscsiStep:
    """A LUN of an iSCSI target.

    Args:
        target: its name.
        lun: the number by which initiators address it.
        host: where the target listens.
        port: at which port.
        initiators: who may log in.
        chap: whether they must prove who they are.
        read_only: whether their mapping is write-protected.
    """

    kind: ClassVar[str] = "iscsi"
    target: str
    lun: int
    host: str
    port: int
    initiators: tuple[str, ...]
    chap: bool
    read_only: bool

    @property
    def _portal(self) -> Portal:
        return Portal(self.host, self.port)

    def attributes(self) -> dict[str, int]:
        """Return the attributes of the portal group."""
        protect = {"prod_mode_write_protect": int(self.read_only)}
        return {"authentication": int(self.chap), **CLOSED, **protect}

    def check(self, work: Work) -> None:
        """Look for a target of the name, and for the portal's address on this machine."""
        _check_free(work, "iscsi", self.target)
        _check_local(self.host)

    def do(self, work: Work, below: Made) -> Made:
        """Make the target; it is enabled last."""
        rtslib = library(work.machine)
        with told(f"make iSCSI target {self.target} at {self._portal}"):
            target = rtslib.Target(rtslib.FabricModule("iscsi"), self.target, "create")
            group = rtslib.TPG(target, 1)
            for name, value in self.attributes().items():
                group.set_attribute(name, value)
            lun = rtslib.LUN(group, 0, rtslib.tcm.StorageObject.so_from_path(below.path))
            for name in self.initiators:
                acl = rtslib.NodeACL(group, name, "create")
                _authenticate(acl, work.secrets.get(name))
                rtslib.MappedLUN(acl, self.lun, lun, write_protect=self.read_only)
            rtslib.NetworkPortal(group, self._portal.bracketed, self.port)
            group.enable = True
        return Made("", below.naa)

    def undo(self, work: Work) -> None:
        """Take the target away."""
        configfs.remove_target(work.machine, "iscsi", self.target)

    def users(self, work: Work) -> list[Session]:
        """Return who is logged in."""
        return list(configfs.sessions(work.machine, self.target))

    def words(self) -> str:
        """Say what it is."""
        return f"iSCSI target {self.target} at {self._portal}"


@dataclass(frozen=True)
class LoopbackStep:
    """A LUN of the loopback fabric, which is a SCSI disk of this machine.

    The fabric knows no initiators, so there is no masking: whoever is on this machine sees it.

    Args:
        target: its name, ``naa.5`` and 15 more digits.
        lun: the number of the LUN, which is part of the disk's address.
    """

    kind: ClassVar[str] = "loopback"
    target: str
    lun: int

    def check(self, work: Work) -> None:
        """Look for a target of the name."""
        _check_free(work, "loopback", self.target)

    def do(self, work: Work, below: Made) -> Made:
        """Make the target, and find the disk that comes of it."""
        machine = work.machine
        if devices.by_wwn(machine, below.naa, devices.LOOPBACK):
            raise LunInUse(f"with identifier {below.naa}", "this machine's loopback fabric")
        rtslib = library(machine)
        with told(f"make loopback target {self.target}"):
            target = rtslib.Target(rtslib.FabricModule("loopback"), self.target, "create")
            group = rtslib.TPG(target, 1)
            rtslib.LUN(group, self.lun, rtslib.tcm.StorageObject.so_from_path(below.path))

        def there() -> bool:
            names = devices.by_wwn(machine, below.naa, devices.LOOPBACK)
            return any(Path(machine.dev, name).exists() for name in names)

        wait_for(f"a disk with identifier {below.naa}", there, _APPEARS_SECONDS)
        names = devices.by_wwn(machine, below.naa, devices.LOOPBACK)
        return Made(str(Path(machine.dev, names[0])), below.naa)

    def undo(self, work: Work) -> None:
        """Take the target away, and with it the disk."""
        configfs.remove_target(work.machine, "loopback", self.target)

    def users(self, work: Work) -> list[Session]:
        """Return the processes that have the disk open."""
        group = configfs.portal_group(work.machine, "loopback", self.target)
        naas = {_naa(link) for link in group.glob("lun/lun_*/*") if link.is_symlink()}
        names = [
            name
            for naa in sorted(naas)
            for name in devices.by_wwn(work.machine, naa, devices.LOOPBACK)
        ]
        paths = [str(Path(work.machine.dev, name)) for name in names]
        return [Session(who, path) for path in paths for who in devices.users(work.machine, path)]

    def words(self) -> str:
        """Say what it is."""
        return f"loopback target {self.target}"


def _check_free(work: Work, fabric: str, target: str) -> None:
    if Path(work.machine.target, fabric, target).exists():
        raise InvalidState(f"target {target}", "there already", "make it")


def _check_local(host: str) -> None:
    """Make sure that an address is this machine's: the kernel's target listens at any, in silence.

    Raises:
        Misuse: it is another machine's, or none.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        family, kind, protocol, _, place = found[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.bind(place)
    except OSError as error:
        text = f"{host} is no address of this machine ({error.strerror or error})"
        raise Misuse("portal", text) from None


def _authenticate(acl: Any, chap: Chap | None) -> None:
    if chap is None:
        return
    acl.chap_userid, acl.chap_password = chap.user, chap.secret
    acl.chap_mutual_userid, acl.chap_mutual_password = chap.mutual_user, chap.mutual_secret


def _naa(back_end: Path) -> str:
    """Return the identifier of a back end: as we have given it."""
    file = back_end / "wwn" / "company_id"
    known = file.read_text("utf-8").strip() if file.exists() else NAA_PREFIX[1:]
    company = known.removeprefix("0x")
    serial = (back_end / "wwn" / "vpd_unit_serial").read_text("utf-8").rpartition(":")[2].strip()
    return f"6{company:0>6}{serial}"
