"""How fast a storage-snapshot backup goes over real sockets: vSphere, WSAPI and iSCSI.

full          into a repository that keeps nothing, side by side with qemu-img and with what TCP does
              on the machine by itself; into a real one, side by side with its digests and compression
incrementals  how their time grows with what has changed
"""

from stuntdouble.bench.backup.suite import contests, run, versions
from stuntdouble.bench.figures import Contest, Figures, Goal, Report, Row

__all__ = ["Contest", "Figures", "Goal", "Report", "Row", "contests", "run", "versions"]
