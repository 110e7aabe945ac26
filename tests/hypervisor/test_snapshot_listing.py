"""The port lists snapshots as their makers were shown them; what is kept of those that are gone."""

from __future__ import annotations

import pytest

from hypervisor.bench import BLOCK, THIN, rig, spec, written
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


def test_moments_of_snapshots_that_are_gone_are_let_go_of():
    bench = rig()
    vm = bench.add_vm(spec(2000))
    host, site = bench.hypervisor, bench.site
    disk = vm.disks[2000].disk
    standing = bench.do(host.create_snapshot(vm, "standing"))
    maps, kept = [], []
    for cycle in range(40):
        bench.site.write(disk, cycle * BLOCK, BLOCK)
        taken = bench.do(host.create_snapshot(vm, f"s{cycle}"))
        moment = host.moments[taken.id, 2000]
        if cycle % 10 == 0:
            kept.append((moment.seconds, written(site, disk, moment)))
        del moment
        bench.do(host.remove_snapshot(vm, taken.id))
        wanted = {seconds for seconds, _ in kept}
        host.forget_moments(lambda moment, wanted=wanted: moment.seconds in wanted)
        site.reclaim()
        maps.append(site.arena.used("maps") - len(kept))
    assert len(set(maps[1:])) == 1  # as many as ever, but for what was wanted
    assert (standing.id, 2000) in host.moments
    assert len(host.moments) == 1 + len(kept)
    for moment, (seconds, data) in zip(list(host.moments.values())[1:], kept, strict=True):
        assert moment.seconds == seconds
        assert written(site, disk, moment) == data
    bench.do(host.revert(vm, standing.id))  # its moment is there
    assert written(site, disk, disk.moment(0.0)) == bytes(MIB)
