"""What libiscsi's tools hear of an array when nothing is mapped to them, byte by byte."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from interop import served as tools
from serve.generations import READER, TARGET
from serve.overhearing import overheard, told
from serve.test_masking import CHAP, GUARDED, IDLE, STRANGER, tried

pytestmark = [pytest.mark.paced, pytest.mark.slow]


@pytest.fixture(autouse=True)
def libiscsi():
    tools.need("iscsi-ls", "iscsi-inq", "iscsi-readcapacity16", "qemu-img")


async def run(*words):
    """Run a program beside the loop; return how it ended and what it said."""

    def ran():
        return subprocess.run(
            words,
            check=False,
            capture_output=True,
            timeout=tools.SECONDS_MAX,
            encoding="utf-8",
            errors="replace",  # a page is shown as it came
        )

    done = await asyncio.to_thread(ran)
    return done.returncode, done.stdout + done.stderr


async def everything_tried(portal, iqn, account=""):
    """Ask with every tool for whatever there is; return what each of them said and how it ended."""
    found = [await run("iscsi-ls", "-s", "-i", iqn, f"iscsi://{account}{portal}")]
    for lun in range(3):
        at = f"iscsi://{account}{portal}/{TARGET}/{lun}"
        found.append(await run("iscsi-inq", "-i", iqn, at))
        pages = [("-e", "1", "-c", page) for page in ("0", "128", "131", "176")]
        found += [await run("iscsi-inq", "-i", iqn, *page, at) for page in pages]
        found.append(await run("iscsi-readcapacity16", "-i", iqn, at))
    return found


@pytest.mark.parametrize(
    ("iqn", "account"),
    [
        (STRANGER, ""),
        (IDLE, ""),
        (GUARDED, ""),
        (GUARDED, f"{CHAP.user}%wrong-secret-of-16@"),
        (GUARDED, f"nobody%{CHAP.secret.replace(' ', '-')}@"),
    ],
    ids=["stranger", "no mapping", "no CHAP", "wrong secret", "wrong name"],
)
def test_no_tool_hears_of_what_is_not_mapped_to_it(iqn, account):
    async def talk(site, secrets, mapping):
        async with overheard(site.portal) as proxy:
            said = await everything_tried(proxy.portal, iqn, account)
            assert proxy.heard
        assert told(proxy.heard, secrets) == set()
        everything = "".join(text for _, text in said)
        assert "Type:DIRECT_ACCESS" not in everything
        assert mapping.naa not in everything.lower().replace(" ", "")
        if iqn != IDLE:
            assert all(code != 0 for code, _ in said[1:]), "nobody of these gets in"

    tried(talk)


def test_the_same_tools_hear_of_what_is_mapped():
    async def talk(site, secrets, mapping):
        async with overheard(site.portal) as proxy:
            said = await everything_tried(proxy.portal, READER)
        assert {code for code, _ in said[:1]} == {0}
        assert "Type:DIRECT_ACCESS" in said[0][1]
        assert "NAA of secret-copy in binary" in told(proxy.heard, secrets)

    tried(talk)
