"""What an operator types to make an export by hand: the shell's commands and targetcli's.

As an export is made by ``fabrics``: nothing of targetcli's own that would let anybody in, no mapped
LUNs added by themselves, no portal on every address, and nothing saved for the next boot.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from stuntdouble.lio.attaching import NbdStep
from stuntdouble.lio.backstores import BackstoreStep
from stuntdouble.lio.copying import CopyStep
from stuntdouble.lio.fabrics import IscsiStep, LoopbackStep
from stuntdouble.lio.fuses import DAEMON, FuseStep
from stuntdouble.lio.loops import LoopStep
from stuntdouble.lio.requests import NbdSource
from stuntdouble.lio.work import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stuntdouble.lio.planning import Plan
    from stuntdouble.lio.requests import Chap, Request

SETTINGS: Final = (
    "auto_add_default_portal=false auto_add_mapped_luns=false"
    " auto_enable_tpgt=false auto_save_on_exit=false"
)
"""Conveniences of targetcli that would undo the masking, or outlive the export."""

HIDDEN: Final = "SECRET"
"""What stands for a secret, unless they are asked for."""


def commands(plan: Plan, request: Request, *, show_secrets: bool = False) -> str:
    """Return a shell script that makes an export as *plan* does.

    Args:
        plan: what is to be done.
        request: what for.
        show_secrets: whether the secrets of CHAP are in it.
    """
    mark = f"{MARK}{plan.export.id}"
    chaps = {each.iqn: each.chap for each in request.initiators if each.chap is not None}
    lines = [f"DEVICE={shlex.quote(plan.path)}"] if plan.path else []
    for step in plan.steps:
        match step:
            case BackstoreStep():
                lines += _session(f"set global {SETTINGS}", _back_end(step, mark))
                # The company in an identifier: targetcli has no command for it, and the kernel
                # takes it before a LUN is made.
                folder = f"/sys/kernel/config/target/core/{step.plugin}_*/{mark}"
                lines.append(f"echo 0x{step.naa[1:7]} | tee {folder}/wwn/company_id >/dev/null")
            case IscsiStep():
                lines += _session(*_iscsi(step, plan, mark, chaps, show_secrets=show_secrets))
            case LoopbackStep():
                store = f"/backstores/{_plugin(plan)}/{mark}"
                make = f"/loopback/{step.target}/luns create {store} lun={step.lun}"
                lines += _session(f"/loopback create {step.target}", make)
            case _:
                lines += _shell(step, mark)
    return "\n".join(lines) + "\n"


def _session(*commands: str) -> tuple[str, ...]:
    """Return the lines of a session with targetcli."""
    return ("targetcli <<END", *commands, "END")


def _shell(step: object, mark: str) -> Iterator[str]:
    match step:
        case NbdStep():
            host, port = NbdSource(step.uri).address
            mode = " -readonly" if step.read_only else ""
            name = shlex.quote(NbdSource(step.uri).name)
            yield "DEVICE=/dev/nbd0"
            yield f"nbd-client -name {name} {host} {port} $DEVICE{mode}"
        case FuseStep():
            host, port = NbdSource(step.uri).address
            name = NbdSource(step.uri).name
            mode = "on,node-name=lun" if step.read_only else "off,node-name=lun"
            node = (
                f"driver=nbd,server.type=inet,server.host={host},server.port={port},export={name}"
            )
            writable = "off" if step.read_only else "on"
            yield f"DEVICE=/run/{mark}; touch $DEVICE"
            yield (
                f"{DAEMON} --blockdev {shlex.quote(f'{node},read-only={mode}')} --export"
                f" type=fuse,id=fuse,node-name=lun,mountpoint=$DEVICE,writable={writable} --daemonize"
            )
        case CopyStep():
            yield f"DEVICE=/var/tmp/{mark}.raw"
            yield f"qemu-img convert -f raw -O raw {shlex.quote(step.given)} $DEVICE"
        case LoopStep():
            mode = " --read-only" if step.read_only else ""
            yield f"DEVICE=$(losetup --find --show{mode} $DEVICE)"


def _plugin(plan: Plan) -> str:
    kinds = (step.plugin for step in plan.steps if isinstance(step, BackstoreStep))
    return "block" if next(kinds) == "iblock" else "fileio"


def _back_end(step: BackstoreStep, mark: str) -> str:
    serial = step.naa[7:]
    if step.plugin == "iblock":
        mode = str(step.read_only).lower()
        return f"/backstores/block create {mark} $DEVICE readonly={mode} wwn={serial}"
    size = "$(stat --format %s $DEVICE)"
    return f"/backstores/fileio create {mark} $DEVICE {size} write_back=false wwn={serial}"


def _iscsi(
    step: IscsiStep, plan: Plan, mark: str, chaps: Mapping[str, Chap], *, show_secrets: bool
) -> Iterator[str]:
    group = f"/iscsi/{step.target}/tpg1"
    yield f"/iscsi create {step.target}"
    yield f"{group} set attribute {_pairs(step.attributes())}"
    yield f"{group}/luns create /backstores/{_plugin(plan)}/{mark} lun=0"
    for name in step.initiators:
        yield f"{group}/acls create {name}"
        if name in chaps:
            yield f"{group}/acls/{name} set auth {_auth(chaps[name], show_secrets=show_secrets)}"
        protect = int(step.read_only)
        yield f"{group}/acls/{name} create {step.lun} 0 write_protect={protect}"
    host = f"[{step.host}]" if ":" in step.host else step.host
    yield f"{group}/portals create {host} {step.port}"
    yield f"{group} enable"


def _pairs(pairs: Mapping[str, object] | Iterable[tuple[str, object]]) -> str:
    return " ".join(f"{name}={value}" for name, value in dict(pairs).items())


def _auth(chap: Chap, *, show_secrets: bool) -> str:
    pairs = {"userid": chap.user, "password": chap.secret if show_secrets else HIDDEN}
    if chap.mutual_user:
        secret = chap.mutual_secret if show_secrets else HIDDEN
        pairs |= {"mutual_userid": chap.mutual_user, "mutual_password": secret}
    return _pairs(pairs)
