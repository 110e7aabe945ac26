"""What may be done with hosts, and connecting volumes to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Chap, Volume
from stuntdouble.arrayapi.pure.names import check_name
from stuntdouble.arrayapi.pure.refusals import Refusal, clash, gone, missing, taken
from stuntdouble.errors import InvalidState, LunInUse, Misuse

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from simpy.events import Event

    from stuntdouble.array import Host
    from stuntdouble.arrayapi.pure.estate import Estate

LUN_MIN: Final = 1  # the lowest that this vendor gives
LUN_MAX: Final = 4095  # "valid values are between 1 and 4095", Purity//FA REST API guide

PERSONALITY: Final = "pure.personality"  # of a host
PERSONALITIES: Final = (
    "aix", "esxi", "hitachi-vsp", "hpux", "oracle-vm-server", "solaris", "vms",
)  # fmt: skip

IQNS_MAX: Final = 1024  # of a host; chosen


@dataclass(frozen=True, slots=True)
class Connection:
    """A volume that a host sees."""

    host: Host
    volume: Volume
    lun: int


@dataclass(frozen=True, slots=True)
class Secrets:
    """Parts of a host's CHAP secrets that a request sets; None leaves a part, "" takes it away."""

    host_user: str | None = None
    host_password: str | None = None
    target_user: str | None = None
    target_password: str | None = None


