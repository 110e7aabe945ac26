"""Standard tools against a running site: its bytes, its allocation, its changed areas."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import TYPE_CHECKING

import pytest

from hypervisor.bench import BLOCK, fill, spec
from nbd.world import SIZE, areas, mapped, serve
from stuntdouble.clock import perform
from stuntdouble.errors import NotFound
from stuntdouble.extents import Runs, State
from stuntdouble.nbd import HypervisorExports, export_name
from stuntdouble.site import COPY_ON_WRITE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.paced


def test_a_snapshot_is_converted_compared_and_copied_while_the_guest_writes(tmp_path: Path):
    raw, copy = tmp_path / "raw", tmp_path / "copy"

    async def scenario(world):
        await asyncio.sleep(1)
        taken = await world.snapshot()
        uri = world.uri(export_name("snapshot", taken.id, 2000))
        await world.tool("qemu-img", "convert", "-O", "raw", uri, str(raw))
        await world.tool("nbdcopy", uri, str(copy))
        said = await world.tool("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, str(raw))
        assert "identical" in said
        return world.frozen(taken), world.vm.guest.completed

    want, completed = serve(scenario)
    assert completed > 10  # the guest was at work
    assert any(want)
    assert raw.read_bytes() == want
    assert copy.read_bytes() == want


def test_a_map_shows_what_the_offset_table_says():
    async def scenario(world):
        for _ in range(3):  # a chain
            await asyncio.sleep(1)
            taken = await world.snapshot()
        found = {}
        for key in (2000, 2001):
            uri = world.uri(export_name("snapshot", taken.id, key))
            table = await world.port.offset_table(taken, key)
            found[key] = (
                mapped(await world.tool("nbdinfo", "--map", "--json", uri)),
                json.loads(await world.tool("qemu-img", "map", "--output=json", uri)),
                table,
            )
        return found

    for rows, extents, table in serve(scenario).values():
        flags = {State.HOLE: 3, State.TO_BE_ZEROED: 2, State.WRITTEN: 0}
        for state, flag in flags.items():
            said = Runs.of([(at, size) for at, size, found in rows if found == flag])
            assert said == table.where(state), state
        data = [(row["start"], row["length"]) for row in extents if not row["zero"]]
        holes = [(row["start"], row["length"]) for row in extents if not row["data"]]
        assert Runs.of(data) == table.where(State.WRITTEN)
        assert Runs.of(holes) == table.where(State.HOLE)
        assert sum(row["length"] for row in extents) == table.capacity == SIZE
        assert table.where(State.WRITTEN)
        assert table.where(State.HOLE, State.TO_BE_ZEROED)


MODES = pytest.mark.parametrize(
    "paging",
    [
        {},
        {"tracking_page_areas": 1},
        {"tracking_page_areas": 3},
        {"tracking_page_bytes": 64 * 1024},
        {"tracking_page_bytes": 1024 * 1024, "tracking_page_areas": 7},
        {"tracking_paging": "one-page"},
        {"tracking_paging": "span"},
        {"tracking_paging": "span-empty"},
        {"tracking_paging": "random", "tracking_page_areas": 5},
    ],
    ids=lambda paging: "-".join(map(str, paging.values())) or "default",
)


@MODES
def test_dirty_bitmaps_are_the_trackers_areas(paging):
    async def scenario(world):
        first = await world.snapshot()
        await asyncio.sleep(2)
        second = await world.snapshot()
        await asyncio.sleep(2)
        third = await world.snapshot()
        uri = world.uri(export_name("snapshot", third.id, 2000))
        found = []
        for since in (*(s.change_ids[2000] for s in (first, second, third)), "*"):
            want, at = Runs.empty(), 0
            while at < SIZE:
                page = await world.port.changed_ranges(third, 2000, since, at)
                want, at = want | page.extents, page.start + page.covered
            option = f"--map=qemu:dirty-bitmap:{since}"
            rows = mapped(await world.tool("nbdinfo", option, "--json", uri))
            assert sum(length for _, length, _ in rows) == SIZE
            found.append((areas(rows), [tuple(extent) for extent in want]))
        info = await world.tool("nbdinfo", uri)
        for snapshot in (first, second, third):
            assert f"qemu:dirty-bitmap:{snapshot.change_ids[2000]}" in info
        return found

    found = serve(scenario, **paging)
    for said, want in found:
        assert said == want
    since_first, since_second, since_third, in_use = (want for _, want in found)
    assert len(since_first) > 10
    assert Runs.of(since_first).covers(Runs.of(since_second))
    assert since_first != since_second
    assert since_third == []
    assert in_use


def test_qemu_copies_only_what_a_dirty_bitmap_names():
    """The way of a backup with QEMU's own tools: data where the bitmap says dirty."""

    async def scenario(world):
        first = await world.snapshot()
        await asyncio.sleep(2)
        second = await world.snapshot()
        host, port = world.server.address
        since = first.change_ids[2000]
        image = (
            f"driver=nbd,host={host},port={port},export=snapshot/{second.id}/2000,"
            f"x-dirty-bitmap=qemu:dirty-bitmap:{since}"
        )
        said = await world.tool("qemu-img", "map", "--output=json", "--image-opts", image)
        page = await world.port.changed_ranges(second, 2000, since, 0)
        return json.loads(said), page

    rows, page = serve(scenario)
    # With this option QEMU shows dirty as "data": false (docs/interop of QEMU; its test 223).
    dirty = Runs.of([(row["start"], row["length"]) for row in rows if not row["data"]])
    assert page.covered == SIZE
    assert dirty == page.extents
    assert dirty


