"""What the interface tells of volumes and exports, as values; what makes no sense is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from stuntdouble.errors import InvalidState

T = TypeVar("T", int, str, bool)

MIB: Final = 1 << 20  # by definition

VIRTUAL_COPY: Final = 3  # copyType, developer's guide, table 29

FAILED: Final = 3  # state, developer's guide, table 30


@dataclass(frozen=True, slots=True)
class Volume:
    """A virtual volume; ``copy_of`` is empty for what is no virtual copy."""

    name: str
    naa: str
    size_bytes: int
    read_only: bool
    copy_of: str
    failed: bool
    created_seconds: int
    kept_bytes: int

    @property
    def snapshot(self) -> bool:
        """Whether it is a point-in-time image that nobody may write to."""
        return bool(self.copy_of) and self.read_only


@dataclass(frozen=True, slots=True)
class Export:
    """A VLUN template."""

    volume: str
    naa: str
    host: str
    lun: int
    port: str


def volume_of(said: dict[str, Any]) -> Volume:
    """Return a volume."""
    name = _member(said, "name", str)
    space = said.get("snapshotSpace", {})
    return Volume(
        name,
        naa_of(_member(said, "wwn", str)),
        _member(said, "sizeMiB", int) * MIB,
        _member(said, "readOnly", bool),
        _member(said, "copyOf", str) if said.get("copyType") == VIRTUAL_COPY else "",
        said.get("state") == FAILED,
        _member(said, "creationTimeSec", int) if "creationTimeSec" in said else 0,
        _member(space, "usedMiB", int) * MIB if "usedMiB" in space else 0,
    )


def export_of(said: dict[str, Any]) -> Export:
    """Return a VLUN template."""
    at = said.get("portPos")
    port = f"{at['node']}:{at['slot']}:{at['cardPort']}" if isinstance(at, dict) else ""
    return Export(
        _member(said, "volumeName", str),
        naa_of(_member(said, "volumeWWN", str)),
        said.get("hostname", ""),
        _member(said, "lun", int),
        port,
    )


def iqns_of(said: dict[str, Any]) -> list[str]:
    """Return the initiators of a host, each once."""
    paths = said.get("iSCSIPaths", [])
    return list(dict.fromkeys(_member(path, "name", str) for path in paths))


def naa_of(wwn: str) -> str:
    """Return the NAA identifier (VPD page 83) that a WWN of 32 digits is."""
    naa = wwn.lower()
    if len(naa) != 32 or naa[0] != "6" or not set(naa) <= set("0123456789abcdef"):
        raise InvalidState(f"WWN {wwn!r}", "not 32 digits that begin with 6", "identify a LUN")
    return naa


def lun_in(location: str) -> int:
    """Return the LUN number in the location of a VLUN: ``…/vluns/volume,lun,host[,port]``."""
    parts = location.rpartition("/vluns/")[2].split(",")
    if len(parts) < 3 or not parts[1].isdigit():
        raise InvalidState("a new VLUN", f"said to be at {location!r}", "tell its LUN")
    return int(parts[1])


def _member(said: Any, name: str, kind: type[T]) -> T:
    value = said.get(name) if isinstance(said, dict) else None
    if type(value) is not kind:
        what = f"{name} of what the array tells"
        raise InvalidState(what, f"{value!r}, which is no {kind.__name__}", "understand it")
    return value
