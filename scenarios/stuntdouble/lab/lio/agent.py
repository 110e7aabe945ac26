"""What runs in the guest: it does what the host says, by the exporters, and tells how it went.

It is a program, not a module of anything there: the standard library, rtslib, the exporters and the
backup server's way to local disks are all that it needs.  A call is a function below whose name begins with ``call_``.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import subprocess
import sys
import traceback
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Error, NotFound
from stuntdouble.initiators import KernelInitiator, LocalInitiator
from stuntdouble.initiators.wwn import disk_of
from stuntdouble.lio import (
    Chap,
    Initiator,
    KernelError,
    KernelExporter,
    Limits,
    Machine,
    PathSource,
    Portal,
    Request,
    commands,
    configfs,
    contract,
    plan,
    probe,
    recover,
    source,
)
from stuntdouble.ports import Mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stuntdouble.lio import Export, Kind

PORTS: Final = Path("/sys/class/virtio-ports")
SELF: Final = "iqn.2026-11.org.example:guest"
ADDRESS: Final = "127.0.0.1"

TRUTH: Final = Path("/var/cache/truth")
_TRUTH_BYTES: Final = 8 << 20  # read whole by most checks, under emulation

MACHINE: Final = Machine(directory="/var/cache")
LIMITS: Final = Limits(step_seconds=90, lock_seconds=120)
"""A program takes ten times as long to start here as elsewhere."""

_PROGRAM_SECONDS: Final = 60.0


def run(*words: str) -> str:
    """Run a program, and return what it says; its last words are the error."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(  # noqa: S603  (words of the host's, which owns us)
        words, capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=False, env=plain
    )
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines()
        raise OSError(ended.returncode, f"{words[0]}: {said[-1] if said else 'no word'}")
    return ended.stdout


def _truth() -> Path:
    """Return a file to export: half of it noise, half of it zeros."""
    if not TRUTH.exists():
        half = _TRUTH_BYTES // 2
        TRUTH.write_bytes(os.urandom(half) + bytes(half))
    return TRUTH


# The initiator of this machine. ---------------------------------------------------------------


@contextmanager
def logged_in(target: str, portal: str, naa: str, lun: int) -> Iterator[str]:
    """Log in by the backup server's own kernel path, and yield the disk that it has found."""
    Path("/etc/iscsi/initiatorname.iscsi").write_text(f"InitiatorName={SELF}\n", "utf-8")
    Path("/run/lock/iscsi").mkdir(parents=True, exist_ok=True)
    if not any("iscsid" in (path.read_text() or "") for path in Path("/proc").glob("[0-9]*/comm")):
        run("iscsid")
    with asyncio.Runner() as runner:
        initiator = KernelInitiator(portal, SELF, target, wait_seconds=_PROGRAM_SECONDS)
        device = runner.run(initiator.attach(Mapping("", naa, SELF, lun)))
        try:
            yield f"/dev/{device.disk}"
        finally:
            runner.run(device.close())


# Rigs for the contract. -----------------------------------------------------------------------


class Rig:
    """An exporter in the guest, and its initiator."""

    def __init__(self, kind: Kind) -> None:
        self.truth = _truth()
        self.exporter = KernelExporter(kind, None, MACHINE, LIMITS)

    def request(self) -> Request:
        """Return a request for the file."""
        facts: dict[str, Any] = {}
        if self.exporter.kind == "lio-iscsi":
            facts = {"portal": Portal(ADDRESS), "initiators": (Initiator(SELF),), "lun": 7}
        return Request(PathSource(str(self.truth)), **facts)

    @contextmanager
    def opened(self, export: Export) -> Iterator[str]:
        """Open an export: as a local device, or by logging in."""
        if export.portal is None:
            yield export.device
            return
        with logged_in(export.target, str(export.portal), export.naa, export.lun) as path:
            yield path

    def listing(self) -> list[str]:
        """Return everything that is configured."""
        return call_listing()

    @contextmanager
    def foreign(self) -> Iterator[None]:
        """Have a target, a back end and a loop device that others have made."""
        import rtslib_fb  # type: ignore[import-untyped]  # noqa: PLC0415  (it looks at the kernel)

        file = Path("/var/cache/foreign")
        file.write_bytes(bytes(1 << 20))
        device = run("losetup", "--find", "--show", "--read-only", str(file)).strip()
        store = rtslib_fb.FileIOStorageObject("foreign", str(file), 1 << 20)
        name = "iqn.2026-11.org.example:foreign"
        target = rtslib_fb.Target(rtslib_fb.FabricModule("iscsi"), name)
        group = rtslib_fb.TPG(target, 1)
        rtslib_fb.LUN(group, 0, store)
        try:
            yield
        finally:
            target.delete()
            store.delete()
            run("losetup", "--detach", device)


