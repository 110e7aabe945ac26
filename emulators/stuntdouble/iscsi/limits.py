"""How much an initiator may ask of a target, and how long it may take to say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stuntdouble.units import KIB, MIB

SEGMENT_BYTES: Final = 256 * KIB
"""The longest data segment that is taken (MaxRecvDataSegmentLength): what initiators of the kernel
and of QEMU declare, too."""

BURST_BYTES: Final = MIB
"""The longest sequence of data (MaxBurstLength): one I/O of a backup.  Chosen."""

FIRST_BURST_BYTES: Final = 256 * KIB
"""Of a write, how much may come without being asked for (FirstBurstLength).  Chosen."""


@dataclass(frozen=True)
class Limits:
    """What one server grants.  All of it is chosen, to be far beyond what an honest client needs.

    Args:
        connections: at a time; one more is turned away at once.
        logins: connections of these that have not logged in yet.
        commands: of a session that are under way at a time: the window of CmdSN.
        immediate: of these, commands that go ahead of the order; one more is rejected.
        text_bytes: of one negotiation, or one exchange of text.
        ahead_bytes: data of a session's requests that wait for one before them, which on a single
            connection no honest initiator leaves out; who sends more is let go.
        write_bytes: data of writes that are held in memory, over all connections; who would need
            more is answered TASK SET FULL.
        read_bytes: what reads that take their time will come to, over all connections; once it is
            that much, reads are answered TASK SET FULL.
        output_bytes: what waits to be sent to one initiator before no more of it is listened to.
        login_seconds: wall time that a login may take.
        stall_seconds: wall time for which an initiator may take nothing of what waits for it.
        ping_seconds: wall time without a word after which an initiator is asked whether it is
            there; as long again without an answer, and its connection is closed.
    """

    connections: int = 64
    logins: int = 32
    commands: int = 128
    immediate: int = 16
    text_bytes: int = 64 * KIB
    ahead_bytes: int = MIB
    write_bytes: int = 256 * MIB
    read_bytes: int = 256 * MIB
    output_bytes: int = MIB
    login_seconds: float = 15.0
    stall_seconds: float = 60.0
    ping_seconds: float = 30.0


WANTED: Final[dict[str, str]] = {
    "HeaderDigest": "None,CRC32C",
    "DataDigest": "None,CRC32C",
    "MaxConnections": "1",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": str(SEGMENT_BYTES),
    "MaxBurstLength": str(BURST_BYTES),
    "FirstBurstLength": str(FIRST_BURST_BYTES),
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "1",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "ErrorRecoveryLevel": "0",
    "TaskReporting": "RFC3720",
    "iSCSIProtocolLevel": "1",
}
"""What the target wants of each key.  A connection that breaks takes its session along: so nothing
is retained, and errors are not recovered from below it."""
