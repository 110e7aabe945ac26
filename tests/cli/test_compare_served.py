"""``stuntdouble compare --hypervisor URL``: the backup server over sockets, in wall time."""

from __future__ import annotations

import signal
import time

import httpx
import pytest

from served_site import PASSWORD, SCENARIO, serving
from stuntdouble.backup.repository import Repository
from stuntdouble.results import load_remote

pytestmark = pytest.mark.paced

METHODS = ("software", "storage", "mounted")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), 60.0) as served:
        yield served


def left(site):
    """What a comparison has left beside what was there before it."""
    return sorted(
        path.name
        for path in site.scenario.parent.iterdir()
        if path.name not in {"ready.json", "small.toml"}
    )


def test_every_method_over_sockets_restores_what_guests_wrote(site):
    words = ("small.toml", "--hypervisor", site.url, "--fingerprint", site.fingerprint)
    code, shown, said = site.compared(*words, out="three")
    folder = site.scenario.parent / "three"
    assert (code, sorted(path.name for path in folder.iterdir())) == (
        0,
        ["repository", "result.json"],
    ), said
    text = (folder / "result.json").read_text()
    assert PASSWORD not in text + shown + said
    result = load_remote(text)
    assert tuple(name for name, _ in result.ordered_methods()) == METHODS
    assert result.leftovers == ()
    assert [p.verified for p in result.restore_points] == [True] * 6
    assert (result.rate, result.server) == (60.0, site.url)
    assert result.command == f"stuntdouble compare small.toml --seed 1 --hypervisor {site.url}"
    for name, method in result.ordered_methods():
        assert method.runs[0].kind == "full"
        assert all(run.outcome == "ok" for run in method.runs)
        assert method.began == result.methods["software"].began, "every method meets the same site"
        assert method.stuns.count >= 4
        assert 0 < method.snapshot_open_seconds < method.backup.seconds
        with Repository.open(folder / "repository" / name) as repository:
            assert len(repository.points()) == 2
    software, storage = result.methods["software"], result.methods["storage"]
    assert storage.snapshot_open_seconds < software.snapshot_open_seconds
    assert software.runs[1].kind == "incremental"
    assert software.runs[1].bytes_read <= software.runs[0].bytes_read
    assert "Verdict: goal met: 6 restore points, each equal to the guest's disks" in shown
    assert "Not measured: what reading costs the guests" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith("Written"))


def test_a_tracker_that_loses_changes_is_found_out(site):
    """What the oracle is for: the backup has no error, and the restore point is wrong."""
    quirk = f"{site.native}/quirks/changes-lost-in-consolidation"
    auth = ("admin", PASSWORD)
    httpx.put(quirk, json={"on": True}, auth=auth).raise_for_status()
    try:
        words = ("--hypervisor", site.url, "--insecure", "--method", "software", "--json", "w.json")
        code, shown, _ = site.compared("small.toml", *words, out="wrong")
    finally:
        httpx.put(quirk, json={"on": False}, auth=auth).raise_for_status()
    result = load_remote((site.scenario.parent / "w.json").read_text())
    assert code == 3
    assert "Verdict: wrong data: 1 of 2 restore points differs" in shown
    assert [point.verified for point in result.restore_points] == [True, False]


def test_a_delta_that_stays_is_left_behind(site):
    quirk = f"{site.native}/quirks/delta-stays-locked"
    auth = ("admin", PASSWORD)
    httpx.put(quirk, json={"on": True}, auth=auth).raise_for_status()
    try:
        words = ("--hypervisor", site.url, "--insecure", "--method", "storage", "--quiet")
        code, shown, _ = site.compared("small.toml", *words, out="locked")
    finally:
        httpx.put(quirk, json={"on": False}, auth=auth).raise_for_status()
    assert code == 1
    assert "left behind" in shown


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("small.toml", "--insecure", "--password", "wrong"), 1, "this user with this password"),
        (("small.toml", "--insecure", "--user", "nobody"), 1, "this user with this password"),
        (("small.toml",), 2, "its certificate is not trusted"),
        (("small.toml", "--fingerprint", "0" * 64), 2, "its certificate's SHA-256 is "),
        (("small.toml", "--fingerprint", "abc"), 2, "is no SHA-256"),
        (("small.toml", "--insecure", "--seed", "7"), 2, "serves seed 1, not 7: give --seed 1"),
        (("quickstart", "--insecure"), 2, "serves scenario small, not quickstart"),
        (("other.toml", "--insecure"), 2, "serves a scenario named small with other values"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(site, words, code, reason):
    other = SCENARIO.replace("iops = 20", "iops = 21")
    assert other != SCENARIO
    (site.scenario.parent / "other.toml").write_text(other)
    before = left(site)
    found = site.compared(*words, "--hypervisor", site.url, "-q", out="refused")
    assert found[0] == code
    assert found[1] == ""
    assert found[2].startswith("stuntdouble: ")
    assert reason in found[2]
    assert found[2].count("\n") == 1
    assert left(site) == before


def test_a_site_without_a_clock_that_goes_is_refused(site):
    auth = ("admin", PASSWORD)
    httpx.post(f"{site.native}/clock/pause", auth=auth).raise_for_status()
    try:
        words = ("small.toml", "--insecure", "--hypervisor", site.url, "-q")
        found = site.compared(*words, out="refused")
    finally:
        httpx.post(f"{site.native}/clock/resume", auth=auth).raise_for_status()
    assert found[:2] == (2, "")
    assert "its clock is paused: resume it" in found[2]


def test_a_server_that_goes_away_leaves_nothing_half_written(tmp_path):
    with serving(tmp_path, 5.0) as site:
        run = site.comparing("small.toml", "--insecure", "--hypervisor", site.url)
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".out.*.partial/repository/software/repository.json")):
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(0.5)
        site.process.send_signal(signal.SIGKILL)
        _, said = run.communicate(timeout=120)
        assert run.returncode == 1
        last = said.splitlines()[-1]
        assert last.startswith("stuntdouble: ")
        assert last.endswith(" does not answer")
        assert "Traceback" not in said
        assert left(site) == []
