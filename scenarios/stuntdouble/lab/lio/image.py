"""The guest's root file system and kernel: Debian's, made once, and kept.

They are kept under the user's cache directory, by what they are made of; a recipe that changes makes
another.  Making them takes root and a mirror; booting what is kept takes neither.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Error, Misuse
from stuntdouble.lab.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable

_BUILD_SECONDS_MAX: Final = 1200.0
"""For fetching and unpacking 300 MB: half a minute from a near mirror, minutes from a far one."""

_STEP_SECONDS_MAX: Final = 300.0  # for each of the other steps, of seconds each

_KEPT: Final = ("vmlinuz", "initrd.gz")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the guest is made of.

    Args:
        suite: of Debian.
        mirror: where from.
        packages: beside the smallest system.
        kernel: the package that depends on the kernel's.
        modules: directories of the kernel's modules that are taken; what others need is in them.
        dropped: what nothing in the guest reads.
    """

    suite: str = "bookworm"
    mirror: str = "http://deb.debian.org/debian"
    packages: tuple[str, ...] = (
        "python3",
        "python3-pyudev",
        "targetcli-fb",
        "dbus",
        "kmod",
        "iproute2",
        "open-iscsi",
    )
    kernel: str = "linux-image-cloud-amd64"
    modules: tuple[str, ...] = (
        *("arch", "crypto", "lib", "fs/configfs", "fs/fuse", "fs/nls", "net/core"),
        *("drivers/target", "drivers/scsi", "drivers/block", "drivers/virtio"),
        *("drivers/char", "drivers/net", "drivers/infiniband/core"),
    )
    dropped: tuple[str, ...] = (
        *("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/info"),
        *("usr/share/zoneinfo", "usr/share/perl", "usr/share/perl5", "usr/lib/udev/hwdb.bin"),
        *("usr/lib/udev/hwdb.d", "usr/lib/x86_64-linux-gnu/perl", "var/cache", "var/lib/apt"),
        *("var/lib/dpkg/info", "usr/lib/x86_64-linux-gnu/perl-base", "boot"),
    )

    @property
    def key(self) -> str:
        """The name under which what is made of it is kept."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Image:
    """What a guest boots: a kernel, and a root file system as an archive."""

    kernel: Path
    root: Path


def cache() -> Path:
    """Return where images are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "stuntdouble", "lio-lab")


def is_kept(recipe: Recipe, home: Path) -> bool:
    """Say whether a recipe's image is there."""
    return all((home / recipe.key / name).is_file() for name in _KEPT)


async def image(recipe: Recipe, home: Path, tell: Callable[[str], object]) -> Image:
    """Return the image of a recipe; it is made if it is not kept.

    Raises:
        Misuse: it cannot be made by us, or here.
    """
    folder = home / recipe.key
    made = Image(folder / "vmlinuz", folder / "initrd.gz")
    if is_kept(recipe, home):
        return made
    if os.geteuid() != 0:
        raise Misuse("the guest's image", f"is not in {folder}, and only root can make it")
    tell(f"making the guest's image ({recipe.suite}, about two minutes; kept in {folder})")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        await _make(recipe, partial)
        for left in partial.glob("*.out"):
            left.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except Error as error:
        raise Misuse("the guest's image", f"cannot be made: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return made


async def _make(recipe: Recipe, folder: Path) -> None:
    root = folder / "root"
    included = ",".join(recipe.packages)
    await run(
        *("debootstrap", "--variant=minbase", f"--include={included}"),
        *(recipe.suite, str(root), recipe.mirror),
        directory=folder,
        seconds=_BUILD_SECONDS_MAX,
    )
    version = await _kernel(recipe, folder, root)
    for name in recipe.dropped:
        path = root / name
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
    await run("depmod", "-b", str(root), version, directory=folder, seconds=_STEP_SECONDS_MAX)
    # The shell is for the pipe: pipefail makes a half archive a failure.
    line = "find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet | gzip -1"
    script = f"set -o pipefail; cd root && {line} > ../initrd.gz"
    await run("bash", "-c", script, directory=folder, seconds=_STEP_SECONDS_MAX)
    shutil.rmtree(root)


async def _kernel(recipe: Recipe, folder: Path, root: Path) -> str:
    """Fetch the kernel by the guest's own package manager; unpack it; return its version."""

    async def apt(*words: str) -> str:
        command = ("chroot", str(root), "sh", "-c", " ".join(words))
        return await run(*command, directory=folder, seconds=_STEP_SECONDS_MAX)

    await apt("apt-get", "-qq", "update")
    said = await apt("apt-cache", "depends", recipe.kernel)
    names = [line.split()[1] for line in said.splitlines() if "Depends: linux-image" in line]
    if not names:
        raise Misuse("the guest's kernel", f"{recipe.kernel} depends on none in {recipe.suite}")
    await apt("cd", "/var/cache", "&&", "apt-get", "-qq", "download", names[0])
    package = next((root / "var/cache").glob("linux-image-*.deb"))
    unpacked = folder / "kernel"
    words = ("dpkg-deb", "--extract", str(package), str(unpacked))
    await run(*words, directory=folder, seconds=_STEP_SECONDS_MAX)
    kernel = next((unpacked / "boot").glob("vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    shutil.copy(kernel, folder / "vmlinuz")
    _take_modules(recipe, unpacked / "lib/modules" / version, root / "lib/modules" / version)
    shutil.rmtree(unpacked)
    return version


def _take_modules(recipe: Recipe, given: Path, taken: Path) -> None:
    for name in recipe.modules:
        if (given / "kernel" / name).is_dir():
            shutil.copytree(given / "kernel" / name, taken / "kernel" / name)
    for path in given.glob("modules.*"):
        shutil.copy(path, taken / path.name)
