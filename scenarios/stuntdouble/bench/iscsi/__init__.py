"""How fast a LUN is read over iSCSI, side by side with tgtd.

reads     a promoted snapshot in six shapes, by qemu-img: bytes that came from outside
rendered  the same of what guests wrote: bytes that are made from tokens as they are read
loopback  what TCP does on the machine by itself
"""

from stuntdouble.bench.figures import Contest, Figures, Goal, Report, Row, run
from stuntdouble.bench.iscsi.suite import contests, versions

__all__ = ["Contest", "Figures", "Goal", "Report", "Row", "contests", "run", "versions"]
