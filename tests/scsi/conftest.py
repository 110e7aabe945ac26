"""What the tests of the device server share."""

from __future__ import annotations

import pytest

from scsi.bench import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()
