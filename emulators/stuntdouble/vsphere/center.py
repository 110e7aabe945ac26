"""A vCenter: everything that one of them holds, and the names that it gives to emulated things."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from stuntdouble.trace import stream_key
from stuntdouble.vsphere.changed import Changes
from stuntdouble.vsphere.objects import Managed
from stuntdouble.vsphere.paths import declared_at, is_set, value_at
from stuntdouble.vsphere.reply import property_xml, value_xml
from stuntdouble.vsphere.sessions import Sessions, User
from stuntdouble.vsphere.versions import find_version
from stuntdouble.vsphere.vmomi import ManagedObject, moid, vmodl

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from stuntdouble.hypervisor import Hypervisor
    from stuntdouble.vsphere.sessions import Session

M = TypeVar("M", bound=Managed)

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""What the calendar says when site time is 0, where nobody says otherwise.  Chosen."""

KEPT_MAX: Final = 200_000
"""Values of properties that are kept, and texts.  Chosen: 10,000 VMs with twenty paths each."""


def _own_patience(center: VirtualCenter) -> float:
    return center.hypervisor.host.env.now


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Let it not happen."""
        ...


@dataclass(kw_only=True)
class Setting:
    """How a vCenter presents itself.

    Args:
        users: who can log in.
        version: the highest version that it speaks, as pyVmomi names it.
        epoch: calendar time of site time 0.
        secret: draws so many hexadecimal digits for keys that clients must not guess.  In virtual
            time they come from a named stream, so that a run can be repeated.
        patience: seconds of the clock by which clients are waited for: wall time, where they are
            outside.
        patience_to_site: seconds of the site in so many of that clock, as its rate is now.
        call_later: calls back after seconds of that clock; the running loop's, where it is None.
        page_objects_max: objects in one answer of RetrievePropertiesEx at most.  Chosen.
        options: what QueryOptions tells, by name; such as where other endpoints are.
    """

    users: tuple[User, ...] = (User("administrator@vsphere.local", "stuntdouble"),)
    version: str = field(default_factory=find_version)
    epoch: datetime = EPOCH
    secret: Callable[[int], str] | None = None
    patience: Callable[[], float] | None = None
    patience_to_site: Callable[[float], float] = field(default=lambda seconds: seconds)
    call_later: Callable[[float, Callable[[], object]], Timer] | None = None
    page_objects_max: int = 1000
    options: Mapping[str, str] = field(default_factory=dict)


class VirtualCenter:
    """An emulated vCenter over one hypervisor.

    ``calling`` is the session whose call is being served, ``speaking`` the version of its client.
    ``changes`` tells waiting clients what
    has changed.  ``base_url`` is where files are, with ``*`` for the host, and ``thumbprint`` that of
    the certificate there (SHA-1, as the API has it).  ``on_file`` is told of each file that is written
    over HTTP (datastore, path, bytes) or deleted (no bytes), right before it is.
    """

    def __init__(self, hypervisor: Hypervisor, setting: Setting | None = None) -> None:
        # The classes of managed objects need the center's type, and it needs them.
        from stuntdouble.vsphere import roots  # noqa: PLC0415

        self.hypervisor = hypervisor
        self.setting = setting or Setting()
        self.sessions = Sessions(self, self.setting.users)
        self.tickets: dict[str, Session] = {}
        self.passes: dict[str, tuple[Session, str, str]] = {}
        self.calling: Session | None = None
        self.speaking = self.setting.version
        self.changes = Changes(self)
        self.on_file: Callable[[str, str, bytes | None], object] | None = None
        self.base_url, self.thumbprint = "https://*", ""
        self._by_moid: dict[str, Managed] = {}
        self._by_thing: dict[Hashable, Managed] = {}
        self._texts: dict[tuple[Managed, str, str], tuple[Hashable, str]] = {}
        self._values: dict[tuple[Managed, str], tuple[Hashable, Any]] = {}
        self._numbers: dict[str, int] = {}
        self._swept = 0
        self._stream = hypervisor.host.streams["vsphere"]
        self.roots = roots.Roots(self)
        self.tasks = self.roots.tasks
        self.events = self.roots.events
        self.roots.enroll()

    # Time and names. -------------------------------------------------------------------------

    @property
    def env(self) -> Any:
        """The clock and queue of events."""
        return self.hypervisor.host.env

    def now(self) -> datetime:
        """Return calendar time."""
        return self.when(self.env.now)

    def when(self, seconds: float) -> datetime:
        """Return the calendar time of an instant of site time."""
        return self.setting.epoch + timedelta(seconds=seconds)

    def patience_now(self) -> float:
        """Return the time by which clients are waited for, in seconds."""
        return self.setting.patience() if self.setting.patience else float(self.env.now)

    def when_patience(self, seconds: float) -> datetime:
        """Return the calendar time of an instant of that clock, as far as both go alike."""
        ago = self.setting.patience_to_site(self.patience_now() - seconds)
        return self.when(self.env.now - ago)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back once a client has waited for *seconds*."""
        if self.setting.call_later is not None:
            return self.setting.call_later(seconds, callback)
        return asyncio.get_running_loop().call_later(seconds, callback)

    def secret(self, digits: int) -> str:
        """Return a key that is not to be guessed."""
        draw = self.setting.secret or self.hypervisor.host.streams["vsphere", "keys"].hex
        return draw(digits)

    def number(self, sort: str) -> int:
        """Return a number that nothing of this *sort* was given before.

        Sorts count apart, so that what only reads does not shift the names of what is changed.
        """
        self._numbers[sort] = self._numbers.get(sort, 1000) + 1
        return self._numbers[sort]

    def uuid(self, *names: str) -> str:
        """Return the UUID of a thing: the same whenever it is asked for under one seed."""
        seed = self.hypervisor.host.streams.seed
        digits = "".join(f"{stream_key(seed, 'uuid', half, *names):016x}" for half in ("0", "1"))
        return "-".join(digits[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))

    # The directory. --------------------------------------------------------------------------

    def add(self, made: M) -> M:
        """Enter an object, so that clients can name it."""
        self._by_moid[made.moid] = made
        return made

    def remove(self, gone: Managed) -> None:
        """Take an object out; clients that name it hear that it has been deleted."""
        self._by_moid.pop(gone.moid, None)

    def of(
        self,
        thing: Hashable,
        kind: Callable[[VirtualCenter, str, Any], M],
        stem: str,
        wanted: str = "",
    ) -> M:
        """Return the object that stands for an emulated thing; it is made when first asked for.

        Its identifier is the *wanted* one where nobody else has it, else *stem* and a number.
        """
        found = self._by_thing.get(thing)
        if found is None:
            name = f"{stem}-{self.number(stem)}"
            if wanted and wanted not in self._by_moid:
                name = wanted
            found = self._by_thing[thing] = self.add(kind(self, name, thing))
        return found  # type: ignore[return-value]  # one thing has objects of one class

    def known(self, thing: Hashable) -> Managed | None:
        """Return the object that stands for an emulated thing, None where there is none yet."""
        return self._by_thing.get(thing)

    def forget(self, thing: Hashable) -> None:
        """Let go of the object that stands for a thing that is no more."""
        found = self._by_thing.pop(thing, None)
        if found is not None:
            self.remove(found)

    def sweep(self) -> None:
        """Let go of objects whose things are no more, and of what was kept of them.

        Not while something is being told of: whoever hears of an end asks for what has ended.
        """
        if self._swept == self.changes.structure:
            return
        self._swept = self.changes.structure
        gone = [thing for thing, managed in self._by_thing.items() if managed.gone()]
        for thing in gone:
            managed = self._by_thing[thing]
            self.forget(thing)
            self.changes.forget(managed)

    def resolve(self, ref: Any) -> Managed:
        """Return the object that a client names.

        Raises:
            vmodl.fault.ManagedObjectNotFound: there is none, or none any more.
        """
        name = moid(ref)
        found = self._by_moid.get(name)
        if found is None and self.calling is not None:
            found = self.calling.own.get(name)
        if found is None:
            self.roots.enroll()  # somebody may know it who has never asked this server for it
            found = self._by_moid.get(name)
        if found is None or not found.alive() or not isinstance(found.ref, _kind_of(ref)):
            raise vmodl.fault.ManagedObjectNotFound(
                obj=ref,
                msg=f"The object '{type(ref).__name__}:{name[:80]}' has already been deleted or has"
                " not been completely created",
            )
        return found

    def resolve_as(self, ref: Any, kind: type[M], argument: str) -> M:
        """Return the object that an argument names, InvalidArgument where it is of another kind."""
        found = self.resolve(ref) if ref is not None else None
        if not isinstance(found, kind):
            raise vmodl.fault.InvalidArgument(
                invalidProperty=argument,
                msg=f"A specified parameter was not correct: {argument}",
            )
        return found

    def has(self, ref: Any) -> bool:
        """Say whether there is the object that a client names."""
        try:
            self.resolve(ref)
        except vmodl.fault.ManagedObjectNotFound:
            return False
        return True

    def property_of(self, managed: Managed, path: str) -> Any:
        """Return what a property path leads to; what has not changed is not made again.

        Raises:
            vmodl.query.InvalidProperty: there is no such property.
            vmodl.fault.NotSupported: it is not emulated.
        """
        stamp = managed.stamp(path.partition(".")[0].partition("[")[0])
        if stamp is None:
            return value_at(managed, path)
        kept = self._values.get((managed, path))
        if kept is None or kept[0] != stamp:
            value = value_at(managed, path)
            kept = _room(self._values)[managed, path] = stamp, value
        return kept[1]

    def text_of(self, managed: Managed, path: str) -> str:
        """Return a property as it stands in an answer, empty where it is unset.

        It is written for the version that the present caller speaks, and kept while it is true.
        """
        stamp = managed.stamp(path.partition(".")[0].partition("[")[0])
        if stamp is None:
            return self._write(managed, path)
        place = (managed, path, self.speaking)
        kept = self._texts.get(place)
        if kept is None or kept[0] != stamp:
            kept = _room(self._texts)[place] = stamp, self._write(managed, path)
        return kept[1]

    def _write(self, managed: Managed, path: str) -> str:
        value = value_at(managed, path)
        if not is_set(value):
            return ""
        declared = declared_at(managed.kind, path)
        return property_xml(path, value_xml(value, declared, self.speaking))

    def everything(self) -> Iterator[Managed]:
        """Yield every object but those of sessions."""
        return iter(list(self._by_moid.values()))


def _room(kept: dict[Any, Any]) -> dict[Any, Any]:
    """Return a store of values that can be made again, emptied where it is full."""
    if len(kept) >= KEPT_MAX:
        kept.clear()
    return kept


def _kind_of(ref: Any) -> type[Any]:
    """Return the type by which a client names an object; any, where it says no more than that."""
    named: type[Any] = type(ref)
    return object if named is ManagedObject else named
