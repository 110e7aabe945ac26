"""The numbers of NBD, and how long a message may be.

Section names are those of the protocol document, ``doc/proto.md`` of NetworkBlockDevice/nbd.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from stuntdouble.units import KIB, MIB

PORT: Final = 10809
"""The port that IANA has assigned to NBD ("URIs", ``doc/uri.md``)."""

# "Newstyle negotiation", "Option haggling" and "Transmission": the magic numbers.
GREETING_MAGIC: Final = 0x4E42444D41474943
OPTION_MAGIC: Final = 0x49484156454F5054
OPTION_REPLY_MAGIC: Final = 0x3E889045565A9
REQUEST_MAGIC: Final = 0x25609513
SIMPLE_REPLY_MAGIC: Final = 0x67446698
STRUCTURED_REPLY_MAGIC: Final = 0x668E33EF

STRING_BYTES_MAX: Final = 4096
"""No string may be longer ("Values", on strings)."""

OPTION_BYTES_MAX: Final = 64 * KIB
"""The most data of an option that is parsed; a name and fifteen queries of full length.  Chosen."""

REQUEST_BYTES_MAX: Final = 32 * MIB
"""The longest read or write, advertised as maximum block size: what the section "Block size
constraints" says must never be taken for an attack."""

GREETING_BYTES: Final = 18  # two magic numbers and the handshake flags: "Newstyle negotiation"

ZEROES_BYTES: Final = 124  # after the reply to EXPORT_NAME, unless declined: "Newstyle negotiation"

BASE_ALLOCATION: Final = "base:allocation"
"""The one context that the document defines ("The base: metadata namespace")."""

CONTEXT_DIRTY: Final = "qemu:dirty-bitmap:"
"""What a dirty bitmap's context begins with (``docs/interop/nbd.txt`` of QEMU)."""


class HandshakeFlag(IntFlag):
    """Section "Handshake flags"."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class ClientFlag(IntFlag):
    """Section "Client flags"."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class TransmissionFlag(IntFlag):
    """Section "Transmission flags"."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_FUA = 1 << 3
    ROTATIONAL = 1 << 4
    SEND_TRIM = 1 << 5
    SEND_WRITE_ZEROES = 1 << 6
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8


class Option(IntEnum):
    """Section "Option types"."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Reply(IntEnum):
    """Section "Option reply types"; errors have bit 31 set."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = (1 << 31) + 1
    ERR_POLICY = (1 << 31) + 2
    ERR_INVALID = (1 << 31) + 3
    ERR_PLATFORM = (1 << 31) + 4
    ERR_TLS_REQD = (1 << 31) + 5
    ERR_UNKNOWN = (1 << 31) + 6
    ERR_SHUTDOWN = (1 << 31) + 7
    ERR_BLOCK_SIZE_REQD = (1 << 31) + 8
    ERR_TOO_BIG = (1 << 31) + 9


class Info(IntEnum):
    """What ``Reply.INFO`` is about ("Option reply types")."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class Command(IntEnum):
    """Section "Request types"."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """Section "Command flags"."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3
    FAST_ZERO = 1 << 4


class ReplyFlag(IntFlag):
    """Section "Structured reply flags"."""

    DONE = 1 << 0


class ReplyType(IntEnum):
    """Section "Structured reply types"; errors have bit 15 set."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = (1 << 15) + 1
    ERROR_OFFSET = (1 << 15) + 2


class Errno(IntEnum):
    """Section "Error values"."""

    OK = 0
    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108


class State(IntFlag):
    """Flags of ``base:allocation`` ("base:allocation metadata context")."""

    HOLE = 1 << 0
    ZERO = 1 << 1


class Dirty(IntFlag):
    """Flags of a dirty bitmap's context (``docs/interop/nbd.txt`` of QEMU)."""

    DIRTY = 1 << 0
