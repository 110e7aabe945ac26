"""What is put over the guest's root file system: this project's part of it, and who runs it.

The exporters need nothing but the standard library and rtslib, so a few packages do; those of other
floors, with what they need, stay here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.lab.lio.archive import archive

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = "lab"
"""Where it lies in the guest."""

PACKAGES: Final = tuple(
    f"stuntdouble.{name}" for name in ("errors", "units", "codecs", "ports", "initiators", "lio")
)
FOREIGN: Final = ("rtslib_fb",)
"""Libraries that go along as they are installed here, so that the guest runs what we pin."""

AGENT: Final = "stuntdouble.lab.lio.agent"

INIT: Final = f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /run
mkdir -p /var/cache /tmp /etc/target /etc/rtslib-fb-target/pr
modprobe -a virtio_pci virtio_net virtio_console virtio_rng configfs
mount -t configfs none /sys/kernel/config
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
modprobe -a sd_mod loop nbd fuse iscsi_tcp
modprobe -a target_core_mod target_core_file target_core_iblock iscsi_target_mod tcm_loop
exec python3 -u /{HOME}/agent.py
"""


def overlay() -> bytes:
    """Return the archive."""
    files = {"init": INIT.encode(), f"{HOME}/agent.py": _source(AGENT)}
    for package in PACKAGES:
        for path, data in _files(package):
            files[f"{HOME}/{path}"] = data
    for package in FOREIGN:
        if importlib.util.find_spec(package) is not None:
            for path, data in _files(package):
                files[f"{HOME}/{path}"] = data
    return archive(files, frozenset({"init"}))


def _source(module: str) -> bytes:
    found = importlib.util.find_spec(module)
    assert found is not None, module
    assert found.origin is not None, module
    return Path(found.origin).read_bytes()


def _files(package: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each source file of a package."""
    found = importlib.util.find_spec(package)
    assert found is not None, package
    for place in found.submodule_search_locations or ():
        for path in sorted(Path(place).rglob("*.py")):
            yield f"{package.replace('.', '/')}/{path.relative_to(place)}", path.read_bytes()
