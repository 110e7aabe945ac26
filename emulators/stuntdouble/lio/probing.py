"""Which exporters work on this machine, and why the others do not: looked at, not tried."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Unsupported
from stuntdouble.lio import attaching, backstores, fuses
from stuntdouble.lio.machine import Machine

if TYPE_CHECKING:
    from stuntdouble.lio.planning import Kind

EXPORTERS: Final[dict[Kind, tuple[str, ...]]] = {
    "lio-iscsi": ("target_core_mod", "target_core_iblock", "iscsi_target_mod"),
    "lio-loopback": ("target_core_mod", "target_core_iblock", "tcm_loop"),
    "loop": ("loop",),
}
"""Each exporter, and the modules of the kernel that it takes."""

_ROOT_NEEDED: Final = "for root only"


@dataclass(frozen=True, slots=True)
class Finding:
    """An exporter, or a way to an NBD export, and whether it works here.

    Args:
        name: its name.
        works: whether it does.
        why: what is missing, and what to do, in one line; empty where it works.
    """

    name: str
    works: bool
    why: str = ""


def probe(machine: Machine | None = None) -> list[Finding]:
    """Say of each exporter and each way to an NBD export whether it works here."""
    there = machine or Machine()
    reasons = {
        "lio-iscsi": _lio(there, "lio-iscsi"),
        "lio-loopback": _lio(there, "lio-loopback"),
        "loop": _loop(there),
        "nbd": attaching.lacking(there),
        "fuse": fuses.lacking(there),
        "copy": "" if os.access(there.directory, os.W_OK) else f"{there.directory} is not writable",
    }
    return [Finding(name, not why, why) for name, why in reasons.items()]


def _lio(machine: Machine, kind: Kind) -> str:
    absent = [name for name in EXPORTERS[kind] if not _has(machine, name)]
    if absent and not Path(machine.target).is_dir():
        text = f"this kernel ({platform.release()}) has no {', '.join(absent)}"
        return f"{text}: take one that has them, as Debian's, or another exporter"
    if why := backstores.lacking(machine):
        return why
    try:
        backstores.library()
    except Unsupported as error:
        return str(error.args[1])
    return _root(machine)


def _loop(machine: Machine) -> str:
    control = Path(machine.dev, "loop-control")
    if not control.exists():
        return f"no {control}: as root, modprobe loop"
    return _root(machine) if os.access(control, os.R_OK | os.W_OK) else _ROOT_NEEDED


def _root(machine: Machine) -> str:
    """Say whether we may note down what we do; as root we may do it too."""
    path = Path(machine.state)
    there = next(part for part in (path, *path.parents) if part.exists())
    return "" if os.access(there, os.W_OK) else _ROOT_NEEDED


def _has(machine: Machine, module: str) -> bool:
    """Say whether the kernel has a module: loaded, built in, or on the disk."""
    if Path(machine.sys, "module", module).exists():
        return True
    lists = Path("/lib/modules", platform.release())
    texts = [_text(lists / name) for name in ("modules.builtin", "modules.dep")]
    return any(f"/{module}.ko" in text for text in texts)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
