"""What a call of the vSphere interface costs, side by side with govmomi's own simulator.

reads       vm.name by one client against either server
in-process  the same without a socket
inventory   10,000 VMs in one retrieval, against the client's bare parsing
changes     a million changed areas, against the client's bare parsing, and by a client in Go
crowd       64 clients at once
"""

from stuntdouble.bench.figures import Contest, Figures, Goal, Report, Row, run
from stuntdouble.bench.vsphere.suite import NAMES, contests, versions

__all__ = ["NAMES", "Contest", "Figures", "Goal", "Report", "Row", "contests", "run", "versions"]
