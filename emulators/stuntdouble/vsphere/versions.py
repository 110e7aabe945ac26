"""Which versions of vim25 there are, and which one a client and this server speak.

A client reads ``vimServiceVersions.xml``, chooses the newest version that both know, and names it
in the ``SOAPAction`` of each request: ``"urn:vim25/8.0.3.0"``.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from stuntdouble.errors import Misuse
from stuntdouble.vsphere.vmomi import VIM25, support

__all__ = ["NEWEST", "find_version", "negotiate", "service_versions", "version_id"]

NEWEST = "8.0.3.0"
"""The newest version that is spoken unless told otherwise: that of the pinned clients' vCenter."""

_ACTION = re.compile(r'"?\s*urn:vim25/([0-9]{1,4}(?:\.[0-9]{1,4}){0,3})[^"]*"?')
_PARTS = 4


def _numbers(identifier: str) -> tuple[int, ...]:
    """Return the parts of a version as numbers, so that 7.0 and 7.0.0.0 are the same."""
    parts = [int(part) for part in re.findall("[0-9]+", identifier)]
    return tuple((parts + [0] * _PARTS)[:_PARTS])


@cache
def _versions() -> tuple[tuple[tuple[int, ...], str, str], ...]:
    """Return (numbers, identifier, version) of every version that was released, oldest first."""
    service = support.GetServiceVersions(VIM25.removeprefix("urn:"))
    found = [(support.versionIdMap[version], version) for version in service]
    return tuple(
        sorted(
            (_numbers(identifier), identifier, version)
            for identifier, version in found
            if identifier[:1].isdigit()
        )
    )


@cache
def find_version(identifier: str = NEWEST) -> str:
    """Return the version of that number, or the newest before it, as pyVmomi names it.

    Raises:
        Misuse: It is no number of a version, or older than all.
    """
    wanted = _numbers(identifier) if re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}", identifier) else ()
    older = [version for numbers, _, version in _versions() if wanted and numbers <= wanted]
    if not older:
        first, last = _versions()[0][1], _versions()[-1][1]
        raise Misuse("version of vim25", f"{identifier!r} is none from {first} to {last}")
    return older[-1]


def version_id(version: str) -> str:
    """Return the number of a version, as it stands on the wire."""
    found: str = support.versionIdMap[version]
    return found


@cache
def service_versions(newest: str) -> str:
    """Return the text of ``vimServiceVersions.xml`` for a server whose newest version is `newest`."""
    known = [
        identifier
        for _, identifier, version in reversed(_versions())
        if version in support.parentMap[newest] or version == newest
    ]
    prior = "".join(f"<version>{identifier}</version>" for identifier in known[1:])
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<namespaces version="1.0"><namespace>'
        f"<name>{VIM25}</name><version>{known[0]}</version>"
        f"<priorVersions>{prior}</priorVersions></namespace></namespaces>\n"
    )


@lru_cache(maxsize=64)  # each client says the same with each request
def negotiate(soap_action: str, newest: str) -> str:
    """Return the version in which to answer a request.

    It is the one that the client names, or the newest before it that is known here, and never
    newer than `newest`.  A client that names none is taken to know them all.
    """
    named = _ACTION.fullmatch(soap_action.strip())
    if not named:
        return newest
    top = _numbers(version_id(newest))
    wanted = min(_numbers(named[1]), top)
    older = [version for numbers, _, version in _versions() if numbers <= wanted]
    return older[-1] if older else _versions()[0][2]
