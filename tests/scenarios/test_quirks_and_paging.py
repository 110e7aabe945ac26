"""A backup over every way of paging and every quirk: legal ones lose nothing, others are found out."""

from __future__ import annotations

from typing import get_args

import pytest

from scenarios.tiny import live_through, tiny
from stuntdouble.errors import Misuse
from stuntdouble.hypervisor import QUIRKS
from stuntdouble.hypervisor.paging import Mode
from stuntdouble.scenarios import parse
from stuntdouble.scenarios.doors import DOORS

LEGAL = sorted(name for name, quirk in QUIRKS.items() if quirk.legal)


@pytest.fixture(params=DOORS)
def door(request):
    return request.param


def lived(tmp_path, method, door, **hypervisor):
    return live_through(
        tiny(hypervisor=hypervisor), tmp_path, methods=(method,), door=door
    ).methods[method]


def verified(lived):
    return {str(point.kind): point.verified for point in lived.restore_points}


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("method", ["software", "storage"])
def test_a_backup_reads_all_that_changed_in_every_mode(mode, method, door, tmp_path):
    found = lived(tmp_path, method, door, tracking_paging=mode, tracking_page_areas=3)
    assert verified(found) == {"full": True, "incremental": True}
    assert found.leftovers == ()


@pytest.mark.parametrize("quirk", LEGAL)
def test_a_backup_loses_nothing_on_a_quirk_that_is_legal(quirk, door, tmp_path):
    found = lived(tmp_path, "software", door, quirks=[quirk], tracking_grain_bytes="16 KiB")
    assert set(verified(found).values()) == {True}
    if quirk != "delta-stays-locked":  # which nobody can consolidate until it is released
        assert verified(found).keys() == {"full", "incremental"}
        assert found.leftovers == ()


def test_the_check_finds_what_a_consolidation_made_the_tracker_forget(door, tmp_path):
    found = lived(
        tmp_path,
        "software",
        door,
        quirks=["changes-lost-in-consolidation"],
        consolidation_bytes_per_second="1 MiB/s",
        tracking_grain_bytes="4 KiB",
    )
    assert verified(found) == {"full": True, "incremental": False}


def test_a_scenario_that_names_no_quirk_is_told_which_there_are():
    message = r"hypervisor: quirks: 'odd' is none of extend-past-128-gib, .*delayed-properties"
    with pytest.raises(Misuse, match=message):
        parse(tiny(hypervisor={"quirks": ["odd"]}), "test")
    kept = parse(tiny(hypervisor={"quirks": LEGAL, "hosts": ["main", "recovery"]}), "test")
    assert kept.hypervisor["quirks"] == LEGAL
