"""Our clients of protocols that carry blocks: devices behind ``ports.BlockDevice``.

    nbd      any export of any server                        ``connect``
    iscsi    LUNs, from user space                           ``IscsiInitiator``
    kernel   LUNs, by way of open-iscsi                      ``KernelInitiator``
    local    disks that the kernel shows, and files          ``LocalInitiator``, ``LocalDevice``

They know ports and codecs, and nothing of what they read from.  Names are loaded when they are used:
``kernel`` and ``local`` need the standard library alone, ``iscsi`` the extra of that name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stuntdouble.initiators.iscsi import DigestUse, IscsiDevice, IscsiInitiator, Limits
    from stuntdouble.initiators.iscsiadm import Iscsiadm
    from stuntdouble.initiators.kernel import KernelDevice, KernelInitiator
    from stuntdouble.initiators.local import LocalDevice, LocalInitiator
    from stuntdouble.initiators.nbd import NbdDevice, connect

__all__ = [
    "DigestUse",
    "IscsiDevice",
    "IscsiInitiator",
    "Iscsiadm",
    "KernelDevice",
    "KernelInitiator",
    "Limits",
    "LocalDevice",
    "LocalInitiator",
    "NbdDevice",
    "connect",
]

_HOMES = {
    "DigestUse": "iscsi",
    "IscsiDevice": "iscsi",
    "IscsiInitiator": "iscsi",
    "Iscsiadm": "iscsiadm",
    "KernelDevice": "kernel",
    "KernelInitiator": "kernel",
    "Limits": "iscsi",
    "LocalDevice": "local",
    "LocalInitiator": "local",
    "NbdDevice": "nbd",
    "connect": "nbd",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
