"""An iSCSI initiator in user space.

    initiator ─▶ pool of sessions with a target ─▶ session ─▶ wire ─▶ socket
        └─ device: a LUN            (comes back by itself) ─┘

``discover`` tells what a portal shows; ``IscsiInitiator`` finds mapped LUNs and opens them.
"""

from stuntdouble.initiators.iscsi.device import IscsiDevice
from stuntdouble.initiators.iscsi.discovery import discover
from stuntdouble.initiators.iscsi.initiator import IscsiInitiator, Limits
from stuntdouble.initiators.iscsi.login import DigestUse, Who, new_isid

__all__ = ["DigestUse", "IscsiDevice", "IscsiInitiator", "Limits", "Who", "discover", "new_isid"]
