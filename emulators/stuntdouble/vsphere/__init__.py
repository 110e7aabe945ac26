"""vim25, the interface of a vSphere hypervisor: how what it does is said on the wire.

Needs the extra ``vsphere``.  One dispatcher stands behind the door over HTTP and the one in process.
"""

from __future__ import annotations

from stuntdouble.vsphere.center import Setting, VirtualCenter
from stuntdouble.vsphere.dispatch import Answer, Dispatcher
from stuntdouble.vsphere.local import LocalStub, blocking, connect
from stuntdouble.vsphere.server import VsphereEndpoint
from stuntdouble.vsphere.sessions import Session, User

__all__ = [
    "Answer",
    "Dispatcher",
    "LocalStub",
    "Session",
    "Setting",
    "User",
    "VirtualCenter",
    "VsphereEndpoint",
    "blocking",
    "connect",
]
