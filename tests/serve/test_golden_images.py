"""Snapshots by both vendors' interfaces, at random, are what the volume was; whoever writes to it."""

from __future__ import annotations

import asyncio

import pytest

from serve.generating import Drive
from serve.generations import READER, SIZE, WRITER, Writer, contents, served, site
from stuntdouble.errors import InvalidState, MediumError

pytestmark = pytest.mark.paced

POLICIES = {
    "copy into the newest": {},
    "copy into each": {"copy_policy": "copy-into-each"},
    "redirect": {"snapshot_kind": "redirect-on-write"},
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_done_in_any_order_images_stay_what_they_were(policy, seed):
    found = []

    async def talk(served):
        async with Drive.over(served, seed) as drive:
            await drive.through(24)
            found.append(drive)

    world = served(talk, site(**POLICIES[policy]))
    (drive,) = found
    assert drive.read_bytes >= 4 * SIZE
    assert drive.done["snapshot"] >= 2
    assert drive.alive_at_once >= 2
    array = world.arrays["array-1"]
    assert list(array.inventory.volumes) == ["vol-1"]
    assert not array.inventory.snapshots
    assert [host.iqns for host in array.hosts.all()] == [(WRITER,)]
    assert all(pool.reserve_free_bytes == pool.reserve_bytes for pool in array.pools.values())


def test_a_snapshot_that_is_given_up_for_room_is_an_error_and_no_wrong_byte():
    async def talk(served):
        async with served.adapters() as by:
            await given_up(served, by["wsapi"])

    served(talk, site(reserve="12 MiB", exhaustion="invalidate"), pure=False)


async def given_up(served, array):
    base = next(each for each in await array.volumes() if each.name == "vol-1")
    writer = await Writer.of(served, array, 5)
    for _ in range(20):
        await writer.once()
    await array.create_snapshots((base.naa,), "kept")
    await array.promote("kept", "kept-copy")
    device = await served.initiator(READER).attach(await array.map_volume("kept-copy", READER))
    golden = served.golden["kept"]
    assert await contents(device) == golden

    async def read_on():
        while True:
            assert await contents(device, writer.once) == golden

    with pytest.raises(MediumError):
        await read_on()
    (snapshot,) = await array.snapshots()
    assert not snapshot.valid
    for _ in range(3):
        await writer.once()
        with pytest.raises(MediumError):
            await contents(device)
    with pytest.raises(InvalidState, match="no longer valid"):
        await array.promote("kept", "other")
    await device.close()
    again = await served.initiator(READER).attach(
        next(m for m in await array.mappings() if m.initiator_iqn == READER)
    )
    with pytest.raises(MediumError):
        await contents(again)
    await again.close()
    await array.unmap_volume("kept-copy", READER)
    await array.delete_volume("kept-copy")
    await array.delete_snapshot("kept")
    await array.create_snapshots((base.naa,), "fresh")
    await array.promote("fresh", "fresh-copy")
    fresh = await served.initiator(READER).attach(await array.map_volume("fresh-copy", READER))
    assert await contents(fresh) == served.golden["fresh"] != golden
    await asyncio.gather(fresh.close(), writer.device.close())
