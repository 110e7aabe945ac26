"""A comparison through the vSphere API comes out as one that calls the emulator directly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stuntdouble.results import Progress, dump
from stuntdouble.scenarios import compare, load

MICROSECOND = 1e-6
STEPS = {"rescanned"}
"""What the vendor's client does in steps of its own, and a call that mounts a copy says nothing of."""


def compared(door: Any, directory: Path, scenario: str, methods: tuple[str, ...]) -> Any:
    result = compare(
        load(scenario),
        seed=1,
        trace=None,
        methods=methods,
        command="a test",
        directory=directory,
        progress=Progress(quiet=True),
        door=door,
    )
    assert all(point.verified for point in result.restore_points)
    found = json.loads(dump(result))
    for method in found["methods"].values():
        method["events"] = [e for e in method["events"] if e["kind"] not in STEPS]
    return found


def differences(one: Any, other: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        return [d for key in one for d in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, list):
        assert len(one) == len(other), path
        pairs = enumerate(zip(one, other, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{path}[{i}]")]
    return [] if one == other else [(path, one, other)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "methods"),
    [
        ("quickstart", ("software", "storage", "mounted")),
        ("existing-snapshots", ("software", "storage")),
        ("spanning-luns", ("mounted",)),
    ],
)
def test_the_vsphere_door_leads_to_the_same_result(
    scenario: str, methods: tuple[str, ...], tmp_path: Path
) -> None:
    direct = compared("direct", tmp_path / "direct", scenario, methods)
    through = compared("vsphere", tmp_path / "vsphere", scenario, methods)
    found = differences(direct, through)
    assert found, "moments are told by the microsecond, so something must differ"
    for path, one, other in found:
        told_of_moments = path.endswith(("moment", "seconds", "rpo_seconds_achieved"))
        assert told_of_moments, (path, one, other)
        assert one == pytest.approx(other, abs=2 * MICROSECOND), (path, one, other)
