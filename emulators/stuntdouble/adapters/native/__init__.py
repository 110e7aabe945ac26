"""Our client of a served site's native interface: REST, and the bytes of disks by a device opener.

Needs the extra ``native``.  Nothing here knows of the emulators: what it knows is what the
interface says.  Devices are opened by whoever is given as ``open_``, such as an NBD initiator.
"""

from stuntdouble.adapters.native.array import NativeArray, NativeInitiator
from stuntdouble.adapters.native.client import Clock, Line, NativeClient, Served
from stuntdouble.adapters.native.problems import error_of
from stuntdouble.adapters.native.side import NativeSide

__all__ = [
    "Clock",
    "Line",
    "NativeArray",
    "NativeClient",
    "NativeInitiator",
    "NativeSide",
    "Served",
    "error_of",
]