def test_a_delta_shows_its_own_grains_and_the_rest_as_a_hole(tmp_path: Path):
    async def scenario(world):
        await world.snapshot()
        await asyncio.sleep(2)
        taken = await world.snapshot()
        vm = world.vm
        base, delta, head = vm.disks[2000].chain.levels
        found = []
        for level in (base, delta):
            name = export_name("delta", "vm", level.file.name.removeprefix("vm/"))
            file = tmp_path / "file"
            await world.tool("qemu-img", "convert", "-O", "raw", world.uri(name), str(file))
            rows = mapped(await world.tool("nbdinfo", "--map", "--json", world.uri(name)))
            with world.rig.env.entered():
                site = world.rig.site
                grains = site.grains(level, vm.disks[2000].disk.blocks, 1 << 20)
            found.append((file.read_bytes(), rows, (grains * BLOCK).tolist()))
        return world.shown(base), world.frozen(taken), found, head.depth

    base, frozen, (of_base, of_delta), depth = serve(scenario)
    assert depth == 2
    assert of_base[0] == base
    data, rows, grains = of_delta
    held = Runs.of([(at, size) for at, size, flags in rows if flags == 0])
    assert held == Runs.of(grains)
    assert held
    assert Runs.of([(at, size) for at, size, flags in rows if flags == 3]) == held.complement(SIZE)
    for start, length in held:
        assert data[start : start + length] == frozen[start : start + length]
    for start, length in held.complement(SIZE):
        assert not any(data[start : start + length])
        assert base[start : start + length] == frozen[start : start + length]


def test_a_powered_off_disk_is_written_by_qemu_and_the_guests_host_sees_it(tmp_path: Path):
    source = tmp_path / "source"
    data = bytes(range(256)) * 4096 + bytes(SIZE - 3 * 2**20) + b"tail" * 2**19
    source.write_bytes(data)
    assert len(data) == SIZE

    async def scenario(world):
        await perform(world.rig.env, world.rig.hypervisor.power_off("vm"))
        uri = world.uri("vm/vm/2000")
        words = "qemu-img convert -n -f raw -O raw"
        await world.tool(*shlex.split(words), str(source), uri)
        head = world.vm.disks[2000].disk.head
        first = world.shown(head)
        await world.tool(*shlex.split("qemu-io -f raw -c"), "write -P 0x5a 1000 5000", uri)
        return first, world.shown(head)

    first, second = serve(scenario)
    assert first == data
    assert second == data[:1000] + b"\x5a" * 5000 + data[6000:]


