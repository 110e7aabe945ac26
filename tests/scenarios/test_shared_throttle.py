"""One throttle for the whole job: however many VMs are read side by side, by whichever method."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from scenarios.tiny import tiny
from stuntdouble.iops import Purpose
from stuntdouble.iops.reference import ReferenceStream
from stuntdouble.results import Progress, Result
from stuntdouble.scenarios import compare, parse
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

RATE, BLOCK = 4 * MIB, 64 * KIB


def estate(vms: int, **throttle: Any) -> dict[str, Any]:
    """Return the tiny scenario with *vms* small VMs of two disks each, all read at a time."""
    table = tiny()
    vm = table["vms"][0]
    vm["load"] = {"kind": "none"}
    vm["disks"] = [
        {"key": key, "datastore": "ds-1", "size": "4 MiB", "written": "2 MiB"}
        for key in (2000, 2001)
    ]
    table["vms"] = [copy.deepcopy(vm) | {"name": f"vm-{n}"} for n in range(vms)]
    throttle = {"depth": 3, "block": BLOCK, "rate": RATE} | throttle
    table["backup"] = {"runs": ["full"], "concurrency": vms, "transport": "san"}
    table["backup"]["throttle"] = throttle
    table["times"] = {"before": 1, "between": 1, "after": 1}
    return table


class Watch:
    """What all reads of a job have under way, and when they started it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.under_way = self.most = 0
        self.starts: list[tuple[float, int]] = []
        real = ReferenceStream._item

        def item(stream: ReferenceStream, index: int) -> Any:
            if stream.spec.purpose is not Purpose.BACKUP:
                yield from real(stream, index)
                return
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.starts.append((stream._engine.env.now, stream._items[index][1]))
            # the item counts as ended before its stream starts another one
            note, ended = stream._note, False

            def over(at: int) -> None:
                nonlocal ended
                self.under_way -= not ended and at == index
                ended |= at == index
                note(at)

            stream._note = over
            yield from real(stream, index)

        patch.setattr(ReferenceStream, "_item", item)


def job(table: dict[str, Any], method: str, directory: Path, engine: str = "kernel") -> Result:
    return compare(
        parse(table, "test"),
        seed=1,
        trace=None,
        methods=(method,),
        command="test",
        directory=directory,
        progress=Progress(quiet=True),
        engine=engine,
    )


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
@pytest.mark.parametrize("vms", [2, 4])
def test_all_vms_together_keep_to_the_rate_and_the_depth(vms, method, tmp_path, monkeypatch):
    watch = Watch(monkeypatch)
    result = job(estate(vms), method, tmp_path, "reference").methods[method]
    assert all(point.verified for point in result.restore_points)
    assert watch.most <= 3
    began, moved = watch.starts[0][0], 0
    for time, size in watch.starts:
        moved += size
        assert moved <= (time - began) * RATE + 3 * BLOCK + 1
    took = result.foreground.reading.seconds
    assert result.backup.bytes_read == moved
    assert 0.9 * RATE <= moved / took <= RATE * (1 + 1e-9)


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
@pytest.mark.parametrize("vms", [2, 4])
def test_depth_alone_bounds_what_all_vms_have_under_way(vms, method, tmp_path, monkeypatch):
    watch = Watch(monkeypatch)
    result = job(estate(vms, rate=0), method, tmp_path, "reference").methods[method]
    assert all(point.verified for point in result.restore_points)
    assert watch.most == 3


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
def test_the_kernel_keeps_to_the_rate_as_well(method, tmp_path):
    result = job(estate(4), method, tmp_path).methods[method]
    rate = result.backup.bytes_read / result.foreground.reading.seconds
    assert 0.9 * RATE <= rate <= RATE * (1 + 1e-9)
