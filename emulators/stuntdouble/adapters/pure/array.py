"""A FlashArray behind ``ports.Array``.

    port                       array
    create_snapshots(naas, n)  POST volume-snapshots?source_names=… {"suffix": n}, in one instant
    promote(s, n)              POST volumes?names=n {"source": s}: a snapshot cannot be connected;
                               tags that say what it is; demoted, so that it takes no writes
    map_volume(v, iqn)         the host that has the IQN, or a new one; POST connections
    unmap_volume               DELETE connections; the new host as well, once it sees nothing
    delete_…                   destroyed, and eradicated at once: the name is free again

*Promotion* means a copy here, and not what this vendor calls so: a volume that takes no writes is
"demoted" for it.  Names that the array would not take become others (see ``names``); what the
backup called a copy is told by its tag.

What is to be made is looked for before and after: an answer that is lost after the array has done
its work is made up for by looking, and what was there before is never taken for one's own.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.adapters.pure.names import OWN_HOSTS, host_name, suffix_name, volume_name
from stuntdouble.adapters.pure.problems import PureRefusal
from stuntdouble.errors import Error, Interrupted, InvalidState, Lost, NotFound
from stuntdouble.ports import ArraySnapshot, Mapping, VolumeInfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from stuntdouble.adapters.pure.client import PureClient

    Item = dict[str, Any]

OUI: Final = "624a9370"
"""How this vendor's NAA identifiers begin; the serial number follows (VPD page 83)."""

SPACE: Final = "stuntdouble"
"""Namespace of the tags by which a copy is known again."""

_TRIES: Final = 3  # of a request whose answer is lost; chosen
_NOT_THERE: Final = ("does not exist", "No such volume or snapshot")
_TAG_NAMES_MAX: Final = 50  # volumes asked for at once, in a URL; chosen