def test_names_with_odd_characters_are_found_and_listed(tmp_path: Path):
    async def scenario(world):
        odd = "a b/c%ü"
        with world.rig.env.entered():
            vm = world.rig.hypervisor.add_vm(odd, [spec(2000, 2**20)], None, powered_on=False)
            fill(world.rig, vm.disks[2000].disk)
            want = world.rig.site.show(vm.disks[2000].disk.head, 0, 256, "t").tobytes()
        found = json.loads(await world.tool("nbdinfo", "--list", "--json", world.uri("")))
        uris = {row["export-name"]: row["uri"] for row in found["exports"]}
        assert export_name("vm", odd, 2000) == "vm/a%20b%2Fc%25%C3%BC/2000"
        uri = uris[export_name("vm", odd, 2000)]
        file = tmp_path / "file"
        await world.tool("nbdcopy", uri, str(file))
        return file.read_bytes(), want

    found, want = serve(scenario)
    assert found == want
    assert any(want)


def test_asking_for_a_file_again_and_again_takes_no_more_of_the_site():
    async def scenario(world):
        await world.snapshot()
        exports = HypervisorExports(world.rig.hypervisor)
        names = [name for name, _ in exports.listing() if name.startswith("delta/")]
        used = []
        for _ in range(3):
            for name in names:
                assert exports.find(name).name == name
            used.append(world.rig.site.arena.used("levels"))
        return names, used

    names, used = serve(scenario, iops=0.0)
    assert len(names) == 4
    assert used == [used[0]] * 3


def test_a_file_that_was_merged_away_ends_its_export():
    async def scenario(world):
        taken = await world.snapshot()
        exports = HypervisorExports(world.rig.hypervisor)
        name = next(n for n, _ in exports.listing() if "000001" in n)
        export = exports.find(name)
        assert b"".join(await export.read(0, 512)) == bytes(512)
        await world.port.remove_snapshot(taken)
        with pytest.raises(NotFound, match="file of vm"):
            next(await export.read(0, 512))
        with pytest.raises(NotFound, match="file of vm"):
            exports.find(name)

    serve(scenario, iops=0.0)


def test_a_copy_shows_what_its_snapshot_froze_and_cannot_be_written():
    async def scenario(world):
        taken = await world.snapshot()
        want = world.frozen(taken)
        await asyncio.sleep(1)
        with world.rig.env.entered():
            image = world.rig.site.freeze(world.rig.luns, COPY_ON_WRITE)[0]
            world.rig.opened["naa.copy"] = image.open()
        datastore = await world.port.mount_copy(("naa.copy",))
        copy = await world.port.register_vm(datastore, "vm")
        exports = HypervisorExports(world.rig.hypervisor)
        name = export_name("vm", copy.name, 2000)
        export = exports.find(name)
        names = [name for name, _ in exports.listing()]
        assert names.count(f"snapshot/{taken.id}/2000") == 1
        assert export.read_only
        return b"".join(await export.read(0, SIZE)), want

    found, want = serve(scenario, rate=50.0)
    assert found == want


def test_a_disk_that_is_off_shows_what_has_changed_up_to_now():
    async def scenario(world):
        taken = await world.snapshot()
        since = taken.change_ids[2000]
        await asyncio.sleep(2)
        option, uri = f"--map=qemu:dirty-bitmap:{since}", world.uri("vm/vm/2000")
        exports = HypervisorExports(world.rig.hypervisor)
        running = list(exports.find("vm/vm/2000").contexts())
        await perform(world.rig.env, world.rig.hypervisor.power_off("vm"))
        rows = mapped(await world.tool("nbdinfo", option, "--json", uri))
        off = list(exports.find("vm/vm/2000").contexts())
        last = await world.snapshot()
        page = await world.port.changed_ranges(last, 2000, since, 0)
        return rows, page, running, off, since

    rows, page, running, off, since = serve(scenario)
    assert page.covered == SIZE
    assert Runs.of(areas(rows)) == page.extents
    assert page.extents
    assert running == ["base:allocation"]
    dirty = [f"qemu:dirty-bitmap:{name}" for name in ("*", since)]
    assert off == ["base:allocation", *dirty]
