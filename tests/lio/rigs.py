"""What the contract is tried on here: loop devices, and the kernel's target as a model of it."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lio.model import lio_model
from stuntdouble.lio import (
    Initiator,
    KernelExporter,
    Limits,
    Machine,
    PathSource,
    Portal,
    Request,
    configfs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.lio import Export

PATIENCE = Limits(step_seconds=60, lock_seconds=60)
SIZE = 2 << 20


def loops_work() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


def a_file(folder: Path, name: str = "lun.raw") -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.seek(4096)
        file.write(os.urandom(100_000))
    return path


def loops_over(folder: Path) -> list[str]:
    """Return loop devices over files in a folder: others work on this machine too."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = entry.read_text().strip()
        except OSError:
            continue
        if file.startswith(str(folder)):
            found.append(f"{entry.parts[3]} {file}")
    return sorted(found)


class LoopRig:
    """Loop devices of this machine."""

    def __init__(self, folder: Path) -> None:
        self.truth = a_file(folder)
        self._folder = folder
        self._machine = Machine(state=str(folder / "state"), directory=str(folder))
        self.exporter = KernelExporter("loop", None, self._machine, PATIENCE)

    def request(self) -> Request:
        return Request(PathSource(str(self.truth)))

    @contextmanager
    def opened(self, export: Export) -> Iterator[str]:
        yield export.device

    def listing(self) -> list[str]:
        return loops_over(self._folder)

    @contextmanager
    def foreign(self) -> Iterator[None]:
        other = a_file(self._folder, "foreign.raw")
        words = ["losetup", "--find", "--show", "--read-only", str(other)]
        device = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        try:
            yield
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)


MODEL = Path(__file__).with_name("model")
HOST = "iqn.2026-11.org.example:host"
SESSION = """InitiatorName: {iqn}
InitiatorAlias: host
LIO Session ID: 1   ISID: 0x00 02 3d 00 00 00  TSIH: 1  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
---------------------[iSCSI Connections]-------------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address 192.0.2.7 TCP  StatSN: 0x00000010
"""


class ModelRig:
    """The kernel's target, as a model of it."""

    def __init__(self, kind, folder: Path, monkeypatch, **changes) -> None:
        self.truth = a_file(folder)
        self.folder = folder
        self.changes = changes
        self.model = lio_model.Model(folder / "model")
        self.model.prepare()
        path = [str(MODEL), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
        monkeypatch.setenv("LIO_MODEL", str(self.model.root))
        root = self.model.root
        self.machine = Machine(
            target=str(root / "target"),
            sys=str(root / "sys"),
            dev=str(root / "dev"),
            state=str(folder / "state"),
            directory=str(folder),
        )
        self.exporter = KernelExporter(kind, None, self.machine, PATIENCE)

    def request(self, **changes) -> Request:
        facts = {}
        if self.exporter.kind == "lio-iscsi":
            facts = {"portal": Portal("127.0.0.1"), "initiators": (Initiator(HOST),), "lun": 7}
        facts |= self.changes | changes
        return Request(facts.pop("source", PathSource(str(self.truth))), **facts)

    def group(self, export: Export) -> Path:
        return configfs.portal_group(self.machine, "iscsi", export.target)

    @contextmanager
    def opened(self, export: Export) -> Iterator[str]:
        if export.device:
            yield export.device
            return
        acl = self.group(export) / "acls" / HOST
        (acl / "info").write_text(SESSION.format(iqn=HOST))
        (link,) = (path for path in acl.glob("lun_7/*") if path.is_symlink())
        (store,) = (path for path in link.resolve().iterdir() if path.is_symlink())
        try:
            yield (store.resolve() / "udev_path").read_text().strip()
        finally:
            if acl.exists():
                (acl / "info").write_text(lio_model.NO_SESSION + HOST)

    def listing(self) -> list[str]:
        made = [*configfs.targets(self.machine), *configfs.backstores(self.machine)]
        disks = [entry.name for entry in (self.model.root / "sys/block").glob("sd*")]
        return sorted([*made, *disks, *loops_over(self.folder), *map(str, self.copies())])

    def copies(self) -> list[Path]:
        return list(self.folder.glob("stuntdouble-*"))

    @contextmanager
    def foreign(self) -> Iterator[None]:
        target = self.model.target
        store = target / "core/fileio_0/foreign"
        made = [store.parent, store, target / "iscsi/iqn.2026-11.org.example:foreign"]
        made += [made[-1] / "tpgt_1", made[-1] / "tpgt_1/lun/lun_0"]
        for path in made:
            self.model.mkdir(path)
        self.model.write(store / "control", "fd_dev_name=/dev/null")
        self.model.write(store / "enable", "1")
        self.model.symlink(store, made[-1] / "default")
        try:
            yield
        finally:
            self.model.unlink(made[-1] / "default")
            for path in reversed(made):
                self.model.rmdir(path)

    def after(self, what: str, changes: int) -> None:
        """Let whoever makes the next change but so many die or hang."""
        (self.model.root / what).write_text(str(changes))
