"""Hosts: who may see volumes, each by one or several initiators.

Volumes are mapped to a host, and every initiator of it sees the same.  An initiator belongs to one
host at most.  Configuring hosts takes no time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import InvalidState, Misuse, NotFound

if TYPE_CHECKING:
    from stuntdouble.array.core import Core

_IQN: Final = re.compile(r"iqn\.[0-9]{4}-(?:0[1-9]|1[0-2])\.[a-z0-9.-]+(?::[^\s]+)?")
_IQN_LENGTH_MAX: Final = 223  # RFC 7143, section 4.2.7.1: bytes of an iSCSI name


@dataclass(frozen=True, slots=True)
class Chap:
    """The secrets of a host (RFC 1994): its own, and what it asks of the target, "" for nothing."""

    user: str
    secret: str = field(repr=False)
    mutual_user: str = ""
    mutual_secret: str = field(default="", repr=False)


@dataclass(eq=False)
class Host:
    """Somebody with initiators.

    ``number`` counts from 0 and is never given twice; ``created`` is site time; ``notes`` is what
    somebody who presents the array wants kept with it, and nothing to the array.
    """

    name: str
    number: int
    created: float
    iqns: tuple[str, ...] = ()
    chap: Chap | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def check_iqn(initiator_iqn: str) -> None:
    """Raise Misuse unless *initiator_iqn* is an iSCSI qualified name (RFC 7143)."""
    if not _IQN.fullmatch(initiator_iqn) or len(initiator_iqn.encode()) > _IQN_LENGTH_MAX:
        raise Misuse(f"initiator {initiator_iqn!r}", "write iqn.yyyy-mm.reversed.domain:name")


class Hosts:
    """The hosts of an array, by name and by initiator."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._next = 0
        self._by_name: dict[str, Host] = {}
        self._by_iqn: dict[str, Host] = {}

    def create(self, name: str, iqns: tuple[str, ...] = ()) -> Host:
        """Return a new host.

        Raises:
            InvalidState: the name is taken, or an initiator is another host's.
            Misuse: no name for a host, or for an initiator.
        """
        self._core.check_reachable()
        self._check_name(name)
        self._check_iqns(None, name, iqns)
        host = Host(name, self._next, self._core.env.now)
        self._next += 1
        self._by_name[name] = host
        self._set(host, iqns)
        self._core.note("array-host", name, iqns=list(iqns))
        return host

    def for_iqn(self, initiator_iqn: str) -> Host:
        """Return the host that has the initiator; there is one, called host-<n>, from now on."""
        check_iqn(initiator_iqn)
        found = self._by_iqn.get(initiator_iqn)
        if found is not None:
            return found
        number = self._next
        while f"host-{number}" in self._by_name:
            number += 1
        return self.create(f"host-{number}", (initiator_iqn,))

    def get(self, name: str) -> Host:
        """Return the host of this name, or raise NotFound."""
        self._core.check_reachable()
        if name not in self._by_name:
            raise NotFound("host", name)
        return self._by_name[name]

    def by_iqn(self, initiator_iqn: str) -> Host | None:
        """Return the host that has the initiator, or None."""
        return self._by_iqn.get(initiator_iqn)

    def all(self) -> tuple[Host, ...]:
        """Return every host, in the order of their creation."""
        self._core.check_reachable()
        return tuple(self._by_name.values())

    def rename(self, name: str, new: str) -> Host:
        """Give a host another name; its mappings stay, and ``on_luns_changed`` is not called.

        Raises:
            NotFound: there is no such host.
            InvalidState: the new name is taken.
        """
        host = self.get(name)
        if new == name:
            return host
        self._check_name(new)
        self._by_name = {new if each is host else old: each for old, each in self._by_name.items()}
        host.name = new
        self._core.note("array-host-renamed", new, was=name)
        return host

    def set_iqns(self, name: str, iqns: tuple[str, ...]) -> Host:
        """Let a host have these initiators and no others: who is taken out sees nothing any more.

        Raises:
            NotFound: there is no such host.
            InvalidState: an initiator is another host's.
            Misuse: no name for an initiator, or one that is named twice.
        """
        host = self.get(name)
        self._check_iqns(host, name, iqns)
        if iqns != host.iqns:
            self._set(host, iqns)
            self._core.note("array-host-initiators", name, iqns=list(iqns))
            self._core.tell_luns_changed(host)
        return host

    def set_chap(self, name: str, chap: Chap | None) -> Host:
        """Let a host's initiators prove who they are with these secrets, or none."""
        host = self.get(name)
        host.chap = chap
        self._core.note("array-host-chap", name, wanted=chap is not None)
        return host

    def delete(self, name: str) -> None:
        """Forget a host.

        Raises:
            NotFound: there is no such host.
            InvalidState: something is mapped to it.
        """
        host = self.get(name)
        if self._core.masked_to(host):
            raise InvalidState(f"host {name}", "seeing volumes that are mapped to it", "delete it")
        del self._by_name[name]
        self._set(host, ())
        self._core.note("array-host-deleted", name)

    # Parts. --------------------------------------------------------------------------------

    def _set(self, host: Host, iqns: tuple[str, ...]) -> None:
        for iqn in host.iqns:
            del self._by_iqn[iqn]
        host.iqns = iqns
        for iqn in iqns:
            self._by_iqn[iqn] = host

    def _check_name(self, name: str) -> None:
        self._core.inventory.check_name(name)
        if name in self._by_name:
            raise InvalidState(f"host {name}", "there already", "make another of that name")

    def _check_iqns(self, host: Host | None, name: str, iqns: tuple[str, ...]) -> None:
        for iqn in iqns:
            check_iqn(iqn)
            owner = self._by_iqn.get(iqn)
            if owner is not None and owner is not host:
                state = f"an initiator of host {owner.name}"
                raise InvalidState(f"initiator {iqn}", state, f"give it to host {name}")
        if len(set(iqns)) != len(iqns):
            raise Misuse(f"initiators of host {name}", "name each only once")
