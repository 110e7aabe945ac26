"""What is to be exported, to whom, and what came of it: values, checked where they are made."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from stuntdouble.codecs.nbd import PORT
from stuntdouble.errors import Misuse

By: TypeAlias = Literal["auto", "nbd", "fuse", "copy"]
"""How an NBD export becomes a device or a file of this machine."""

Backstore: TypeAlias = Literal["auto", "block", "fileio"]
"""Which of the kernel target's back ends reads it."""

LUN_MAX: Final = 16383
"""Flat space addressing (SAM-5, 4.7.7.3) ends there."""

SECRET_BYTES_MIN: Final = 12
"""96 bits, which RFC 7143 (12.1.3) asks of secrets where nothing else protects the login."""

SECRET_BYTES_MAX: Final = 255
"""As long as the kernel target's attribute goes."""

_IQN: Final = re.compile(r"iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9]+(?:[.-][a-z0-9]+)+(?::[!-~]+)?")
"""RFC 7143, 4.2.7.3: year and month, a domain the other way round, and what its owner likes."""

_NAA: Final = re.compile(r"6[0-9a-f]{31}")
"""NAA type 6 (SPC-5, 7.7.6.6), the one that the kernel target can show as it is told."""


@dataclass(frozen=True, slots=True)
class Chap:
    """By what an initiator proves who it is; the mutual half is how the target answers."""

    user: str
    secret: str = field(repr=False)
    mutual_user: str = ""
    mutual_secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raises: Misuse."""
        for name, text in asdict(self).items():
            if not isinstance(text, str):
                raise Misuse("CHAP", f"{name} is no text but {type(text).__name__}")
        if not self.user or bool(self.mutual_user) != bool(self.mutual_secret):
            raise Misuse("CHAP", "a user needs a secret, and a mutual user one of its own")
        for secret in filter(None, (self.secret or "-", self.mutual_secret)):
            if not SECRET_BYTES_MIN <= len(secret.encode()) <= SECRET_BYTES_MAX:
                span = f"{SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"
                raise Misuse("CHAP", f"a secret has {span}, this one {len(secret.encode())}")
        if self.secret == self.mutual_secret:
            raise Misuse("CHAP", "both sides have the same secret, which RFC 7143 forbids")
        for text in (self.user, self.secret, self.mutual_user, self.mutual_secret):
            if text != text.strip() or not text.isprintable() or text == "NULL":
                raise Misuse("CHAP", "a name or a secret that the kernel would not keep as it is")


@dataclass(frozen=True, slots=True)
class Initiator:
    """Who may see the LUN, and by what it is known."""

    iqn: str
    chap: Chap | None = None

    def __post_init__(self) -> None:
        """Raises: Misuse."""
        check_iqn(self.iqn, "initiator")


@dataclass(frozen=True, slots=True)
class Portal:
    """Where a target listens: one address of this machine, never all unless that is said."""

    host: str
    port: int = 3260  # IANA: iscsi-target

    def __post_init__(self) -> None:
        """Raises: Misuse."""
        if not self.host or not 0 < self.port < 1 << 16:
            raise Misuse("portal", f"{self.host!r} and {self.port} are no address and port")

    def __str__(self) -> str:
        return f"{self.bracketed}:{self.port}"

    @property
    def bracketed(self) -> str:
        """The host as it stands before a port."""
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class NbdSource:
    """An export of an NBD server; ``uri`` is how people write it."""

    uri: str

    def __post_init__(self) -> None:
        """Raises: Misuse."""
        parts = urlsplit(self.uri)
        if parts.scheme != "nbd" or not parts.hostname or not self.name or parts.query:
            raise Misuse(repr(self.uri), "is not nbd://HOST:PORT/EXPORT")
        try:
            _ = parts.port
        except ValueError as error:
            raise Misuse(repr(self.uri), str(error)) from None

    @property
    def name(self) -> str:
        """The export's name on its server."""
        return unquote(urlsplit(self.uri).path[1:])

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        parts = urlsplit(self.uri)
        return parts.hostname or "", parts.port or PORT

    @property
    def naa(self) -> str:
        """The identifier that the name of a LUN is made of; empty where it is none."""
        kind, _, naa = self.name.partition("/")
        return naa if kind == "lun" and _NAA.fullmatch(naa) else ""


