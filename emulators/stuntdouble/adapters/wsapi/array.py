"""The array behind ``ports.Array``, by WSAPI.

On this array a read-only snapshot is presented itself, under an identity that it has had all along.
So ``promote`` asks for nothing; it notes that the snapshot goes by another name from now on:

    promote("s", "c")     VolumeInfo("c", <WWN of s>, promoted_from="s")     nothing is made
    map_volume("c", …)    a VLUN of s; mappings() call it a mapping of c
    delete_volume("c")    refused while s is mapped; else c is forgotten

The note is of this object.  To another one, after a crash, there is the snapshot and a mapping of
*it*, under its own name, by which it is unmapped and deleted.  A writable promotion is a writable
copy of the snapshot, made under the name that is asked for.

What is asked for carries a name of the caller's, so where an answer is lost this looks whether it
took effect, once, and otherwise lets the loss through.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.adapters.wsapi.client import part
from stuntdouble.adapters.wsapi.hosts import Hosts
from stuntdouble.adapters.wsapi.problems import (
    EXISTENT_LUN,
    EXISTENT_SET,
    EXISTENT_VOL,
    NON_EXISTENT_HOST,
    NON_EXISTENT_SET,
    NON_EXISTENT_VLUN,
    NON_EXISTENT_VOL,
    Answered,
    error_of,
)
from stuntdouble.adapters.wsapi.reading import (
    Export,
    Volume,
    export_of,
    lun_in,
    volume_of,
)
from stuntdouble.errors import Error, InvalidState, Lost, NotFound
from stuntdouble.ports import ArraySnapshot, Mapping, VolumeInfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stuntdouble.adapters.wsapi.client import WsapiClient

_SET_NAME_LENGTH_MAX: Final = 27  # developer's guide: "name27"


class WsapiArray:
    """Implements ``ports.Array`` by WSAPI.

    Args:
        client: of the interface.
        epoch_seconds: what moments are counted from, in seconds since 1970.
    """

    def __init__(self, client: WsapiClient, epoch_seconds: float = 0.0) -> None:
        self._client = client
        self._epoch_seconds = epoch_seconds
        self._hosts = Hosts(client)
        self._presented: dict[str, str] = {}  # name of a promoted volume: of its snapshot
        self._left_sets: set[str] = set()

    # Looking. ----------------------------------------------------------------------------------

    async def _all(self) -> list[Volume]:
        return [volume_of(each) for each in await self._client.listed("volumes")]

    async def _one(self, name: str) -> Volume | None:
        try:
            return volume_of(await self._client.get(f"volumes/{part(name)}"))
        except Answered as refusal:
            if refusal.number == NON_EXISTENT_VOL:
                return None
            raise error_of(refusal) from None

    async def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume, promoted ones included."""
        found = await self._asked(self._all)
        real = [_info(each, found) for each in found if not each.snapshot]
        by_name = {each.name: each for each in found}
        shown = [
            _presented(name, by_name[snapshot])
            for name, snapshot in self._presented.items()
            if snapshot in by_name
        ]
        return (*real, *shown)

    async def snapshots(self) -> tuple[ArraySnapshot, ...]:
        """Return every array snapshot."""
        found = await self._asked(self._all)
        return tuple(self._snapshot(each) for each in found if each.snapshot)

    def _snapshot(self, volume: Volume) -> ArraySnapshot:
        return ArraySnapshot(
            volume.name,
            volume.copy_of,
            volume.created_seconds - self._epoch_seconds,
            not volume.failed,
            volume.kept_bytes,
        )

    async def mappings(self) -> tuple[Mapping, ...]:
        """Return every mapping: one for each initiator of the host that an export is to."""
        exports = await self._asked(self._exports)
        initiators = await self._asked(self._hosts.initiators)
        names = {snapshot: name for name, snapshot in self._presented.items()}
        found = [
            Mapping(names.get(each.volume, each.volume), each.naa, iqn, each.lun)
            for each in exports
            for iqn in initiators.get(each.host, ())
        ]
        return tuple(dict.fromkeys(found))

    async def _exports(self, query: str = "") -> list[Export]:
        found = await self._client.listed("vluns", query)
        return [export_of(each) for each in found if each.get("active") is False]

    async def _exports_of(self, volume: str, host: str) -> list[Export]:
        return await self._exports(f"volumeName EQ {volume} AND hostname EQ {host}")

    # Snapshots. --------------------------------------------------------------------------------

    async def prepare(self, naas: tuple[str, ...]) -> int:
        """Return 0: this array has nothing to do before a snapshot, once the volumes are there.

        Raises:
            NotFound: there is no such volume.
        """
        await self._named(naas)
        return 0

    async def create_snapshots(self, naas: tuple[str, ...], name: str) -> tuple[ArraySnapshot, ...]:
        """Snapshot the volumes in one instant; several are put into a set for it.

        A single snapshot is called *name*, those of several volumes name.0, name.1, …
        """
        volumes = await self._named(naas)
        if len(volumes) == 1:
            path, names = f"volumes/{part(volumes[0])}", [name]
        else:
            path, names = "", [f"{name}.{number}" for number in range(len(volumes))]

        async def find() -> list[Volume] | None:
            found = [await self._one(each) for each in names]
            made = [each for each in found if each is not None and each.copy_of in volumes]
            return made if len(made) == len(names) else None

        async def create() -> list[Volume]:
            if path:
                await self._client.ask("POST", path, _snapshot_request(name))
            else:
                await self._of_set(volumes, name)
            made = await find()
            if made is None:
                raise InvalidState(f"array snapshot {name}", "made, but not there", "use it")
            return made

        made = await self._done(create, find, EXISTENT_VOL)
        by_volume = {each.copy_of: self._snapshot(each) for each in made}
        if sorted(by_volume) != sorted(volumes):
            said = f"of {', '.join(sorted(by_volume))}"
            raise InvalidState(f"array snapshot {name}", said, f"use it for {', '.join(volumes)}")
        return tuple(by_volume[each] for each in volumes)

    async def _named(self, naas: tuple[str, ...]) -> list[str]:
        """Return the names of volumes, in order."""
        found = {each.naa: each.name for each in await self._asked(self._all)}
        for naa in naas:
            if naa not in found:
                raise NotFound("volume with identifier", naa)
        return [found[naa] for naa in naas]

    async def _of_set(self, volumes: list[str], name: str) -> None:
        """Snapshot volumes through a set that is there for as long as it takes."""
        await self._drop_left_sets()
        name_of_set = name[:_SET_NAME_LENGTH_MAX]
        self._left_sets.add(name_of_set)
        try:
            await self._make_set(name_of_set, volumes)
            request = _snapshot_request(f"{name}.@count@")
            await self._client.ask("POST", f"volumesets/{part(name_of_set)}", request)
        finally:
            with suppress(Error, Answered):  # it is dropped before the next one, at the latest
                await self._drop_left_sets()

    async def _make_set(self, name: str, volumes: list[str]) -> None:
        body = {"name": name, "setmembers": volumes}
        try:
            await self._client.ask("POST", "volumesets", body)
        except Answered as refusal:
            if refusal.number != EXISTENT_SET:
                raise
            found = await self._client.get(f"volumesets/{part(name)}")
            if found.get("setmembers") != volumes:
                self._left_sets.discard(name)  # it is somebody else's
                raise

    async def _drop_left_sets(self) -> None:
        for name in list(self._left_sets):
            await self._delete(f"volumesets/{part(name)}", NON_EXISTENT_SET)
            self._left_sets.discard(name)

    async def delete_snapshot(self, snapshot: str) -> None:
        """Delete an array snapshot that goes by no other name; idempotent."""
        names = [name for name, of in self._presented.items() if of == snapshot]
        if names:
            state = f"promoted to {', '.join(names)}"
            raise InvalidState(f"array snapshot {snapshot}", state, "delete it")
        await self._delete(f"volumes/{part(snapshot)}", NON_EXISTENT_VOL)

    # Volumes. ----------------------------------------------------------------------------------

    async def promote(self, snapshot: str, name: str, *, read_only: bool = True) -> VolumeInfo:
        """Make *snapshot* a volume *name*; see the head of this file for a read-only one.

        Raises:
            InvalidState: something has the name, the snapshot goes by another name already, or the
                array has given it up.
        """
        image = await self._asked(lambda: self._one(snapshot))
        if image is None or not image.snapshot:
            raise NotFound("array snapshot", snapshot)
        if image.failed:
            raise InvalidState(f"array snapshot {snapshot}", "no longer valid", "promote it")
        if not read_only:
            return await self._writable(snapshot, name)
        if name in self._presented or await self._asked(lambda: self._one(name)) is not None:
            raise InvalidState(f"volume {name}", "there already", "make another of that name")
        if snapshot in self._presented.values():
            raise InvalidState(f"array snapshot {snapshot}", "promoted already", "promote it again")
        self._presented[name] = snapshot
        return _presented(name, image)

    async def _writable(self, snapshot: str, name: str) -> VolumeInfo:
        request = {"action": "createSnapshot", "parameters": {"name": name, "readOnly": False}}

        async def find() -> Volume | None:
            found = await self._one(name)
            return found if found is not None and found.copy_of == snapshot else None

        async def create() -> Volume:
            await self._client.ask("POST", f"volumes/{part(snapshot)}", request)
            made = await find()
            if made is None:
                raise InvalidState(f"volume {name}", "made, but not there", "use it")
            return made

        made = await self._done(create, find, EXISTENT_VOL)
        return VolumeInfo(made.name, made.naa, made.size_bytes, made.read_only, snapshot)

    async def delete_volume(self, volume: str) -> None:
        """Delete a volume that is not mapped and has no snapshots; idempotent."""
        snapshot = self._presented.get(volume)
        if snapshot is None:
            await self._delete(f"volumes/{part(volume)}", NON_EXISTENT_VOL)
            return
        if await self._asked(lambda: self._exports(f"volumeName EQ {snapshot}")):
            raise InvalidState(f"volume {volume}", "mapped", "delete it")
        del self._presented[volume]

    # Mapping. ----------------------------------------------------------------------------------

    async def map_volume(self, volume: str, initiator_iqn: str) -> Mapping:
        """Let *initiator_iqn* see *volume* at the lowest free LUN number.

        An initiator that no host has gets a host, which goes with its last mapping.
        """
        real = self._presented.get(volume, volume)
        found = await self._asked(lambda: self._one(real))
        if found is None:
            raise NotFound("volume", volume)
        host = await self._asked(lambda: self._hosts.made(initiator_iqn))

        async def find() -> int | None:
            exports = await self._exports_of(real, host)
            return exports[0].lun if exports else None

        async def create() -> int:
            body = {
                "volumeName": real,
                "hostname": host,
                "autoLun": True,
                "maxAutoLun": 0,
                "lun": 0,
            }
            answer = await self._client.ask("POST", "vluns", body)
            return lun_in(answer.location)

        if await self._asked(find) is not None:
            raise InvalidState(f"volume {volume}", f"mapped to {initiator_iqn} already", "map it")
        try:
            lun = await self._done(create, find, EXISTENT_LUN)
        except Error:
            with suppress(Error, Answered):
                await self._hosts.drop(initiator_iqn, host)
            raise
        return Mapping(volume, found.naa, initiator_iqn, lun)

    async def unmap_volume(self, volume: str, initiator_iqn: str) -> None:
        """Take the mapping away; idempotent."""
        real = self._presented.get(volume, volume)
        host = await self._asked(lambda: self._hosts.having(initiator_iqn))
        if not host:
            return
        for export in await self._asked(lambda: self._exports_of(real, host)):
            port = f",{export.port}" if export.port else ""
            path = f"vluns/{part(f'{real},{export.lun},{host}{port}')}"
            await self._delete(path, NON_EXISTENT_VLUN, NON_EXISTENT_HOST, NON_EXISTENT_VOL)
        await self._asked(lambda: self._hosts.drop(initiator_iqn, host))

    # Parts. ------------------------------------------------------------------------------------

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Return what *ask* returns; a refusal that nobody expects becomes our error.

        What only looks is asked once more after a lost answer.
        """
        try:
            try:
                return await ask()
            except Lost:
                return await ask()
        except Answered as refusal:
            raise error_of(refusal) from None

    async def _done(
        self,
        create: Callable[[], Awaitable[Any]],
        find: Callable[[], Awaitable[Any]],
        taken: int,
    ) -> Any:
        """Return what *create* makes, or what it has made although the answer was lost.

        Args:
            create: asks for it.
            find: looks whether it is there, and is what was asked for.
            taken: the number by which it is refused where it is there.
        """
        try:
            return await create()
        except Lost as error:
            found = await self._asked(find)
            if found is None:
                raise error from None
            return found
        except Answered as refusal:
            if refusal.number != taken:
                raise error_of(refusal) from None
            found = await self._asked(find) if refusal.repeated else None
            if found is not None:
                return found
            said = f"there already ({refusal.text})"
            raise InvalidState(refusal.what, said, "make it again") from None

    async def _delete(self, path: str, *gone: int) -> None:
        """Delete something; it is no error that it is gone, nor that an answer is lost once."""
        try:
            try:
                await self._client.ask("DELETE", path)
            except Lost:
                await self._client.ask("DELETE", path)
        except Answered as refusal:
            if refusal.number not in gone:
                raise error_of(refusal) from None


def _snapshot_request(name: str) -> dict[str, Any]:
    return {"action": "createSnapshot", "parameters": {"name": name, "readOnly": True}}


def _presented(name: str, snapshot: Volume) -> VolumeInfo:
    return VolumeInfo(
        name, snapshot.naa, snapshot.size_bytes, read_only=True, promoted_from=snapshot.name
    )


def _info(volume: Volume, every: list[Volume]) -> VolumeInfo:
    """Return a volume; it is promoted if it is a copy of a snapshot."""
    origin = next((each for each in every if each.name == volume.copy_of and each.snapshot), None)
    name = "" if origin is None else origin.name
    return VolumeInfo(volume.name, volume.naa, volume.size_bytes, volume.read_only, name)