class Hosts:
    """Operations on hosts; those that take time are SimPy generators."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate

    def create(self, name: str, iqns: Sequence[str]) -> Host:
        """Make a host."""
        check_name("Host", name)
        if any(host.name.casefold() == name.casefold() for host in self._estate.hosts()):
            raise taken("Host", name)
        self._check_iqns(None, iqns)
        return self._estate.array.hosts.create(name, tuple(iqns))

    def rename(self, name: str, new: str) -> Host:
        """Call a host something else."""
        host = self._estate.host(name)
        if new == host.name:
            return host
        check_name("Host", new)
        if any(each is not host and each.name.casefold() == new.casefold()
               for each in self._estate.hosts()):  # fmt: skip
            raise taken("Host", new)
        return self._estate.array.hosts.rename(host.name, new)

    def set_iqns(self, name: str, iqns: Sequence[str]) -> Host:
        """Let a host have these initiators."""
        host = self._estate.host(name)
        self._check_iqns(host, iqns)
        return self._estate.array.hosts.set_iqns(host.name, tuple(iqns))

    def add_iqns(self, name: str, more: Sequence[str], fewer: Sequence[str]) -> Host:
        """Let a host have further initiators, and others no more."""
        host = self._estate.host(name)
        for iqn in fewer:
            if iqn not in host.iqns:
                raise missing("IQN", iqn)
        kept = [iqn for iqn in host.iqns if iqn not in fewer]
        for iqn in more:
            if iqn in kept:
                raise _in_use(iqn)
        return self.set_iqns(name, [*kept, *more])

    def set_personality(self, name: str, personality: str) -> Host:
        """Keep what a host says it is; the array behaves the same to all of them."""
        host = self._estate.host(name)
        if personality and personality not in PERSONALITIES:
            raise Refusal("Invalid host personality.", personality)
        if personality:
            host.notes[PERSONALITY] = personality
        else:
            host.notes.pop(PERSONALITY, None)
        return host

    def set_secrets(self, name: str, wanted: Secrets) -> Host:
        """Let a host's initiators, and the target, prove who they are."""
        host = self._estate.host(name)
        now = host.chap or Chap("", "")
        chap = Chap(
            _either(wanted.host_user, now.user),
            _either(wanted.host_password, now.secret),
            _either(wanted.target_user, now.mutual_user),
            _either(wanted.target_password, now.mutual_secret),
        )
        if bool(chap.user) is not bool(chap.secret):
            raise clash("host_user, host_password")
        if bool(chap.mutual_user) is not bool(chap.mutual_secret):
            raise clash("target_user, target_password")
        if chap.mutual_user and not chap.user:
            raise clash("target_user without host_user")
        for secret in (chap.secret, chap.mutual_secret):
            if secret and not 12 <= len(secret.encode()) <= 255:  # RFC 7143, 12.1.3: 96 bits
                raise Refusal("CHAP password must be between 12 and 255 characters.", name)
        return self._estate.array.hosts.set_chap(host.name, chap if chap.user else None)

    def delete(self, name: str) -> None:
        """Forget a host that sees nothing."""
        host = self._estate.host(name)
        if self.connections(host=host):
            raise Refusal("Host cannot be deleted due to existing connections.", name)
        self._estate.array.hosts.delete(host.name)

    # Connections. --------------------------------------------------------------------------

    def connections(
        self, host: Host | None = None, volume: Volume | None = None
    ) -> list[Connection]:
        """Return who sees which volume, of one host or one volume where they are given.

        A snapshot that another interface has mapped is no connection of this vendor.
        """
        masking = self._estate.array.masking
        return [
            Connection(each, seen, lun)
            for each in (self._estate.hosts() if host is None else (host,))
            for lun, seen in masking.luns_of(each).items()
            if volume is None or seen is volume
            if self._estate.array.inventory.volumes.get(seen.name) is seen
        ]

    def connect(
        self, host_name: str, volume_name: str, lun: int | None
    ) -> Generator[Event, Any, Connection]:
        """Let a host see a volume, at a LUN number or the lowest free one from 1 on."""
        estate = self._estate
        host = estate.host(host_name)
        if estate.find_volume(volume_name) is None and estate.find_snapshot(volume_name):
            raise Refusal("Snapshots cannot be connected to hosts.", volume_name)
        volume = estate.live_volume(volume_name)
        most = min(LUN_MAX, estate.array.parameters.lun_max)
        if lun is not None and not LUN_MIN <= lun <= most:
            raise Refusal(f"LUN must be between {LUN_MIN} and {most}.", volume_name)
        while True:
            if self.connections(host, volume):
                raise Refusal("Connection already exists.", volume_name)
            number = self._free(host, most, volume_name) if lun is None else lun
            try:
                made = yield from estate.array.map_to_host(volume.name, host.name, number)
            except LunInUse:
                if lun is not None:
                    raise Refusal("The LUN is already in use.", volume_name) from None
                continue  # somebody was quicker
            except InvalidState:
                raise Refusal("Connection already exists.", volume_name) from None
            if estate.destroyed_at(volume) is not None:  # meanwhile
                yield from estate.array.unmap_from_host(volume.name, host.name)
                raise gone("Volume", volume_name)
            return Connection(host, volume, made.lun)

    def disconnect(self, host_name: str, volume_name: str) -> Generator[Event, Any, None]:
        """Let a host see a volume no more."""
        host, volume = self._estate.host(host_name), self._estate.volume(volume_name)
        if not self.connections(host, volume):
            raise Refusal("Connection does not exist.", volume_name)
        yield from self._estate.array.unmap_from_host(volume.name, host.name)

    # Parts. --------------------------------------------------------------------------------

    def _free(self, host: Host, most: int, context: str) -> int:
        taken_ = self._estate.array.masking.luns_of(host)
        found = next((n for n in range(LUN_MIN, most + 1) if n not in taken_), None)
        if found is None:
            raise Refusal("No LUN is available.", context)
        return found

    def _check_iqns(self, host: Host | None, iqns: Sequence[str]) -> None:
        if len(iqns) > IQNS_MAX:
            raise Refusal(f"A host has at most {IQNS_MAX} IQNs.", "iqns")
        hosts = self._estate.array.hosts
        for iqn in iqns:
            try:
                self._estate.array.masking.check_iqn(iqn)
            except Misuse:
                raise Refusal("Invalid IQN.", iqn) from None
            owner = hosts.by_iqn(iqn)
            if (owner is not None and owner is not host) or list(iqns).count(iqn) > 1:
                raise _in_use(iqn)


def _in_use(iqn: str) -> Refusal:
    return Refusal("The specified IQN is already in use.", iqn)


def _either(wanted: str | None, now: str) -> str:
    return now if wanted is None else wanted
