"""Serve the LUN in a process of its own: ``python -m stuntdouble.bench.iscsi``.

It writes the same bytes to a file, prints its URL, and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stuntdouble.bench.iscsi.estate import INITIATOR, LUN, Content, build
from stuntdouble.clock import PacedLoop, Pacer
from stuntdouble.iscsi import Node, Server, Target
from stuntdouble.iscsi.units import ArrayLuns
from stuntdouble.scsi import DeviceServer
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from stuntdouble.array import Array

TARGET = "iqn.2026-01.com.example:array"


def dump(array: Array, file: Path) -> None:
    """Write what the initiator sees to a file."""
    unit = ArrayLuns(array).units(INITIATOR)[LUN]
    blocks = MIB // array.core.site.block_bytes
    with file.open("wb") as out:
        for first in range(0, unit.size_bytes // array.core.site.block_bytes, blocks):
            out.write(array.show(unit.volume, first, blocks).data)


async def serve(array: Array, loop: PacedLoop) -> None:
    """Serve until the standard input ends."""
    env = array.core.env
    Pacer(env, loop).start()
    luns = ArrayLuns(array, thin=False)
    device = DeviceServer(luns, TARGET)
    target = Target(
        TARGET, device, lambda iqn: array.hosts.by_iqn(iqn) is not None, lambda _iqn: None
    )
    server = Server(Node({TARGET: target}), entered=env.entered, call_later=loop.call_later_wall)
    await server.start("127.0.0.1", 0)
    host, port = server.address
    sys.stdout.write(f"iscsi://{host}:{port}/{TARGET}/{LUN}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    loop.remove_reader(sys.stdin)
    await server.close()


def main() -> None:
    """Build the LUN and serve it."""
    parser = argparse.ArgumentParser(prog="python -m stuntdouble.bench.iscsi")
    parser.add_argument("--mib", type=int, default=1024, help="size of the LUN")
    kinds = [kind.value for kind in Content]
    parser.add_argument(
        "--content", choices=kinds, default=kinds[0], help="where its bytes come from"
    )
    parser.add_argument("--raw", type=Path, help="where its bytes are written, too")
    asked = parser.parse_args()
    array = build(asked.mib * MIB, Content(asked.content))
    if asked.raw is not None:
        dump(array, asked.raw)
    loop = PacedLoop(1.0, array.core.env.now)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serve(array, loop))


if __name__ == "__main__":
    main()
