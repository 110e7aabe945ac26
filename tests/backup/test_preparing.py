"""What an array does before a snapshot is paid before any VM is held still for it."""

from __future__ import annotations

import pytest

from backup.bench import spec_of, two_vms
from stuntdouble.backup import Method


@pytest.mark.parametrize("method", [Method.STORAGE, Method.MOUNTED])
def test_mirrors_are_synchronised_before_any_vm_is_held_still(method):
    bench = two_vms()
    bench.array.synchronised_bytes = 1 << 20
    report = bench.run(spec_of(method))
    assert report.ok
    assert bench.kinds()[:2] == ["job-start", "mirrors-synchronised"]
    (prepared,) = [facts for name, facts in bench.estate.calls if name == "prepare"]
    assert prepared == (("naa.a", "naa.b", "naa.c"), ())  # all volumes; no VM snapshot is open
    assert any("1 MiB copied to mirrors of 3 volumes" in line for line in report.vms[0].lines)
