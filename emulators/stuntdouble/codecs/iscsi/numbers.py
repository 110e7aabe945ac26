"""Numbers of RFC 7143: operations, flags, reasons, limits; the section stands beside each."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

PORT: Final = 3260  # §4.1: the port that IANA keeps for targets
HEADER_BYTES: Final = 48  # §11.2.1: the basic header segment
DIGEST_BYTES: Final = 4  # §13.1: CRC32C
AHS_WORDS_MAX: Final = 255  # §11.2.1.5: its length is counted in one byte
SEGMENT_BYTES_MAX: Final = (1 << 24) - 1  # §11.2.1.6: a data segment's length has three bytes
NAME_BYTES_MAX: Final = 223  # §4.2.7.1: of an iSCSI name
KEY_BYTES_MAX: Final = 63  # §6.1: of a key
VALUE_BYTES_MAX: Final = 8192  # §6.1: of a text value, unless its key says otherwise
LOGIN_SEGMENT_BYTES: Final = 8192  # §13.12: what a side takes before it has said otherwise
VERSION: Final = 0  # §11.12.4: the only one
NO_TAG: Final = 0xFFFF_FFFF  # §11.2.1.8, §11.5.1: the reserved value of tags

IMMEDIATE: Final = 0x40  # §11.2.1.1: beside the operation
FINAL: Final = 0x80  # §11.2.1.3; T of login (§11.12.1)
CONTINUE: Final = 0x40  # §11.10.2, §11.12.2: text goes on in the next PDU
SERIAL_BITS: Final = 32  # §4.2.2.1: sequence numbers wrap as RFC 1982 says


class Opcode(IntEnum):
    """§11.2.1.2: what a PDU is; from 0x20 on it is the target's."""

    NOP_OUT = 0x00
    SCSI_COMMAND = 0x01
    TASK_REQUEST = 0x02
    LOGIN_REQUEST = 0x03
    TEXT_REQUEST = 0x04
    DATA_OUT = 0x05
    LOGOUT_REQUEST = 0x06
    SNACK_REQUEST = 0x10
    NOP_IN = 0x20
    SCSI_RESPONSE = 0x21
    TASK_RESPONSE = 0x22
    LOGIN_RESPONSE = 0x23
    TEXT_RESPONSE = 0x24
    DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    R2T = 0x31
    ASYNC_MESSAGE = 0x32
    REJECT = 0x3F


class CommandFlag(IntFlag):
    """§11.3.1: flags of a SCSI command; the lowest three bits are the task attribute."""

    FINAL = 0x80
    READ = 0x40
    WRITE = 0x20


class Attribute(IntEnum):
    """§11.3.1: the attribute of a task."""

    UNTAGGED = 0
    SIMPLE = 1
    ORDERED = 2
    HEAD_OF_QUEUE = 3
    ACA = 4


class ResponseFlag(IntFlag):
    """§11.4.1 and §11.7.3: residuals; ACKNOWLEDGE and STATUS are Data-In's alone."""

    FINAL = 0x80
    ACKNOWLEDGE = 0x40
    BIDI_OVERFLOW = 0x10
    BIDI_UNDERFLOW = 0x08
    OVERFLOW = 0x04
    UNDERFLOW = 0x02
    STATUS = 0x01


class Response(IntEnum):
    """§11.4.3: whether the target could carry a SCSI command out at all."""

    COMPLETED = 0x00
    TARGET_FAILURE = 0x01


class TaskFunction(IntEnum):
    """§11.5.1: functions of task management."""

    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_ACA = 3
    CLEAR_TASK_SET = 4
    LUN_RESET = 5
    WARM_RESET = 6
    COLD_RESET = 7
    REASSIGN = 8


class TaskAnswer(IntEnum):
    """§11.6.1: how task management went."""

    COMPLETE = 0
    NO_TASK = 1
    NO_LUN = 2
    STILL_ALLEGIANT = 3
    NO_REASSIGNMENT = 4
    NOT_SUPPORTED = 5
    NOT_AUTHORIZED = 6
    REJECTED = 255


class Stage(IntEnum):
    """§11.12.3: stages of a login."""

    SECURITY = 0
    OPERATIONAL = 1
    FULL_FEATURE = 3


class LoginStatus(IntEnum):
    """§11.13.5: class and detail."""

    SUCCESS = 0x0000
    MOVED = 0x0101
    MOVED_FOR_GOOD = 0x0102
    INITIATOR_ERROR = 0x0200
    AUTHENTICATION_FAILURE = 0x0201
    AUTHORIZATION_FAILURE = 0x0202
    NOT_FOUND = 0x0203
    REMOVED = 0x0204
    UNSUPPORTED_VERSION = 0x0205
    TOO_MANY_CONNECTIONS = 0x0206
    MISSING_PARAMETER = 0x0207
    CANNOT_INCLUDE = 0x0208
    TYPE_NOT_SUPPORTED = 0x0209
    NO_SESSION = 0x020A
    INVALID_REQUEST = 0x020B
    TARGET_ERROR = 0x0300
    UNAVAILABLE = 0x0301
    OUT_OF_RESOURCES = 0x0302


class LogoutReason(IntEnum):
    """§11.14.1: what is to be closed."""

    SESSION = 0
    CONNECTION = 1
    RECOVERY = 2


class LogoutAnswer(IntEnum):
    """§11.15.1: how a logout went."""

    CLOSED = 0
    NO_CONNECTION = 1
    NO_RECOVERY = 2
    CLEANUP_FAILED = 3


class RejectReason(IntEnum):
    """§11.17.1: why a PDU was not taken."""

    DATA_DIGEST = 0x02
    SNACK = 0x03
    PROTOCOL_ERROR = 0x04
    NOT_SUPPORTED = 0x05
    IMMEDIATE_COMMAND = 0x06
    TASK_IN_PROGRESS = 0x07
    INVALID_DATA_ACK = 0x08
    INVALID_FIELD = 0x09
    LONG_OPERATION = 0x0A
    DEPRECATED = 0x0B
    WAITING_FOR_LOGOUT = 0x0C


class AsyncEvent(IntEnum):
    """§11.9.1: what a target says by itself."""

    SCSI = 0
    LOGOUT_REQUEST = 1
    CONNECTION_DROP = 2
    SESSION_DROP = 3
    NEGOTIATION_REQUEST = 4
    TASKS_TERMINATED = 5
    VENDOR = 255


class AhsType(IntEnum):
    """§11.2.2.2: kinds of additional header segments."""

    EXTENDED_CDB = 1
    READ_LENGTH = 2


def serial_less(left: int, right: int) -> bool:
    """Say whether a sequence number comes before another: serial arithmetic on 32 bits (RFC 1982)."""
    return 0 < (right - left) & 0xFFFF_FFFF < 1 << (SERIAL_BITS - 1)


def serial_add(number: int, count: int = 1) -> int:
    """Return the sequence number *count* further on."""
    return (number + count) & 0xFFFF_FFFF
