"""Snapshots by both vendors' interfaces against their golden images, compared by ``qemu-img``."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest

from interop import served as tools
from serve.generating import Drive
from serve.generations import READER, SIZE, TARGET, Writer, served, site

pytestmark = [pytest.mark.paced, pytest.mark.slow]

POLICIES = {
    "copy into the newest": {},
    "copy into each": {"copy_policy": "copy-into-each"},
    "redirect": {"snapshot_kind": "redirect-on-write"},
}
EQUAL, DIFFERENT = 0, 1
"""Exit codes of ``qemu-img compare``; above these it could not compare (its manual page)."""


@pytest.fixture(autouse=True)
def qemu():
    tools.need("qemu-img")


def image(portal, mapping, initiator=READER):
    """Return a LUN as QEMU names one: its own way of writing has no initiator's name."""
    lun = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": portal,
        "target": TARGET,
        "lun": mapping.lun,
        "initiator-name": initiator,
    }
    return f"json:{json.dumps({'driver': 'raw', 'file': lun})}"


def compared(golden, lun):
    done = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", str(golden), lun],
        check=False,
        capture_output=True,
        text=True,
        timeout=tools.SECONDS_MAX,
    )
    return done.returncode, done.stdout + done.stderr


async def judged(directory, served, shown):
    """Compare what is shown with its golden image in a file, beside whatever else goes on."""
    golden = directory / f"{shown.name}.raw"
    golden.write_bytes(shown.golden)
    lun = image(served.portal, shown.mapping)
    code, told = await asyncio.to_thread(compared, golden, lun)
    assert code in {EQUAL, DIFFERENT}, told
    golden.unlink()
    return code == EQUAL


@pytest.mark.parametrize("policy", POLICIES)
def test_qemu_img_finds_every_image_as_it_was(policy, tmp_path):
    found = []

    async def talk(served):
        def equals(served, shown):
            return judged(tmp_path, served, shown)

        async with Drive.over(served, 7, equals) as drive:
            await drive.through(14)
            found.append(drive)

    served(talk, site(**POLICIES[policy]))
    (drive,) = found
    assert drive.done["judge"] >= 4
    assert drive.alive_at_once >= 2
    assert drive.read_bytes == drive.done["judge"] * SIZE


def test_qemu_img_sees_one_byte_that_differs(tmp_path):
    async def talk(served):
        async with Drive.over(served, 3) as drive:
            await drive.snapshot()
            await drive.show()
            (shown,) = drive.shown
            assert await judged(tmp_path, served, shown)
            shown.golden[SIZE - 1] ^= 1
            assert not await judged(tmp_path, served, shown)

    served(talk)


def test_qemu_img_meets_an_error_where_a_snapshot_was_given_up_for_room(tmp_path):
    async def talk(served):
        async with served.adapters() as by:
            array = by["wsapi"]
            writer = await Writer.of(served, array, 5)
            await array.create_snapshots((writer.device.identity,), "kept")
            await array.promote("kept", "kept-copy")
            lun = image(served.portal, await array.map_volume("kept-copy", READER))
            golden = tmp_path / "kept.raw"
            golden.write_bytes(served.golden["kept"])
            codes = []
            while (await array.snapshots())[0].valid:
                codes.append((await asyncio.to_thread(compared, golden, lun))[0])
                for _ in range(4):
                    await writer.once()
            code, told = await asyncio.to_thread(compared, golden, lun)
            assert code > DIFFERENT, told
            assert codes[0] == EQUAL
            assert DIFFERENT not in codes
            await writer.device.close()

    served(talk, site(reserve="12 MiB", exhaustion="invalidate"), pure=False)