# Calls. ---------------------------------------------------------------------------------------


def call_hello() -> dict[str, str]:
    """Say what this is."""
    return {"kernel": platform.release(), "python": platform.python_version()}


def call_probe() -> list[dict[str, Any]]:
    """Say which exporters work."""
    return [asdict(finding) for finding in probe(MACHINE)]


def call_listing() -> list[str]:
    """Return targets, back ends, loop devices with files, and NBD devices that are attached."""
    block = Path("/sys/block")
    loops = [str(path) for path in block.glob("loop*/loop/backing_file")]
    attached = [str(path) for path in block.glob("nbd*/pid")]
    made = [*configfs.targets(MACHINE), *configfs.backstores(MACHINE)]
    return sorted([*made, *loops, *attached, *map(str, Path("/var/cache").glob("stuntdouble-*"))])


def _request(arguments: dict[str, Any]) -> Request:
    facts = dict(arguments)
    facts["source"] = source(facts.pop("source"))
    if facts.get("portal"):
        facts["portal"] = Portal(*facts["portal"])
    people = facts.pop("initiators", ())
    facts["initiators"] = tuple(
        Initiator(iqn, Chap(**chap) if chap else None) for iqn, chap in people
    )
    return Request(**facts)


def call_export(kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    """Export a LUN."""
    return asdict(KernelExporter(kind, None, MACHINE, LIMITS).export(_request(request)))


def call_unexport(number: str, *, force: bool = False) -> None:
    """End an export."""
    exporter = KernelExporter("loop", None, MACHINE, LIMITS)
    exporter.unexport(exporter.records.get(number).export, force=force)


def call_sessions(number: str) -> list[list[str]]:
    """Return who uses an export."""
    exporter = KernelExporter("loop", None, MACHINE, LIMITS)
    found = exporter.sessions(exporter.records.get(number).export)
    return [[session.who, session.where] for session in found]


def call_recover(*, everything: bool = False) -> dict[str, Any]:
    """End what nobody ends."""
    return asdict(recover(where=MACHINE, limits=LIMITS, everything=everything))


def call_kernel_digest(target: str, portal: str, naa: str, lun: int) -> str:
    """Log in by this machine's own initiator, and return the SHA-256 of the disk."""
    with logged_in(target, portal, naa, lun) as path:
        return contract.digest(path)


def call_local_digest(naa: str) -> str:
    """Open the local disk with an identifier as the backup server does; return its SHA-256."""
    with asyncio.Runner() as runner:
        device = runner.run(LocalInitiator(SELF).attach(Mapping("", naa, SELF, 0)))
        try:
            return contract.digest(Path("/dev", disk_of(naa, Path("/sys"))))
        finally:
            runner.run(device.close())


def call_killed(request: dict[str, Any]) -> str:
    """Kill whoever exports, before each step and after the last; return how often."""
    rig = Rig("lio-iscsi")
    rig.request = lambda: _request(request)  # type: ignore[method-assign]
    try:
        return contract.it_recovers_from_the_death_of_its_owner(rig)
    except AssertionError as error:
        raise KernelError("recover", str(error)) from None


def call_truth() -> str:
    """Return a file that may be exported."""
    return str(_truth())


def call_fileio() -> str:
    """Let a file out by the page cache: protected by the mapping, then for writing by all."""
    rig = Rig("lio-iscsi")
    asked = replace(rig.request(), backstore="fileio")
    rig.request = lambda: asked  # type: ignore[method-assign]
    contract.it_shows_the_bytes(rig)
    refused = contract.it_refuses_writes(rig)
    local = KernelExporter("lio-loopback", None, MACHINE, LIMITS)
    export = local.export(Request(PathSource(str(TRUTH)), read_only=False))
    with Path(export.device).open("r+b", buffering=0) as device:
        device.write(b"written" + bytes(505))
        os.fsync(device.fileno())
    local.unexport(export, force=True)
    with TRUTH.open("rb") as file:
        written = file.read(7)
    if written != b"written":
        raise KernelError("write to a file by way of the target", f"it holds {written!r}")
    return f"read-only: {refused}; else it writes"


def call_by_hand(kind: Kind, request: dict[str, Any]) -> list[list[str]]:
    """Make an export by the printed commands, then by the exporter; return what each has made."""
    asked = _request({**request, "source": str(_truth())})
    planned = plan(kind, asked, MACHINE, "0badcafe")
    Path("/run/dbus").mkdir(exist_ok=True)
    if not Path("/run/dbus/system_bus_socket").exists():
        run("dbus-daemon", "--system", "--fork")
    try:
        run("sh", "-e", "-c", commands(planned, asked, show_secrets=True))
        by_hand = _configuration()
    finally:
        _forget_by_hand(planned.export.target)
    exporter = KernelExporter(kind, None, MACHINE, LIMITS)
    export = exporter.export(asked)
    by_us = _configuration()
    exporter.unexport(export)
    return [by_hand, by_us]


def _forget_by_hand(target: str) -> None:
    for fabric in configfs.FABRICS:
        configfs.remove_target(MACHINE, fabric, target)
    for each in configfs.backstores(MACHINE):
        configfs.remove_backstore(MACHINE, *each.split("/"))
    run("losetup", "--detach-all")


def _configuration() -> list[str]:
    """Return the kernel's configuration, without what is another each time."""
    top = Path(MACHINE.target)
    rows = []
    for path in sorted([*top.glob("iscsi/iqn*/**/*"), *top.glob("loopback/naa*/**/*")]):
        shown = "/".join(_plain(part) for part in path.relative_to(top).parts)
        if path.is_symlink() or path.is_dir() or "statistics" in path.parts:
            continue
        if path.name in {"nexus", "address", "dynamic_sessions", "info"}:
            continue
        try:
            rows.append(f"{shown} = {path.read_text('utf-8', 'replace').strip()}")
        except OSError:
            continue
    return rows


def _plain(part: str) -> str:
    """Return a part of a path without the number of an export."""
    return "TARGET" if "stuntdouble:" in part or part.startswith("naa.") else part


def call_contract(kind: Kind, say: Callable[[list[str]], None]) -> int:
    """Run the contract; say how each check went, and return how many failed."""
    failed = 0
    for row in contract.run(Rig(kind)):
        say(list(row))
        failed += bool(row[2])
    return failed


# The channel. ---------------------------------------------------------------------------------


def main() -> None:
    """Answer calls until the host is gone."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    contract.until(lambda: bool(_ports()))
    with _ports()[0].open("r+b", buffering=0) as channel:

        def say(line: dict[str, Any]) -> None:
            channel.write(json.dumps(line).encode() + b"\n")

        say({"ready": True})
        rest = b""
        while True:
            data = channel.read(1 << 16)
            rest += data or b""
            while b"\n" in rest:
                row, _, rest = rest.partition(b"\n")
                _answer(json.loads(row), say)


def _ports() -> list[Path]:
    """Return the device of the channel, which is known by its name."""
    names = (path for path in PORTS.glob("*/name") if path.read_text("utf-8").strip() == "agent")
    return [found for path in names if (found := Path("/dev", path.parent.name)).exists()]


def _answer(line: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    number, arguments = line["id"], line["arguments"]
    function = globals().get(f"call_{line['call']}")
    try:
        if function is None:
            raise NotFound("call", line["call"])  # noqa: TRY301  (told like any other failure)
        if line["call"] == "contract":
            arguments["say"] = lambda row: say({"id": number, "line": row})
        say({"id": number, "result": function(**arguments)})
    except Error as error:
        facts = [str(fact) for fact in error.args]
        say({"id": number, "error": type(error).__name__, "facts": facts})
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
        traceback.print_exc(file=sys.stderr)
        facts = [" ".join(str(error).split())]
        say({"id": number, "error": type(error).__name__, "facts": facts})


if __name__ == "__main__":
    main()
