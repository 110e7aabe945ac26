"""What is measured: a throttled disk behind QEMU's block layer, with a snapshot or without.

    no snapshot            redirect                        copy-before-write

        export                  export                          export
          │                       │                               │
          │                 overlay (qcow2)                copy-before-write
          │                  │          │ unwritten           │          │ old data
       throttle          throttle    throttle            throttle    throttle
          │                  │          │                    │          │
        base               delta       base                 base      target

The throttles are one group: whoever asks, each request is one I/O of the same budget.  The disks
below are QEMU's null devices, which take any request at once and admit to no zeroes that could be
skipped, so that the group is the only thing that anybody waits for; the delta is a file.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse, Unreachable
from stuntdouble.lab.processes import ProgramError, run, running
from stuntdouble.lab.programs import DAEMON, IMAGES
from stuntdouble.lab.qmp import ANSWER_SECONDS_MAX, monitor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stuntdouble.lab.curves import Curve, Setup
    from stuntdouble.lab.qmp import Qmp

NBD_SOCKET: Final = "nbd.sock"
QMP_SOCKET: Final = "qmp.sock"
EXPORT: Final = "disk"
OVERLAY: Final = "overlay"
_GROUP: Final = "budget"

_SOCKET_PATH_MAX: Final = 107
"""Bytes of ``sun_path`` without its final zero (unix(7))."""


@asynccontextmanager
async def rig(curve: Curve, directory: Path) -> AsyncIterator[Qmp]:
    """Build what *curve* is measured on, exported in *directory*, and yield its monitor.

    Raises:
        ProgramError: QEMU ended; also where the block failed because of that.
        Misuse: *directory* is too long for the name of a socket.
    """
    if len(str(directory / QMP_SOCKET).encode()) > _SOCKET_PATH_MAX:
        raise Misuse("TMPDIR", f"{directory} is too long for a socket: choose a shorter one")
    words = _words(curve.setup)
    async with running(*words, directory=directory) as daemon:
        try:
            async with monitor(directory / QMP_SOCKET, daemon) as qmp:
                await _build(curve, directory, qmp)
                yield qmp
        except (Unreachable, ProgramError) as error:
            # A daemon that died takes fio with it: tell the cause, not what followed.
            if await daemon.is_gone():
                raise daemon.failure() from error
            raise


def _words(setup: Setup) -> list[str]:
    budget = f"x-iops-total={setup.iops:g},x-iops-total-max={setup.burst_ios:g}"
    return [
        *(DAEMON, "--chardev", f"socket,path={QMP_SOCKET},server=on,wait=off,id=monitor"),
        *("--monitor", "chardev=monitor"),
        *("--object", f"throttle-group,id={_GROUP},{budget}"),
        *("--nbd-server", f"addr.type=unix,addr.path={NBD_SOCKET}"),
    ]


async def _build(curve: Curve, directory: Path, qmp: Qmp) -> None:
    setup = curve.setup
    await _add_disk(qmp, "base", setup.disk_bytes)
    top = "base"
    if curve.extra_ios == 1:
        await _add_overlay(qmp, setup, directory)
        await qmp.execute("blockdev-snapshot", node="base", overlay=OVERLAY)
        top = OVERLAY
    elif curve.extra_ios == 2:
        await _add_disk(qmp, "target", setup.disk_bytes)
        top = "before-write"
        # sync=none copies only what is about to be overwritten.
        await qmp.execute(
            "blockdev-backup",
            job_id="copy",
            device="base",
            target="target",
            sync="none",
            filter_node_name=top,
        )
    await qmp.execute(
        "block-export-add", type="nbd", id=EXPORT, node_name=top, name=EXPORT, writable=True
    )


async def _add_disk(qmp: Qmp, name: str, size: int) -> None:
    await qmp.execute(
        "blockdev-add", driver="null-co", node_name=f"{name}-disk", size=size, read_zeroes=False
    )
    await _throttle(qmp, f"{name}-throttle", f"{name}-disk")
    # A commit looks through filters for its base; it stops at a format.
    await qmp.execute("blockdev-add", driver="raw", node_name=name, file=f"{name}-throttle")


async def _add_overlay(qmp: Qmp, setup: Setup, directory: Path) -> None:
    delta = directory / "delta.qcow2"
    options = ("-q", "-f", "qcow2", "-o", f"cluster_size={setup.chunk_bytes}")
    words = (IMAGES, "create", *options, str(delta), str(setup.disk_bytes))
    await run(*words, directory=directory, seconds=ANSWER_SECONDS_MAX)
    await qmp.execute("blockdev-add", driver="file", node_name="delta-file", filename=str(delta))
    await _throttle(qmp, "delta", "delta-file")
    await qmp.execute("blockdev-add", driver="qcow2", node_name=OVERLAY, file="delta", backing=None)


async def _throttle(qmp: Qmp, name: str, below: str) -> None:
    await qmp.execute(
        "blockdev-add", driver="throttle", node_name=name, throttle_group=_GROUP, file=below
    )