@dataclass(frozen=True, slots=True)
class PathSource:
    """A raw file or a block device of this machine."""

    path: str

    def __post_init__(self) -> None:
        """Raises: Misuse."""
        if not Path(self.path).is_absolute() or not self.path.isprintable() or "," in self.path:
            raise Misuse(repr(self.path), "is not the absolute path of a file, without commas")

    @property
    def naa(self) -> str:
        """A file has no identifier of its own."""
        return ""


Source: TypeAlias = NbdSource | PathSource


def source(text: str) -> Source:
    """Return the source that *text* names: an NBD URL, or a path; Misuse where it is neither."""
    if "://" in text:
        return NbdSource(text)
    return PathSource(str(Path(text).absolute()))


@dataclass(frozen=True, slots=True)
class Request:
    """What to export, and how.

    Args:
        source: whose bytes.
        read_only: whether nobody may write; a promoted snapshot is what the next backup relies on.
        naa: the identifier that initiators see (VPD page 83); empty is the source's own, or one
            that is made up.
        lun: the number by which they address it.
        initiators: who may log in; for the iSCSI fabric.
        portal: where it listens; for the iSCSI fabric.
        target: its name; empty is one that shows whose it is.
        by: how an NBD export becomes a device; ``auto`` is the best that works here.
        backstore: which back end of the kernel target; ``auto`` is the one that can be read-only.
        held: whether the export is this process's, so that ``recover`` ends it after the process;
            otherwise it stays until it is ended.
    """

    source: Source
    read_only: bool = True
    naa: str = ""
    lun: int = 0
    initiators: tuple[Initiator, ...] = ()
    portal: Portal | None = None
    target: str = ""
    by: By = "auto"
    backstore: Backstore = "auto"
    held: bool = True

    def __post_init__(self) -> None:
        """Raises: Misuse."""
        if not 0 <= self.lun <= LUN_MAX:
            raise Misuse("LUN", f"{self.lun} is not 0 to {LUN_MAX}")
        if self.naa and not _NAA.fullmatch(self.naa):
            raise Misuse("NAA", f"{self.naa!r} is not a 6 and 31 more digits, a to f in lower case")
        if self.target:
            check_iqn(self.target, "target")
        names = [initiator.iqn for initiator in self.initiators]
        if len({*names}) != len(names):
            raise Misuse("initiators", "one is there twice")
        if len({initiator.chap is None for initiator in self.initiators}) > 1:
            raise Misuse("initiators", "a target asks all of them for CHAP, or none")

    @property
    def identifier(self) -> str:
        """The NAA that is wanted; empty where any will do."""
        return self.naa or self.source.naa


@dataclass(frozen=True, slots=True)
class Export:
    """What has been exported.

    Args:
        id: by which it is known; every name that it has in the kernel carries it.
        exporter: whose.
        source: whose bytes, as people write it.
        read_only: whether nobody may write.
        size_bytes: how many there are.
        naa: the identifier that initiators see; empty for a loop device, which has none.
        lun: the number of the LUN.
        device: where it is on this machine; empty for the iSCSI fabric.
        target: the target's name; empty for a loop device.
        portal: where it listens; None unless it is the iSCSI fabric.
        initiators: who may log in.
        path: what lies between: the steps, in words.
    """

    id: str
    exporter: str
    source: str
    read_only: bool
    size_bytes: int
    naa: str = ""
    lun: int = 0
    device: str = ""
    target: str = ""
    portal: Portal | None = None
    initiators: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """Who has an export open: an initiator from an address, or a process of this machine."""

    who: str
    where: str = ""


def check_iqn(text: str, what: str) -> None:
    """Make sure that *text* is an iSCSI name; Misuse if not."""
    if not _IQN.fullmatch(text) or "_" in text or len(text) > 223:  # RFC 7143, 4.2.7.1
        raise Misuse(what, f"{text!r} is not like iqn.2026-11.org.example:name")


def words(given: Source) -> str:
    """Return a source as people write it."""
    return given.uri if isinstance(given, NbdSource) else given.path
