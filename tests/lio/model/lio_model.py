"""The kernel's target as a model in a plain directory: what configfs does when it is changed.

After configfs(5) of Linux 6.1 as it behaves in the guest of ``make lio``, where the same contract runs:
a directory comes with its attributes; it goes with them, but not while something made is in it
(ENOTEMPTY) or points at it (EBUSY); a LUN of the loopback fabric is a disk at once.

Files beside it steer it: ``die`` and ``hang`` hold a number of changes after which whoever makes the
next one is killed, or sits in the kernel until somebody kills it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from pathlib import Path

ATTRIBUTES = (
    *("authentication", "generate_node_acls", "cache_dynamic_acls", "demo_mode_discovery"),
    *("demo_mode_write_protect", "prod_mode_write_protect", "login_timeout"),
)
NO_SESSION = "No active iSCSI Session for Initiator Endpoint: "

# What may be made, by its place; whatever else is there came with it.
MADE = re.compile(
    r"core/(?:iblock|fileio)_\d+(?:/[^/]+)?"
    r"|(?:iscsi|loopback)"
    r"|(?:iscsi|loopback)/(?:iqn|naa)[^/]+"
    r"|(?:iscsi|loopback)/(?:iqn|naa)[^/]+/tpgt_\d+"
    r"|(?:iscsi|loopback)/(?:iqn|naa)[^/]+/tpgt_\d+/(?:lun/lun_\d+|np/[^/]+|acls/[^/]+(?:/lun_\d+)?)"
)


def refuse(number: int, path) -> None:
    raise OSError(number, os.strerror(number), str(path))


class Model:
    def __init__(self, root) -> None:
        self.root = Path(root)
        self.target = self.root / "target"

    def prepare(self) -> None:
        """Make what is there when the modules have been loaded, and show this machine's loops."""
        for name in ("core/alua", "iscsi/discovery_auth", "loopback"):
            (self.target / name).mkdir(parents=True)
        (self.root / "sys/block").mkdir(parents=True)
        (self.root / "sys/module").mkdir()
        for module in ("target_core_mod", "target_core_iblock", "iscsi_target_mod", "tcm_loop"):
            (self.root / "sys/module" / module).mkdir()
        (self.root / "dev").mkdir()
        for entry in Path("/sys/block").glob("loop*"):
            (self.root / "sys/block" / entry.name).symlink_to(entry)
            (self.root / "dev" / entry.name).symlink_to(Path("/dev", entry.name))
        if Path("/dev/loop-control").exists():
            (self.root / "dev/loop-control").symlink_to("/dev/loop-control")

    def ours(self, path) -> str:
        """Return a path within the target's tree; nothing for any other."""
        try:
            return str(Path(path).absolute().relative_to(self.target))
        except ValueError:
            return ""

    def changed(self) -> None:
        """Count a change, and die or hang where that is due."""
        for name in ("die", "hang"):
            file = self.root / name
            if not file.exists():
                continue
            with file.open("r+") as opened:
                left = int(opened.read()) - 1
                opened.seek(0)
                opened.truncate()
                opened.write(str(left))
            if left < 0:
                file.unlink()
                if name == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()

    # Changes. ------------------------------------------------------------------------------

    def mkdir(self, path) -> None:
        name = self.ours(path)
        if not MADE.fullmatch(name):
            refuse(errno.EPERM, path)
        self.changed()
        real_mkdir(Path(path))
        for file, text in self.content(name).items():
            place = Path(path, file)
            place.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                place.mkdir(exist_ok=True)
            else:
                place.write_text(text)

    def content(self, name: str) -> dict[str, str | None]:
        parts = name.split("/")
        match parts:
            case ["core", _]:
                return {"hba_info": "", "hba_mode": "0"}
            case ["core", _, _]:
                attributes = {"emulate_tpu": "0", "emulate_write_cache": "0", "alua_support": "1"}
                return {
                    **{f"attrib/{key}": value for key, value in attributes.items()},
                    "alua/default_tg_pt_gp": None,
                    "pr": None,
                    "control": "",
                    "enable": "0",
                    "info": "Status: DEACTIVATED",
                    "udev_path": "",
                    "wwn/vpd_unit_serial": "T10 VPD Unit Serial Number: ",
                    "wwn/company_id": "0x001405",
                }
            case ["iscsi", _, _]:
                return {
                    **{f"attrib/{key}": "0" for key in ATTRIBUTES},
                    "attrib/authentication": "1",
                    "acls": None,
                    "lun": None,
                    "np": None,
                    "param": None,
                    "auth": None,
                    "enable": "0",
                }
            case ["loopback", _, _]:
                return {"acls": None, "lun": None, "np": None, "nexus": "", "address": "0:0:1"}
            case [_, _, _, "acls", iqn]:
                secrets = ("userid", "password", "userid_mutual", "password_mutual")
                return {**{f"auth/{key}": "" for key in secrets}, "info": NO_SESSION + iqn}
            case [_, _, _, "acls", _, _]:
                return {"write_protect": "0"}
            case [_, _, _, "lun", _]:
                return {"alua_tg_pt_gp": "TG Port Alias: default_tg_pt_gp"}
        return {}

    def rmdir(self, path) -> None:
        name = self.ours(path)
        if not Path(path).is_dir():
            refuse(errno.ENOENT, path)
        if not MADE.fullmatch(name):
            refuse(errno.EPERM, path)
        for inner in Path(path).rglob("*"):
            if inner.is_symlink() or (inner.is_dir() and MADE.fullmatch(self.ours(inner))):
                refuse(errno.ENOTEMPTY, path)
        for link in self.target.rglob("*"):
            if link.is_symlink() and link.resolve() == Path(path).resolve():
                refuse(errno.EBUSY, path)
        self.changed()
        shutil.rmtree(path)

    def symlink(self, source, path) -> None:
        parts = self.ours(path).split("/")
        if parts[3] == "lun" and Path(source, "enable").read_text().strip() != "1":
            refuse(errno.ENODEV, path)
        self.changed()
        real_symlink(source, path)
        if parts[0] == "loopback":
            self.add_disk(Path(source))

    def unlink(self, path) -> None:
        if not Path(path).is_symlink():
            refuse(errno.EPERM, path)
        self.changed()
        back_end = Path(path).resolve()
        real_unlink(path)
        if self.ours(path).startswith("loopback"):
            self.remove_disk(back_end)

    def write(self, path, text: str) -> None:
        parts = self.ours(path).split("/")
        if not Path(path).is_file():
            refuse(errno.EACCES, path)
        self.changed()
        match parts:
            case ["core", _, _, "control"]:
                text = Path(path).read_text() + text.strip() + ","
            case ["core", _, _, "enable"] if "=" not in Path(path).with_name("control").read_text():
                refuse(errno.EINVAL, path)
            case ["core", _, _, "wwn", "vpd_unit_serial"]:
                text = f"T10 VPD Unit Serial Number: {text.strip()}"
            case ["iscsi", _, _, "enable"] if text.strip() == "0":
                for info in Path(path).parent.glob("acls/*/info"):
                    real_write(info, NO_SESSION + info.parent.name)
        real_write(path, text)

    # Disks of the loopback fabric. ---------------------------------------------------------

    def naa(self, back_end: Path) -> str:
        serial = (back_end / "wwn/vpd_unit_serial").read_text().rpartition(":")[2].strip()
        company = (back_end / "wwn/company_id").read_text().strip().removeprefix("0x")
        return f"naa.6{company:0>6}{serial}"

    def add_disk(self, back_end: Path) -> None:
        taken = {entry.name for entry in (self.root / "sys/block").glob("sd*")}
        name = next(f"sd{letter}" for letter in "abcdefgh" if f"sd{letter}" not in taken)
        place = self.root / "sys/devices/tcm_loop_0/tcm_loop_adapter_0" / name / "block" / name
        (place / "device").mkdir(parents=True)
        real_write(place / "device/wwid", self.naa(back_end) + "\n")
        real_symlink(place, self.root / "sys/block" / name)
        backing = (back_end / "udev_path").read_text().strip()
        real_symlink(backing, self.root / "dev" / name)

    def remove_disk(self, back_end: Path) -> None:
        for entry in (self.root / "sys/block").glob("sd*"):
            if (entry / "device/wwid").read_text().strip() == self.naa(back_end):
                real_unlink(self.root / "dev" / entry.name)
                shutil.rmtree(entry.resolve())
                real_unlink(entry)


