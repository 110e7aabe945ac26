"""An NBD server: any disk, snapshot or delta as a block device to standard tools.

``qemu-img``, ``nbdcopy`` and ``nbdinfo --map`` read the same bytes as a backup does, see what is
allocated (``base:allocation``), and the same changed areas (``qemu:dirty-bitmap:<changeId>``).
"""

from stuntdouble.nbd.catalogue import HypervisorExports, export_name
from stuntdouble.nbd.exports import Export, Exports, Fixed, Joined
from stuntdouble.nbd.limits import Limits
from stuntdouble.nbd.rendered import LunExport, Rendered
from stuntdouble.nbd.server import Server

__all__ = [
    "Export",
    "Exports",
    "Fixed",
    "HypervisorExports",
    "Joined",
    "Limits",
    "LunExport",
    "Rendered",
    "Server",
    "export_name",
]
