"""Who has no mapping hears nothing: not a byte of data, nor the name of a LUN, over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from serve.generations import READER, SIZE, TARGET, WRITER, contents, served
from serve.overhearing import MARKER, overheard, secrets_of, told
from stuntdouble.adapters.wsapi import WsapiClient
from stuntdouble.codecs import scsi
from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.errors import AccessDenied, NotFound
from stuntdouble.initiators import DigestUse
from stuntdouble.initiators.iscsi.login import Who, new_isid
from stuntdouble.initiators.iscsi.pool import Pool
from stuntdouble.initiators.wall import Wall
from stuntdouble.ports import Mapping
from stuntdouble.units import MIB

pytestmark = pytest.mark.paced

STRANGER = "iqn.2026-11.org.example:stranger"
IDLE = "iqn.2026-11.org.example:idle"
GUARDED = "iqn.2026-11.org.example:guarded"
LATE = "iqn.2026-11.org.example:late"
CHAP = Credentials("guard", "a secret of ours")
LUNS = (*range(8), 255, 256, 16383)
PAGES = (None, 0x00, 0x80, 0x83, 0x85, 0x86, 0x87, 0x88, 0xB0, 0xB1, 0xB2)


async def prepared(site):
    """Fill the volume with what nobody may see, and map images of it to some."""
    async with (
        site.adapters() as by,
        WsapiClient(site.wsapi, "admin", "secret") as client,
    ):
        mapping = next(m for m in await by["wsapi"].mappings() if m.initiator_iqn == WRITER)
        device = await site.initiator(WRITER).attach(mapping)
        await device.write(MIB, memoryview(MARKER * ((SIZE - MIB) // len(MARKER))))
        await device.close()
        await by["wsapi"].create_snapshots((mapping.naa,), "secret-snapshot")
        await by["wsapi"].promote("secret-snapshot", "secret-name")
        await by["pure"].promote("vol-1.secret-snapshot", "secret-copy")
        for name, iqn in (("idle", IDLE), ("guarded", GUARDED)):
            await client.ask("POST", "hosts", {"name": name, "iSCSINames": [iqn]})
        change = {
            "chapOperation": 1,
            "chapOperationMode": 1,
            "chapName": CHAP.user,
            "chapSecret": CHAP.secret,
        }
        await client.ask("PUT", "hosts/guarded", change)
        await by["wsapi"].map_volume("secret-name", GUARDED)
        await by["pure"].map_volume("secret-copy", GUARDED)
        return await by["pure"].map_volume("secret-copy", READER)


@asynccontextmanager
async def others_at_work(site, mapping):
    """Have another initiator read all the time."""
    device = await site.initiator(READER).attach(mapping)

    async def read():
        while True:
            assert MARKER in await contents(device)

    task = asyncio.create_task(read())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await device.close()


def tried(talk):
    """Run ``talk(site, secrets)`` while another initiator reads what is mapped to it."""

    async def main(site):
        mapping = await prepared(site)
        async with others_at_work(site, mapping):
            await talk(site, secrets_of(site.array), mapping)

    served(main)


async def asked_everything(pool):
    """Ask at every LUN for whatever there may be; return how many answers were good."""
    session, good = await pool.pick(), 0
    for lun in LUNS:
        field = scsi.pack_lun(lun)
        reading = (scsi.read(1 << 12, 8), scsi.read(0, 1), scsi.read_capacity())
        for cdb in (*(scsi.inquiry(page, 4096) for page in PAGES), *reading):
            for _ in range(2):  # the first may be answered by a unit attention
                outcome = await session.submit(field, cdb, into=memoryview(bytearray(4096)))
                good += outcome.status == 0
    return good


@asynccontextmanager
async def logged_in(portal, iqn, chap=None):
    """Yield a session, and log out."""
    who = Who(iqn, TARGET, new_isid(b"abc", 1), chap, DigestUse.NONE)
    pool = Pool(portal, [who], Wall(), 5.0)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


def test_the_proxy_hears_what_is_told_to_who_has_a_mapping():
    async def talk(site, secrets, mapping):
        async with overheard(site.portal) as proxy:
            device = await site.initiator(READER, proxy.portal).attach(mapping)
            await contents(device)
            async with logged_in(proxy.portal, READER) as pool:
                assert await asked_everything(pool) > len(LUNS)
            await device.close()
        heard = told(proxy.heard, secrets)
        assert "data" in heard
        assert "NAA of secret-copy in binary" in heard
        assert "serial number of secret-copy" in heard
        assert len(proxy.heard) > SIZE
        others = {each for each in heard if "secret-copy" not in each}
        assert others == {"data"}, "and of others' nothing"

    tried(talk)


def test_a_stranger_hears_nothing():
    async def talk(site, secrets, mapping):
        theirs = Mapping(mapping.volume, mapping.naa, STRANGER, mapping.lun)
        async with overheard(site.portal) as proxy:
            ours = site.initiator(STRANGER, proxy.portal)
            with pytest.raises(AccessDenied):
                await ours.attach(theirs)
            with pytest.raises(AccessDenied):
                async with logged_in(proxy.portal, STRANGER):
                    pass
            anybody = type(ours)(proxy.portal, STRANGER)
            assert await anybody.targets() == ()
        assert told(proxy.heard, secrets) == set()
        assert TARGET.encode() not in proxy.heard

    tried(talk)


def test_a_host_without_a_mapping_finds_nothing_at_any_lun():
    async def talk(site, secrets, mapping):
        theirs = Mapping(mapping.volume, mapping.naa, IDLE, mapping.lun)
        async with overheard(site.portal) as proxy:
            with pytest.raises((AccessDenied, NotFound)):
                await site.initiator(IDLE, proxy.portal).attach(theirs)
            await type(site.initiator(IDLE))(proxy.portal, IDLE).targets()
            async with logged_in(proxy.portal, IDLE) as pool:
                session = await pool.pick()
                assert set(await pool.luns(session)) <= {scsi.pack_lun(0)}
                for lun in LUNS:
                    field, into = scsi.pack_lun(lun), memoryview(bytearray(96))
                    await session.submit(field, scsi.inquiry(None, 96), into=into)
                    assert not scsi.Inquiry.parse(bytes(into)).is_disk
                await asked_everything(pool)
        assert told(proxy.heard, secrets) == set()
        assert len(proxy.heard) > 1000

    tried(talk)


@pytest.mark.parametrize(
    "chap",
    [None, Credentials(CHAP.user, "another secret"), Credentials("nobody", CHAP.secret)],
    ids=["none", "wrong secret", "wrong name"],
)
def test_who_does_not_prove_himself_hears_nothing(chap):
    async def talk(site, secrets, mapping):
        async with overheard(site.portal) as proxy:
            with pytest.raises(AccessDenied):
                async with logged_in(proxy.portal, GUARDED, chap):
                    pass
            anybody = type(site.initiator(GUARDED))(proxy.portal, GUARDED, chap=chap)
            with suppress(AccessDenied):
                await anybody.targets()
        assert told(proxy.heard, secrets) == set()
        assert CHAP.secret.encode() not in proxy.heard
        async with logged_in(site.portal, GUARDED, CHAP) as pool:
            assert len(await pool.luns(await pool.pick())) >= 2, "and with it he gets in"

    tried(talk)


def test_a_mapping_that_is_taken_away_amid_a_read_ends_what_is_heard():
    async def talk(site, secrets, mapping):
        async with site.adapters() as by, overheard(site.portal) as proxy:
            await by["pure"].promote("vol-1.secret-snapshot", "late-copy")
            theirs = await by["pure"].map_volume("late-copy", LATE)
            secrets |= secrets_of(site.array)
            device = await site.initiator(LATE, proxy.portal).attach(theirs)
            began = asyncio.Event()

            async def read():
                while True:
                    await contents(device, began_is_set)

            async def began_is_set():
                began.set()

            task = asyncio.create_task(read())
            await began.wait()
            async with logged_in(proxy.portal, LATE) as pool:
                await by["pure"].unmap_volume("late-copy", LATE)
                with pytest.raises((AccessDenied, NotFound)):
                    await task
                before = told(proxy.heard, secrets)
                proxy.heard.clear()
                assert set(await pool.luns(await pool.pick())) <= {scsi.pack_lun(0)}
                await asked_everything(pool)
            with pytest.raises((AccessDenied, NotFound)):
                await contents(device)
            await device.close()
            assert {"data", "NAA of late-copy in binary"} <= before
            assert proxy.heard
            assert told(proxy.heard, secrets) == set()

    tried(talk)
