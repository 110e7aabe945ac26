"""What is where: one state of maps, content and truth for the whole emulated site.

Five mechanisms under neutral names, and no policy: *layers* (a file seen on top of another),
*marks* (which grains were written), *forks* (a map as it was), *copy before write*, and *holds*
(which the I/O engine adds).  Hypervisor and array decide when to use them; they hold no byte and
no bitmap themselves.  *Faults* lie over all of it: blocks that cannot be read, or give wrong bytes.
"""

from stuntdouble.site.disk import Bitmap, Disk, Level, Moment
from stuntdouble.site.lun import DamageMode, Image, Lun, LunKeeper
from stuntdouble.site.plan import (
    COPY_ON_WRITE,
    PLAN,
    REDIRECT_ON_WRITE,
    Place,
    Role,
    Stage,
)
from stuntdouble.site.rules import IO_BLOCKS_MAX
from stuntdouble.site.site import Site, Step
from stuntdouble.site.store import File, FileKeeper, Store

__all__ = [
    "COPY_ON_WRITE",
    "IO_BLOCKS_MAX",
    "PLAN",
    "REDIRECT_ON_WRITE",
    "Bitmap",
    "DamageMode",
    "Disk",
    "File",
    "FileKeeper",
    "Image",
    "Level",
    "Lun",
    "LunKeeper",
    "Moment",
    "Place",
    "Role",
    "Site",
    "Stage",
    "Step",
    "Store",
]
