"""The vendor's own client of the array's interface, unmodified, over a socket."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from interop import served
from serve.going import going
from stuntdouble.arrayapi.wsapi import Portal
from stuntdouble.serve.arrays import wsapi_endpoint
from stuntdouble.serve.listening import Address

SCRIPT = served.HERE / "wsapi_client.py"
NEEDED = served.HERE / "requirements-wsapi.txt"
TARGET = Portal("127.0.0.1", "iqn.2000-05.com.3pardata:20210002ac0000001")


@pytest.fixture(scope="session")
def library():
    """A directory with the client and what it imports."""
    return served.fetched(NEEDED)


def test_the_vendors_client_finds_what_it_expects(library):
    async def main(live, control):
        at = Address("127.0.0.1", 0)
        endpoint = wsapi_endpoint(live, at, "user", "pass", portals=lambda: (TARGET,))
        listening = await endpoint.start()

        def run():
            return subprocess.run(
                [sys.executable, str(SCRIPT), listening.url, "user", "pass"],
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

    done = going(main, rate=200.0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["system", "volumes", "exports", "sets", "copies"]
