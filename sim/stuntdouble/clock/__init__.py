"""One workflow, two clocks.

Workflows are plain asyncio, devices are SimPy generators.  ``run(main)`` finishes as fast as the
machine can step; ``run(main, rate=1)`` keeps wall time and serves sockets.  The only doors
between the two worlds are ``perform``, ``completed`` and ``Environment.entered``.
"""

from stuntdouble.clock.doors import completed, perform, run
from stuntdouble.clock.environment import Driver, Environment, Kernel, Priority
from stuntdouble.clock.pacer import PacedLoop, Pacer
from stuntdouble.clock.virtual import VirtualLoop
from stuntdouble.clock.wall import WallTimer

__all__ = [
    "Driver",
    "Environment",
    "Kernel",
    "PacedLoop",
    "Pacer",
    "Priority",
    "VirtualLoop",
    "WallTimer",
    "completed",
    "perform",
    "run",
]