class PureArray:
    """Implements ``ports.Array`` by REST 2 of a Pure Storage FlashArray.

    Args:
        client: of the array.
        epoch: the moment that ``ArraySnapshot.created`` counts from, in seconds since 1970.
    """

    def __init__(self, client: PureClient, epoch: float = 0.0) -> None:
        self._client = client
        self._epoch = epoch

    # Looking. ----------------------------------------------------------------------------------

    async def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume that is not destroyed."""
        return await self._infos(await self._listed("volumes", destroyed="false"))

    async def snapshots(self) -> tuple[ArraySnapshot, ...]:
        """Return every array snapshot; one that is destroyed is no longer valid."""
        return tuple(map(self._snapshot, await self._listed("volume-snapshots")))

    async def mappings(self) -> tuple[Mapping, ...]:
        """Return every mapping: of each initiator of a host."""
        hosts = await self._listed("hosts")
        return await self._mappings(hosts, await self._listed("connections"))

    async def prepare(self, naas: tuple[str, ...]) -> int:
        """Make ready for a snapshot of the volumes: this array has nothing to copy for it."""
        await self._names(naas)
        return 0

    # Snapshots. --------------------------------------------------------------------------------

    async def create_snapshots(self, naas: tuple[str, ...], name: str) -> tuple[ArraySnapshot, ...]:
        """Snapshot the volumes in one instant; each is called after its volume, then *name*.

        Raises:
            NotFound: a volume is not there.
            InvalidState: a volume has a snapshot of this name.
        """
        volumes, suffix = await self._names(naas), suffix_name(name)
        sources = ",".join(volumes)

        async def create() -> list[Item]:
            body = {"suffix": suffix}
            return await self._change("POST", "volume-snapshots", body, source_names=sources)

        async def find() -> list[Item]:
            listed = await self._listed("volume-snapshots", source_names=sources)
            return [item for item in listed if item.get("suffix") == suffix]

        made = await self._made(create, find, f"array snapshot {name}", len(volumes))
        with _sense("volume-snapshots"):
            by_volume = {item["source"]["name"]: self._snapshot(item) for item in made}
        if set(by_volume) != set(volumes):  # something was made: let the caller look for it
            raise Interrupted(f"array snapshot {name} of {sources}")
        return tuple(by_volume[volume] for volume in volumes)

    async def delete_snapshot(self, snapshot: str) -> None:
        """Destroy and eradicate an array snapshot; idempotent.

        What was copied from it stays: copies are independent on this array.
        """
        await self._end("volume-snapshots", snapshot)

    # Copies. -----------------------------------------------------------------------------------

    async def promote(self, snapshot: str, name: str, *, read_only: bool = True) -> VolumeInfo:
        """Make *snapshot* a volume *name* with an identity of its own.

        Raises:
            NotFound: there is no such snapshot.
            InvalidState: it is destroyed, or there is such a volume.
        """
        called = volume_name(name)

        async def create() -> list[Item]:
            body = {"source": {"name": snapshot}}
            return await self._change("POST", "volumes", body, names=called)

        async def find() -> list[Item]:
            listed = await self._listed("volumes", filter=f"name='{called}'")
            return [item for item in listed if item.get("name") == called]

        await self._made(create, find, f"volume {name}", 1)
        try:
            await self._mark(called, name, snapshot)
            if read_only:
                body = {"requested_promotion_state": "demoted"}
                await self._repeated("PATCH", "volumes", body, names=called)
            (info,) = await self._infos(await find())
            if info.read_only is not read_only:
                state = "read-only" if info.read_only else "writable"
                raise InvalidState(f"volume {name}", state, "promote it as was asked")
        except Lost:
            raise
        except Error:
            await self._end("volumes", called)  # what is refused is not there
            raise
        return info

    async def delete_volume(self, volume: str) -> None:
        """Destroy and eradicate a volume that is not connected and has no snapshots; idempotent.

        Raises:
            InvalidState: it is connected, or has snapshots: the array would take them with it.
        """
        called = volume_name(volume)
        try:
            found = await self._listed("volume-snapshots", source_names=called)
        except NotFound:
            return
        if any(not item.get("destroyed") for item in found):
            raise InvalidState(f"volume {volume}", "the parent of snapshots", "delete it")
        await self._end("volumes", called)

    async def _mark(self, called: str, name: str, snapshot: str) -> None:
        tags = [
            {"key": key, "value": value[:256], "namespace": SPACE, "copyable": False}
            for key, value in (("name", name), ("promoted-from", snapshot))
        ]
        await self._repeated("PUT", "volumes/tags/batch", tags, resource_names=called)

    # Masking. ----------------------------------------------------------------------------------

    async def map_volume(self, volume: str, initiator_iqn: str) -> Mapping:
        """Let *initiator_iqn* see *volume* at the lowest free LUN number.

        The host that has the initiator is connected, with all the others that it has; one is made
        for it where there is none.

        Raises:
            NotFound: there is no such volume.
            InvalidState: the initiator sees it already.
        """
        called = volume_name(volume)
        host = await self._host_for(initiator_iqn)

        async def create() -> list[Item]:
            query = {"host_names": host, "volume_names": called}
            return await self._change("POST", "connections", None, **query)

        async def find() -> list[Item]:
            query = {"host_names": host, "volume_names": called}
            return await self._listed("connections", **query)

        try:
            made = await self._made(create, find, f"mapping of {volume} to {initiator_iqn}", 1)
        except Error:
            await self._forget_host(host)
            raise
        try:
            hosts = [{"name": host, "iqns": [initiator_iqn]}]
            (mapping,) = await self._mappings(hosts, made)
        except Lost:
            raise
        except Error:
            await self.unmap_volume(volume, initiator_iqn)  # what is refused is not there
            raise
        return mapping

    async def unmap_volume(self, volume: str, initiator_iqn: str) -> None:
        """Take the mapping away, from all initiators of the host; idempotent."""
        for host in await self._hosts_of(initiator_iqn):
            query = {"host_names": host, "volume_names": volume_name(volume)}
            await self._gone("DELETE", "connections", None, **query)
            await self._forget_host(host)

    async def _hosts_of(self, initiator_iqn: str) -> list[str]:
        found = await self._listed("hosts", filter=f"iqns='{_quoted(initiator_iqn)}'")
        with _sense("hosts"):
            return [item["name"] for item in found if initiator_iqn in item["iqns"]]

    async def _host_for(self, initiator_iqn: str) -> str:
        """Return the host that has the initiator; make one where there is none."""
        for _ in range(_TRIES):
            found = await self._hosts_of(initiator_iqn)
            if len(found) > 1:
                state = f"an initiator of {', '.join(found)}"
                raise InvalidState(initiator_iqn, state, "connect one of them")
            if found:
                return found[0]
            try:
                body = {"iqns": [initiator_iqn]}
                name = host_name(initiator_iqn)
                await self._client.change("POST", "hosts", body, names=name)
            except Lost:
                continue  # looking tells whether it was made
            except PureRefusal as refusal:
                if not refusal.only("already exists", "already in use"):
                    raise refusal.error(f"make a host for {initiator_iqn}") from refusal
        raise InvalidState(
            f"a host for {initiator_iqn}", "neither there nor to be made", "map to it"
        )

    async def _forget_host(self, host: str) -> None:
        """Forget a host that was made here and sees nothing any more; others stay."""
        if not host.startswith(OWN_HOSTS):
            return
        try:
            await self._repeated("DELETE", "hosts", None, names=host)
        except InvalidState:
            return  # it sees other volumes
        except NotFound:
            return

    # Asking. -----------------------------------------------------------------------------------

    async def _change(self, method: str, resource: str, body: Any, **query: str) -> list[Item]:
        """Ask for a change; a refusal is raised as the error that it means."""
        try:
            return await self._client.change(method, resource, body, **query)
        except PureRefusal as refusal:
            raise refusal.error(f"{method} {resource}") from refusal

    async def _repeated(self, method: str, resource: str, body: Any, **query: str) -> list[Item]:
        """Ask for what may be done twice, until an answer comes."""
        for _ in range(_TRIES - 1):
            try:
                return await self._change(method, resource, body, **query)
            except Lost:
                continue
        return await self._change(method, resource, body, **query)

    async def _gone(
        self, method: str, resource: str, body: Any, *, fine: str = "", **query: str
    ) -> bool:
        """Ask for something to go until an answer comes; tell whether it was there.

        *fine* is a part of a refusal that says that it had gone before, other than not being there.
        """
        parts = (*_NOT_THERE, fine) if fine else _NOT_THERE
        for left in reversed(range(_TRIES)):
            try:
                await self._client.change(method, resource, body, **query)
            except Lost:
                if not left:
                    raise
            except PureRefusal as refusal:
                if not refusal.only(*parts):
                    raise refusal.error(f"{method} {resource}") from refusal
                return not refusal.only(*_NOT_THERE)
            else:
                return True
        return True

    async def _end(self, resource: str, name: str) -> None:
        """Destroy and eradicate something; what is not there is fine.

        Where the second is refused, the first is undone: what is refused has not been done.
        """
        body = {"destroyed": True}
        if await self._gone("PATCH", resource, body, fine="has been destroyed", names=name):
            try:
                await self._gone("DELETE", resource, None, names=name)
            except InvalidState:
                await self._repeated("PATCH", resource, {"destroyed": False}, names=name)
                raise

    async def _made(
        self,
        create: Callable[[], Awaitable[list[Item]]],
        find: Callable[[], Awaitable[list[Item]]],
        what: str,
        count: int,
    ) -> list[Item]:
        """Make something that is not there yet, and return it, whatever becomes of the answers.

        Once an answer was lost, what fails is raised as Lost: something may be there, and only a
        refusal says that nothing is.
        """
        if await find():
            raise InvalidState(what, "there already", "make it again")
        lost: Lost | None = None
        for _ in range(_TRIES):
            try:
                made = await create()
                if len(made) == count:
                    return made
                lost = Interrupted(f"the answer about {what}")  # it tells of something else
            except Lost as error:
                lost = error
            except InvalidState:
                if lost is None:
                    raise  # somebody else was quicker
            try:
                found = await find()
            except Error as error:
                raise lost from error
            if len(found) == count:
                return found
            if found:
                raise lost
        assert lost is not None, "only a lost answer is asked again"
        raise lost

    # Reading. ----------------------------------------------------------------------------------

    async def _listed(self, resource: str, **query: str) -> list[Item]:
        try:
            return await self._client.items(resource, **query)
        except PureRefusal as refusal:
            raise refusal.error(f"GET {resource}") from refusal

    async def _names(self, naas: Iterable[str]) -> list[str]:
        """Return what volumes are called, in the order of their identifiers."""
        listed = await self._listed("volumes", destroyed="false")
        with _sense("volumes"):
            known = {_naa(item): str(item["name"]) for item in listed}
        for naa in naas:
            if naa not in known:
                raise NotFound("volume with identifier", naa)
        return [known[naa] for naa in naas]

    async def _infos(self, items: list[Item]) -> tuple[VolumeInfo, ...]:
        with _sense("volumes"):
            names = [str(item["name"]) for item in items]
        tags = await self._tags(names)
        with _sense("volumes"):
            return tuple(_info(item, tags) for item in items)

    async def _tags(self, names: list[str]) -> dict[tuple[str, str], str]:
        """Return the tags of volumes that were put here, by volume and key."""
        found: dict[tuple[str, str], str] = {}
        for at in range(0, len(names), _TAG_NAMES_MAX):
            query = {"resource_names": ",".join(names[at : at + _TAG_NAMES_MAX])}
            listed = await self._listed("volumes/tags", namespaces=SPACE, **query)
            with _sense("tags"):
                for tag in listed:
                    found[tag["resource"]["name"], tag["key"]] = str(tag["value"])
        return found

    async def _mappings(self, hosts: list[Item], connections: list[Item]) -> tuple[Mapping, ...]:
        with _sense("connections"):
            seen = {str(each["volume"]["name"]) for each in connections}
        listed = [item for item in await self._listed("volumes") if item.get("name") in seen]
        infos = dict(zip((item["name"] for item in listed), await self._infos(listed), strict=True))
        with _sense("connections"):
            iqns = {host["name"]: host["iqns"] for host in hosts}
            found = [
                Mapping(infos[name].name, infos[name].naa, iqn, int(each["lun"]))
                for each in connections
                for name in [each["volume"]["name"]]
                if name in infos
                for iqn in iqns.get(each["host"]["name"], ())
            ]
        return tuple(sorted(found, key=lambda mapping: (mapping.initiator_iqn, mapping.lun)))

    def _snapshot(self, item: Item) -> ArraySnapshot:
        with _sense("volume-snapshots"):
            return ArraySnapshot(
                str(item["name"]),
                str(item["source"]["name"]),
                item["created"] / 1000 - self._epoch,
                not item["destroyed"],
                int(item["space"]["snapshots"]),
            )


@contextmanager
def _sense(what: str) -> Iterator[None]:
    """Read an answer within: one that has not what it should have was lost on the way."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Interrupted(f"the answer about {what}, which has no {error}") from error


def _info(item: Item, tags: dict[tuple[str, str], str]) -> VolumeInfo:
    return VolumeInfo(
        tags.get((item["name"], "name"), str(item["name"])),
        _naa(item),
        int(item["provisioned"]),
        item.get("promotion_status") == "demoted",
        tags.get((item["name"], "promoted-from"), ""),
    )


def _naa(item: Item) -> str:
    return OUI + str(item["serial"]).lower()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
