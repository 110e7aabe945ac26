"""How fast a LUN is read over iSCSI, side by side with tgtd.

reads     a promoted snapshot in six shapes, by qemu-img
loopback  what TCP does on the machine by itself
"""

from stuntdouble.bench.figures import Contest, Figures, Goal, Report, Row, run
from stuntdouble.bench.iscsi.suite import contests, versions

__all__ = ["Contest", "Figures", "Goal", "Report", "Row", "contests", "run", "versions"]
