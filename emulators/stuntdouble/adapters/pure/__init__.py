"""Our client of a Pure Storage FlashArray: REST 2, by which a backup server asks a storage array.

Needs the extra ``native``, for httpx.  Nothing here knows of the emulators.
"""

from stuntdouble.adapters.pure.array import OUI, SPACE, PureArray
from stuntdouble.adapters.pure.client import ANSWER_SECONDS, NEWEST, PureClient
from stuntdouble.adapters.pure.names import host_name, suffix_name, volume_name
from stuntdouble.adapters.pure.problems import PureRefusal, error_of

__all__ = [
    "ANSWER_SECONDS",
    "NEWEST",
    "OUI",
    "SPACE",
    "PureArray",
    "PureClient",
    "PureRefusal",
    "error_of",
    "host_name",
    "suffix_name",
    "volume_name",
]
