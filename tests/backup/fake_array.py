"""An array and an initiator over the estate of ``fakes``."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from backup.fakes import SERVER_IQN, Device, Estate, Image, Volume
from stuntdouble.errors import InvalidState
from stuntdouble.ports import ArraySnapshot, Mapping, VolumeInfo

NAME_LENGTH_MAX = 31


class Array:
    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.synchronised_bytes = 0  # what there is to prepare

    def _info(self, volume: Volume) -> VolumeInfo:
        return VolumeInfo(
            volume.name,
            volume.naa,
            len(volume.data),
            bool(volume.promoted_from),
            volume.promoted_from,
        )

    def _named(self, name: str) -> Volume | None:
        return next((v for v in self.estate.volumes.values() if v.name == name), None)

    async def volumes(self):
        everything = self.estate.volumes
        return await self.estate.call(
            "volumes", lambda: tuple(self._info(v) for v in everything.values())
        )

    async def snapshots(self):
        return await self.estate.call(
            "snapshots",
            lambda: tuple(
                replace(image.info, valid=not self.estate.invalidate_images)
                for image in self.estate.images.values()
            ),
        )

    async def mappings(self):
        return await self.estate.call("mappings", lambda: tuple(self.estate.mappings))

    async def prepare(self, naas):
        open_now = [vm.name for vm in self.estate.vms.values() if vm.snapshots]
        done = self.synchronised_bytes
        return await self.estate.call("prepare", lambda: done, naas, tuple(open_now))

    async def create_snapshots(self, naas, name):
        estate = self.estate

        def commit() -> tuple[ArraySnapshot, ...]:
            made = []
            files = {
                vm.name: {disk.key: deepcopy(disk.blocks) for disk in vm.disks.values()}
                for vm in estate.vms.values()
            }
            for number, naa in enumerate(naas):
                volume = estate.volumes[naa]
                own = name if len(naas) == 1 else f"{name}.{number}"
                assert len(own) <= NAME_LENGTH_MAX
                assert own not in estate.images
                info = ArraySnapshot(own, volume.name, float(estate.serial), True, 0)
                estate.images[own] = Image(info, naa, bytes(volume.data), files)
                made.append(info)
            return tuple(made)

        open_now = [vm.name for vm in estate.vms.values() if vm.snapshots]
        return await estate.call("create_snapshots", commit, naas, tuple(open_now))

    async def promote(self, snapshot, name, *, read_only=True):
        def commit() -> VolumeInfo:
            image = self.estate.images[snapshot]
            assert self._named(name) is None
            assert len(name) <= NAME_LENGTH_MAX
            naa = f"naa.copy{self.estate.next_serial()}"
            volume = Volume(name, naa, bytearray(image.data), snapshot)
            self.estate.volumes[naa] = volume
            return self._info(volume)

        open_now = [vm.name for vm in self.estate.vms.values() if vm.snapshots]
        return await self.estate.call("promote", commit, tuple(open_now))

    async def map_volume(self, volume, initiator_iqn):
        def commit() -> Mapping:
            lun = min(set(range(99)) - {m.lun for m in self.estate.mappings})
            mapping = Mapping(volume, self._named(volume).naa, initiator_iqn, lun)
            self.estate.mappings.append(mapping)
            return replace(mapping, naa="naa.other") if self.estate.wrong_mapping else mapping

        return await self.estate.call("map_volume", commit, initiator_iqn)

    async def unmap_volume(self, volume, initiator_iqn):
        def commit() -> None:
            it = self._named(volume)
            if it is not None and any(it.naa in naas for naas in self.estate.mounts.values()):
                raise InvalidState(volume, "mounted", "unmap it")
            self.estate.mappings = [
                m
                for m in self.estate.mappings
                if (m.volume, m.initiator_iqn) != (volume, initiator_iqn)
            ]

        await self.estate.call("unmap_volume", commit)

    async def delete_volume(self, volume):
        def commit() -> None:
            it = self._named(volume)
            if it is None:
                return
            if any(m.volume == volume for m in self.estate.mappings):
                raise InvalidState(volume, "mapped", "delete it")
            if self.estate.images[it.promoted_from].naa in self.estate.stuck_volumes:
                raise InvalidState(volume, "stuck", "delete it")
            del self.estate.volumes[it.naa]

        await self.estate.call("delete_volume", commit)

    async def delete_snapshot(self, snapshot):
        def commit() -> None:
            if any(v.promoted_from == snapshot for v in self.estate.volumes.values()):
                raise InvalidState(snapshot, "promoted", "delete it")
            self.estate.images.pop(snapshot, None)

        await self.estate.call("delete_snapshot", commit)


class Initiator:
    iqn = SERVER_IQN

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.wrong_identity = False

    async def attach(self, mapping):
        def commit() -> Device:
            assert mapping in self.estate.mappings
            assert mapping.initiator_iqn == self.iqn
            volume = self.estate.volumes[mapping.naa]
            identity = "naa.other" if self.wrong_identity else mapping.naa

            def check() -> None:
                assert mapping in self.estate.mappings

            return Device(self.estate, identity, lambda: volume.data, check)

        return await self.estate.call("attach", commit)
