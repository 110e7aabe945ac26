"""An iSCSI target (RFC 7143): the units of a SCSI device server to standard initiators.

Sessions have one connection and do not outlive it (ErrorRecoveryLevel 0), so nothing is kept for
initiators that may come back, and nothing is sent twice.
"""

from stuntdouble.iscsi.connection import Connection
from stuntdouble.iscsi.limits import Limits
from stuntdouble.iscsi.server import Server
from stuntdouble.iscsi.sessions import Node, Runner, Running, Session, Target

__all__ = [
    "Connection",
    "Limits",
    "Node",
    "Runner",
    "Running",
    "Server",
    "Session",
    "Target",
]
