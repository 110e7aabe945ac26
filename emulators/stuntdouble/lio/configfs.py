"""The kernel target's configuration as a tree of directories: looked at, and taken away.

A directory goes when whoever made it removes it, and the kernel refuses while it has something
below it that was made too, or while something points at it.  So we remove by hand exactly what is
ours, from above to below; a library's recursive delete would take away what others have added::

    iscsi/<target>/tpgt_1/acls/<initiator>/lun_7/default   ─▶ ../../lun/lun_0
                         /lun/lun_0/default                ─▶ core/iblock_<n>/<mark>
                         /np/<address>:<port>
    loopback/<naa>/tpgt_1/lun/lun_0/default                ─▶ core/iblock_<n>/<mark>
    core/iblock_<n>/<mark>
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import InvalidState
from stuntdouble.lio.requests import Session
from stuntdouble.lio.work import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.lio.machine import Machine

FABRICS: Final = ("iscsi", "loopback")

_NO_TARGETS: Final = {"discovery_auth"}  # directories of a fabric that are no target
_PORTAL_GROUP: Final = "tpgt_1"


def portal_group(machine: Machine, fabric: str, target: str) -> Path:
    """Return where a target's only portal group is."""
    return Path(machine.target, fabric, target, _PORTAL_GROUP)


def targets(machine: Machine) -> list[str]:
    """Return every target, ours or not, as ``fabric/name``."""
    return [
        f"{fabric}/{entry.name}"
        for fabric in FABRICS
        for entry in _folders(Path(machine.target, fabric))
        if entry.name not in _NO_TARGETS
    ]


def backstores(machine: Machine) -> list[str]:
    """Return every back end, ours or not, as ``plugin_<n>/name``; one without a name is half made."""
    return [
        f"{host.name}/{name}"
        for host in _hosts(machine)
        for name in [entry.name for entry in _folders(host)] or [""]
    ]


def backstore(machine: Machine, name: str) -> Path | None:
    """Return where the back end of a name is; None where there is none."""
    found = (host / name for host in _hosts(machine) if (host / name).is_dir())
    return next(found, None)


def _hosts(machine: Machine) -> list[Path]:
    """Return the directories above back ends."""
    return [entry for entry in _folders(Path(machine.target, "core")) if entry.name != "alua"]


def sessions(machine: Machine, target: str) -> Iterator[Session]:
    """Yield who is logged in to an iSCSI target: each initiator, and from where."""
    for acl in _folders(portal_group(machine, "iscsi", target) / "acls"):
        try:
            lines = (acl / "info").read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        if lines and not lines[0].startswith("No active"):
            found = [line.split()[1] for line in lines if line.strip().startswith("Address ")]
            yield Session(acl.name, ", ".join(found))


def users_of(machine: Machine, name: str) -> list[str]:
    """Return the LUNs that show a back end, as ``fabric/target``."""
    wanted = backstore(machine, name)
    return [
        target
        for target in targets(machine)
        for link in Path(machine.target, target).glob("tpgt_*/lun/lun_*/*")
        if link.is_symlink() and wanted is not None and link.resolve() == wanted.resolve()
    ]


def remove_target(machine: Machine, fabric: str, name: str) -> None:
    """Take a target away, with all that is in it; idempotent.

    Raises:
        KernelError: it does not let go of something.
    """
    top = Path(machine.target, fabric, name)
    for group in _folders(top, "tpgt_"):
        _switch_off(group)
        for acl in _folders(group / "acls"):
            for lun in _folders(acl, "lun_"):
                _unlink(lun)
                _remove(lun)
            _remove(acl)
        for lun in _folders(group / "lun", "lun_"):
            _unlink(lun)
            _remove(lun)
        for portal in _folders(group / "np"):
            _remove(portal)
        _remove(group)
    _remove(top)


def _switch_off(group: Path) -> None:
    """Let nobody in any more; the kernel ends the sessions that there are."""
    enable = group / "enable"
    try:
        if enable.exists() and enable.read_text("utf-8").strip() != "0":
            enable.write_text("0", "utf-8")
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError(f"disable {group}", error.strerror) from None


def remove_backstore(machine: Machine, host: str, name: str) -> None:
    """Take a back end away, and the directory above it, which holds nothing else; idempotent.

    Args:
        machine: where.
        host: the name of the directory above: plugin and number.
        name: the back end's.

    Raises:
        InvalidState: somebody else shows it to initiators, which is not ours to end.
        KernelError: the kernel does not let go of it.
    """
    if users := users_of(machine, name):
        raise InvalidState(f"back end {name}", f"used by {', '.join(users)}", "remove it")
    top = Path(machine.target, "core", host)
    for group in _folders(top / name / "alua"):
        if group.name != "default_tg_pt_gp":  # made and kept by the kernel
            _remove(group)
    _remove(top / name)
    _remove(top)


def _folders(path: Path, begin: str = "") -> list[Path]:
    if not path.is_dir():
        return []
    found = sorted(entry for entry in path.iterdir() if entry.name.startswith(begin))
    return [entry for entry in found if entry.is_dir() and not entry.is_symlink()]


def _unlink(lun: Path) -> None:
    for entry in lun.iterdir():
        if entry.is_symlink():
            try:
                entry.unlink()
            except OSError as error:
                raise KernelError(f"unlink {entry}", error.strerror) from None


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        try:
            os.rmdir(path)  # noqa: PTH106  (configfs: what looks full may go, as the kernel says)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise KernelError(f"remove {path}", error.strerror) from None
