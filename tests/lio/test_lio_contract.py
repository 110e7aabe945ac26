"""Every exporter does the same: the contract, on what works here."""

from __future__ import annotations

import pytest

from lio.rigs import LoopRig, ModelRig, loops_work
from stuntdouble.lio import contract

checks = pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
with_loops = pytest.mark.skipif(not loops_work(), reason="no loop devices here, or not as root")


@with_loops
@checks
def test_loop_device(check, tmp_path) -> None:
    rig = LoopRig(tmp_path)
    assert check(rig)
    assert rig.listing() == []


@with_loops
@pytest.mark.parametrize("kind", ["lio-iscsi", "lio-loopback"])
@checks
def test_the_kernels_target_as_a_model(check, kind, tmp_path, monkeypatch) -> None:
    rig = ModelRig(kind, tmp_path, monkeypatch)
    assert check(rig)
    assert rig.listing() == []
