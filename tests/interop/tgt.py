"""tgtd, a target that others wrote, for as long as a test needs it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest

TARGET = "iqn.2026-11.org.example:foreign"
CI = bool(os.environ.get("CI"))


class Tgt:
    """A running tgtd; ``admin`` is tgtadm's words to it."""

    def __init__(self, port, control):
        self.portal = f"127.0.0.1:{port}"
        self.control = str(control)

    def admin(self, *words, check=True):
        command = ("tgtadm", "-C", self.control, "--lld", "iscsi", *words)
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=check)

    def unit(self, lun, path, **settings):
        """Add a unit over a file."""
        self.admin(
            "--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", str(lun), "-b", str(path)
        )
        for name, value in settings.items():
            words = ("--mode", "logicalunit", "--op", "update", "--tid", "1", "--lun", str(lun))
            self.admin(*words, "--params", f"{name}={value}")

    def remove(self, lun):
        self.admin("--mode", "logicalunit", "--op", "delete", "--tid", "1", "--lun", str(lun))

    def set(self, **keys):
        """Set iSCSI keys of the target."""
        for name, value in keys.items():
            words = ("--mode", "target", "--op", "update", "--tid", "1")
            self.admin(*words, "--name", name, "--value", value)

    def account(self, user, secret, *, outgoing=False):
        self.admin("--mode", "account", "--op", "new", "--user", user, "--password", secret)
        words = ("--mode", "account", "--op", "bind", "--tid", "1", "--user", user)
        self.admin(*words, *(("--outgoing",) if outgoing else ()))


@contextmanager
def tgtd(directory):
    """Run one on a free port, with a target that admits everybody."""
    for tool in ("tgtd", "tgtadm"):
        if shutil.which(tool) is None:
            (pytest.fail if CI else pytest.skip)(f"{tool} is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = Tgt(port, port % 32768)  # control channels have numbers of their own, of 15 bits
    with (directory / "tgtd.log").open("wb") as log:
        words = ("tgtd", "-f", "-C", found.control, "-t", "2", "--iscsi", f"portal={found.portal}")
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            wait_for(found, daemon)
            new = ("--mode", "target", "--op", "new", "--tid", "1", "--targetname", TARGET)
            found.admin(*new)
            found.admin("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
            yield found
        finally:
            end(found, daemon)


def wait_for(found, daemon):
    for _ in range(100):
        asked = found.admin("--mode", "target", "--op", "show", check=False)
        if asked.returncode == 0:
            return
        assert daemon.poll() is None, "tgtd has ended"
        time.sleep(0.05)
    pytest.fail("tgtd does not answer")


def end(found, daemon):
    """End it: it takes no signal but the last while it has targets."""
    with suppress(subprocess.SubprocessError):
        found.admin("--mode", "target", "--op", "delete", "--tid", "1", "--force", check=False)
        found.admin("--op", "delete", "--mode", "system", check=False)
    try:
        daemon.wait(5)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait(5)
