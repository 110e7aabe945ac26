"""What is where: one state of maps, content and truth for the whole emulated site.

Six mechanisms under neutral names, and no policy: *layers* (a file seen on top of another), *marks*
(which grains were written), *forks* (a map as it was), *copy before write*, *replicas* (a volume
twice), and *holds* (which the I/O engine adds).  Hypervisor and array decide when to use them; they
hold no byte and no bitmap themselves.  *Faults* lie over all of it: blocks that cannot be read, or
give wrong bytes.
"""

from stuntdouble.site.disk import Bitmap, Disk, Level, Moment
from stuntdouble.site.lun import DamageMode, Image, Lun, LunKeeper
from stuntdouble.site.plan import (
    COPY_INTO_EACH,
    COPY_ON_WRITE,
    PLAN,
    REDIRECT_ON_WRITE,
    Place,
    Role,
    Stage,
)
from stuntdouble.site.replica import Replica
from stuntdouble.site.rules import IO_BLOCKS_MAX
from stuntdouble.site.site import Site, Step
from stuntdouble.site.store import File, FileKeeper, Store
from stuntdouble.site.tables import EACH_IMAGES_MAX, REPLICAS_MAX

__all__ = [
    "COPY_INTO_EACH",
    "COPY_ON_WRITE",
    "EACH_IMAGES_MAX",
    "IO_BLOCKS_MAX",
    "PLAN",
    "REDIRECT_ON_WRITE",
    "REPLICAS_MAX",
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
    "Replica",
    "Role",
    "Site",
    "Stage",
    "Step",
    "Store",
]
