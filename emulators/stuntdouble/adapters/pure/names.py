"""From names that a backup gives to names that a FlashArray takes, always the same way.

An array takes letters, digits and hyphens, 63 of them, with a letter or hyphen among them; in the
names of volumes underscores too.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

LENGTH_MAX: Final = 63
_DIGEST_CHARACTERS: Final = 10  # of SHA-256: 40 bits tell apart what a job names
_SUFFIX: Final = re.compile(r"(?=.*[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_VOLUME: Final = re.compile(r"(?=.*[A-Za-z_-])[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")


def volume_name(name: str) -> str:
    """Return what a volume is called on the array.

    A name that the array takes stays; another becomes readable, and unique by a digest.
    """
    return _kept(name, _VOLUME)


def suffix_name(name: str) -> str:
    """Return what stands behind the dot of a snapshot's name on the array."""
    return _kept(name, _SUFFIX)


def _kept(name: str, rule: re.Pattern[str]) -> str:
    if rule.fullmatch(name) and len(name) <= LENGTH_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    readable = readable[: LENGTH_MAX - _DIGEST_CHARACTERS - 1].rstrip("-") or "n"
    return f"{readable}-{digest}"


def host_name(initiator_iqn: str) -> str:
    """Return what a host is called that is made for an initiator."""
    digest = hashlib.sha256(initiator_iqn.encode()).hexdigest()
    return f"{OWN_HOSTS}{digest[:16]}"


OWN_HOSTS: Final = "sd-host-"
"""How the hosts begin that were made here, and may be forgotten when they see nothing."""
