"""Every exporter does the same: the contract, on what works here."""

from __future__ import annotations

import pytest

from lio.rigs import LoopRig, loops_work
from stuntdouble.lio import contract

checks = pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)


@pytest.mark.skipif(not loops_work(), reason="no loop devices here, or not as root")
@checks
def test_loop_device(check, tmp_path) -> None:
    rig = LoopRig(tmp_path)
    assert check(rig)
    assert rig.listing() == []
