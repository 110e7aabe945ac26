"""The array as a Pure Storage FlashArray: REST 2 and REST 1, two ways to say the same operations.

rest2  rest1        paths, bodies, what is shown: one package for each version
   operations       volumes, snapshots, hosts, groups: what may be done, and the refusals
     estate         what there is, by this vendor's names and states
"""

from stuntdouble.arrayapi.pure.estate import ERADICATION_SECONDS, OUI, Estate, Port
from stuntdouble.arrayapi.pure.personality import MANNERS, FlashArray
from stuntdouble.arrayapi.pure.sessions import IDLE_SECONDS, Sessions

__all__ = [
    "ERADICATION_SECONDS",
    "IDLE_SECONDS",
    "MANNERS",
    "OUI",
    "Estate",
    "FlashArray",
    "Port",
    "Sessions",
]
