"""A site that runs on a paced loop, for tests."""

from __future__ import annotations

import asyncio
import copy

from scenarios.tiny import tiny
from stuntdouble.clock import PacedLoop
from stuntdouble.scenarios import parse
from stuntdouble.serve.control import SiteControl
from stuntdouble.serve.live import LiveSite
from stuntdouble.serve.reviving import Origin, made

VM, DISK = "vm-1", 2000


def table():
    """Return a scenario whose VM tracks changes and writes much."""
    changed = copy.deepcopy(tiny())
    changed["vms"][0]["tracking"] = True
    changed["vms"][0]["load"]["iops"] = 200
    return changed


def origin(seed=1, **changes):
    return Origin(parse({**table(), **changes}, "test"), seed)


def going(main, rate=20.0, start=None, doors=None):
    """Return what ``main(live, control)`` returns while a site runs."""
    start = start or origin()
    world = made(start)
    loop = PacedLoop(rate, world.env.now)

    async def run():
        live = LiveSite(start, world, loop)
        live.doors.update(doors or {})
        control = SiteControl(live, list)
        live.start()
        return await main(live, control)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(run())
