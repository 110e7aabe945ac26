"""The port lists snapshots as their makers were shown them."""

from __future__ import annotations

import pytest

from hypervisor.bench import THIN, rig, spec
from stuntdouble.clock import run
from stuntdouble.errors import NotFound
from stuntdouble.hypervisor import LocalHypervisor
from stuntdouble.units import MIB


def test_snapshots_are_listed_oldest_first_as_they_were_taken_until_they_are_removed():
    async def main(env):
        bench = rig(env=env, lun_bytes=32 * MIB)
        port = LocalHypervisor(bench.hypervisor, lambda naa: bench.opened[naa])
        bench.add_vm(spec(2000, 2 * MIB, THIN))
        assert await port.snapshots("vm") == ()
        taken = [await port.create_snapshot("vm", name, quiesce=False) for name in "aba"]
        assert await port.snapshots("vm") == tuple(taken)
        assert [snapshot.name for snapshot in taken] == ["a", "b", "a"]
        await port.remove_snapshot(taken[1])
        assert await port.snapshots("vm") == (taken[0], taken[2])
        with pytest.raises(NotFound, match="nobody"):
            await port.snapshots("nobody")

    run(main)
