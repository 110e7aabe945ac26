"""From a request to steps: which way a LUN goes, on a machine as it is."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from stuntdouble.errors import Misuse, Unsupported
from stuntdouble.lio import attaching, devices, fuses
from stuntdouble.lio.attaching import NbdStep
from stuntdouble.lio.backstores import NAA_PREFIX, BackstoreStep
from stuntdouble.lio.copying import CopyStep
from stuntdouble.lio.fabrics import IscsiStep, LoopbackStep
from stuntdouble.lio.fuses import FuseStep
from stuntdouble.lio.loops import LoopStep
from stuntdouble.lio.requests import Export, NbdSource, words

if TYPE_CHECKING:
    from stuntdouble.lio.machine import Machine
    from stuntdouble.lio.requests import Request
    from stuntdouble.lio.work import Step

Kind: TypeAlias = Literal["lio-iscsi", "lio-loopback", "loop"]
"""An exporter, by name."""

TARGET_PREFIX: Final = "iqn.2026-11.org.example.stuntdouble:"
"""What names of targets begin with that nobody has chosen."""

_LOOPBACK_PREFIX: Final = "naa.5001405d"
"""Those of loopback targets: type 5, and the kernel target's own company; eight digits follow."""

_NAA_DIGITS: Final = 32  # type 6


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Args:
        path: the file or device below the first step; empty where that makes it.
        steps: from below to above.
        export: as it will be, but for what only the kernel knows.
    """

    path: str
    steps: tuple[Step, ...]
    export: Export


def new_number() -> str:
    """Return the number of a new export: eight hexadecimal digits that nobody can foresee."""
    return secrets.token_hex(4)


def plan(kind: Kind, request: Request, machine: Machine, number: str) -> Plan:
    """Return how *request* is to be done.

    Raises:
        Misuse: the request does not fit the exporter.
        NotFound: no such file or device.
        Unsupported: what it asks for does not work here.
    """
    path, steps, is_device = _below(request, machine)
    check_fits(kind, request)
    facts = {"read_only": request.read_only, "id": number, "exporter": kind, "size_bytes": 0}
    if kind == "loop":
        steps.append(LoopStep(request.read_only))
        top: dict[str, object] = {}
    else:
        naa = request.identifier or _new_naa(number)
        steps.extend(_back_end(request, naa, is_device=is_device))
        top = {"naa": naa, "lun": request.lun}
        fabric = _fabric(kind, request, number)
        steps.append(fabric)
        top["target"] = fabric.target
        if isinstance(fabric, IscsiStep):
            top |= {"portal": request.portal, "initiators": fabric.initiators}
    said = tuple(step.words() for step in steps)
    export = Export(source=words(request.source), path=said, **facts, **top)  # type: ignore[arg-type]
    return Plan(path, tuple(steps), export)


def check_fits(kind: Kind, request: Request) -> None:
    """Make sure that an exporter can do what *request* asks for; Misuse where it cannot."""
    asked = request.initiators or request.portal or (request.target and kind != "lio-iscsi")
    if kind == "lio-iscsi" and (not request.initiators or request.portal is None):
        raise Misuse("iSCSI export", "name a portal, and each initiator that may log in")
    if kind != "lio-iscsi" and asked:
        raise Misuse(kind, "there are no targets to name, no portals and no initiators")
    if kind == "loop" and (request.naa or request.lun or request.backstore != "auto"):
        raise Misuse(kind, "a loop device has no identifier, no number and no back end")
    if kind == "lio-loopback" and request.backstore == "fileio" and request.read_only:
        raise Misuse(kind, "fileio has no read-only flag, and this fabric no write protection")


def _new_naa(number: str) -> str:
    made = NAA_PREFIX + number
    return made + secrets.token_hex(_NAA_DIGITS)[: _NAA_DIGITS - len(made)]


def _below(request: Request, machine: Machine) -> tuple[str, list[Step], bool]:
    """Return a path or the step that makes one, and whether that is a device's."""
    given, read_only = request.source, request.read_only
    if not isinstance(given, NbdSource):
        if request.by in {"nbd", "fuse"}:
            raise Misuse(given.path, f"is there already: no need for {request.by}")
        is_device = devices.is_device(given.path)
        if request.by == "copy":
            return "", [CopyStep(given.path, read_only)], False
        return given.path, [], is_device
    match request.by if request.by != "auto" else best(machine, read_only=read_only):
        case "nbd":
            return "", [NbdStep(given.uri, read_only)], True
        case "fuse":
            return "", [FuseStep(given.uri, read_only)], False
    return "", [CopyStep(given.uri, read_only)], False


def best(machine: Machine, *, read_only: bool) -> Literal["nbd", "fuse", "copy"]:
    """Return the best way to an NBD export that works here.

    Raises:
        Unsupported: there is no way that writes would find back.
    """
    if not attaching.lacking(machine):
        return "nbd"
    if not fuses.lacking(machine):
        return "fuse"
    if not read_only:
        why = f"{attaching.lacking(machine)}; {fuses.lacking(machine)}"
        raise Unsupported("writing to an NBD export here", f"a copy would keep it to itself: {why}")
    return "copy"


def _back_end(request: Request, naa: str, *, is_device: bool) -> list[Step]:
    """Return the back end, over a loop device where it needs a device and there is a file."""
    wanted = request.backstore
    if wanted == "auto":
        wanted = "block" if is_device or request.read_only else "fileio"
    if wanted == "fileio":
        # Every initiator's mapping is write-protected instead.
        return [BackstoreStep("fileio", read_only=False, naa=naa)]
    loop: list[Step] = [] if is_device else [LoopStep(request.read_only)]
    return [*loop, BackstoreStep("iblock", request.read_only, naa)]


def _fabric(kind: Kind, request: Request, number: str) -> IscsiStep | LoopbackStep:
    if kind == "lio-loopback":
        return LoopbackStep(f"{_LOOPBACK_PREFIX}{number}", request.lun)
    assert request.portal is not None
    return IscsiStep(
        request.target or f"{TARGET_PREFIX}{number}",
        request.lun,
        request.portal.host,
        request.portal.port,
        tuple(initiator.iqn for initiator in request.initiators),
        chap=any(initiator.chap for initiator in request.initiators),
        read_only=request.read_only,
    )