real_mkdir, real_rmdir, real_write = Path.mkdir, os.rmdir, Path.write_text
real_symlink, real_unlink = os.symlink, os.unlink


def install(root) -> None:
    """Let changes of the tree go to the model, in this process."""
    model = Model(root)

    def mkdir(self, mode=0o777, parents=False, exist_ok=False):
        if not model.ours(self):
            return real_mkdir(self, mode, parents, exist_ok)
        if exist_ok and self.is_dir():
            return None
        restore()
        try:
            return model.mkdir(self)
        finally:
            patch()

    def write_text(self, text, *args, **kwargs):
        if model.ours(self):
            return model.write(self, text)
        return real_write(self, text, *args, **kwargs)

    def symlink(source, path, *args, **kwargs):
        if model.ours(path):
            return model.symlink(source, path)
        return real_symlink(source, path, *args, **kwargs)

    def unlink(self, missing_ok=False):
        if model.ours(self):
            return model.unlink(self)
        try:
            return real_unlink(self)
        except FileNotFoundError:
            if not missing_ok:
                raise
            return None

    def rmdir(path, *args, **kwargs):
        if not model.ours(path):
            return real_rmdir(path, *args, **kwargs)
        restore()
        try:
            return model.rmdir(path)
        finally:
            patch()

    def restore() -> None:
        Path.mkdir, Path.write_text, os.rmdir = real_mkdir, real_write, real_rmdir

    def patch() -> None:
        Path.mkdir, Path.write_text, os.rmdir = mkdir, write_text, rmdir

    os.symlink, Path.unlink = symlink, unlink
    patch()

    import rtslib_fb.fabric
    import rtslib_fb.root

    rtslib_fb.root.mount_configfs = lambda: None
    rtslib_fb.root.modprobe = rtslib_fb.fabric.modprobe = lambda _module: None
