"""The example in the documentation, run as it stands, by both major versions of pyVmomi."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit

from interop import served
from interop.test_changes import covers
from stuntdouble.bench.golang import CHECKOUT

SCRIPT = CHECKOUT / "docs" / "examples" / "changed_areas.py"
VM = "server-1"


def test_the_example_lists_what_changed(site, python_client) -> None:
    where = urlsplit(site.vsphere)
    done = subprocess.run(
        [
            *(sys.executable, str(SCRIPT), str(where.hostname), str(where.port)),
            *(site.user, site.password, VM),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=served.SECONDS_MAX,
        env=os.environ | ({"PYTHONPATH": python_client.path} if python_client.path else {}),
    )
    assert done.returncode == 0, done.stderr
    areas = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    first, second = taken(site)[-2:]
    truth = site.true_changes(VM, 2000, first, second)
    assert truth
    assert covers(areas, truth)
    assert site.vm(VM)["snapshots"] == [], "it leaves nothing behind"


def taken(site) -> list[str]:
    """Return every snapshot of the VM that there was, oldest first."""
    found, cursor = [], 0
    while True:
        page = site.ask("journal", kind="snapshot", subject=VM, cursor=cursor)
        if not page["events"]:
            return found
        found += [event["facts"]["id"] for event in page["events"]]
        cursor = page["cursor"]
