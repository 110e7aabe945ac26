"""The programs that the laboratory takes: looked for, and asked for in one line."""

from __future__ import annotations

import os
import shutil
from typing import Final

from stuntdouble.errors import Misuse
from stuntdouble.lab.lio.guest import QEMU

BOOTING: Final = {QEMU: "qemu-system-x86"}
MAKING: Final = {
    "debootstrap": "debootstrap",
    "cpio": "cpio",
    "gzip": "gzip",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "chroot": "coreutils",
}
"""What the image is made with, and Debian's packages that have it."""

_ADMINISTRATION: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on every user's PATH


def require(*, making: bool) -> None:
    """Make sure that what is needed is there; Misuse with the line that installs it."""
    wanted = BOOTING | (MAKING if making else {})
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ADMINISTRATION])
    lacking = [name for name in wanted if shutil.which(name, path=path) is None]
    if lacking:
        packages = " ".join(dict.fromkeys(wanted[name] for name in lacking))
        line = f"apt-get install --yes --no-install-recommends {packages}"
        raise Misuse("the kernel target's laboratory", f"needs {', '.join(lacking)}: sudo {line}")
