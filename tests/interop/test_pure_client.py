"""The vendor's own client of the FlashArray's interface, unmodified, over a socket."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from interop import served
from serve.going import going, origin
from stuntdouble.arrayapi.pure import Port
from stuntdouble.scenarios.vendors import as_flasharrays
from stuntdouble.serve.flasharray import pure_endpoint
from stuntdouble.serve.listening import Address

SCRIPT = served.HERE / "pure_client.py"
NEEDED = served.HERE / "requirements-pure.txt"
TARGET = Port("127.0.0.1:3260", "iqn.2010-06.com.purestorage:flasharray.1")


@pytest.fixture(scope="session")
def library():
    """A directory with the client and what it imports."""
    return served.fetched(NEEDED)


def test_the_vendors_client_finds_what_it_expects(library):
    async def main(live, control):
        at = Address("127.0.0.1", 0)
        endpoint = pure_endpoint(live, at, "user", "pass", ports=lambda: (TARGET,))
        listening = await endpoint.start()
        place = listening.url.removeprefix("https://")

        def run():
            return subprocess.run(
                [sys.executable, str(SCRIPT), place, "user", "pass"],
                check=False,
                capture_output=True,
                text=True,
                timeout=served.SECONDS_MAX,
                env=os.environ | {"PYTHONPATH": str(library)},
            )

        try:
            return await asyncio.to_thread(run)
        finally:
            await endpoint.stop()

    start = origin()
    start = replace(start, scenario=as_flasharrays(start.scenario))
    done = going(main, rate=200.0, start=start)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["array", "volumes", "snapshots", "groups"]
