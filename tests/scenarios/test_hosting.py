"""A full disk of this machine ends a comparison: it is no method that failed."""

from __future__ import annotations

import errno
import os

import pytest

from scenarios.tiny import live_through, tiny
from stuntdouble.backup import chunks


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
def test_a_full_disk_of_this_machine_ends_the_run(method, tmp_path, monkeypatch):
    def full(descriptor: int, data: bytes, offset: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(chunks, "write_all", full)
    with pytest.raises(OSError, match="No space left"):
        live_through(tiny(), tmp_path, methods=(method,))
