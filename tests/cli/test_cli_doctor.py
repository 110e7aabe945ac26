"""`stuntdouble doctor`: it reports what it finds, and only what is needed today decides."""

from __future__ import annotations

import json
import os
import re
import shutil
from importlib.metadata import requires

import pytest

from stuntdouble.cli import checks
from stuntdouble.lio import Machine
from stuntdouble.units import GIB


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without any tool, kernel facility or limit."""
    nothing = tmp_path / "nothing"
    monkeypatch.setenv("PATH", str(nothing))
    monkeypatch.setattr(checks, "_ADMINISTRATION", ())
    monkeypatch.setattr(checks, "MEMORY", nothing / "MEMORY")
    names = ("target", "sys", "dev", "state", "directory")
    monkeypatch.setattr(checks, "MACHINE", Machine(**{name: str(nothing / name) for name in names}))
    monkeypatch.setattr(checks, "CGROUP_LIMITS", (nothing / "limit",))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(nothing / "cache"))
    nothing.mkdir()
    return nothing


def found(run):
    done = run("doctor", "--json")
    facts = json.loads(done.stdout)
    return done.exit_code, facts["ready"], {check["name"]: check for check in facts["checks"]}


def test_a_bare_machine_is_ready_and_told_what_to_install(run, machine):
    code, ready, made = found(run)
    assert (code, ready) == (0, True)
    missing = [name for name, check in made.items() if not check["ok"]]
    assert missing == [
        *("qemu-img", "qemu-storage-daemon", "fio", "nbdinfo", "go"),
        *(f"exporter {name}" for name in ("lio-iscsi", "lio-loopback", "loop")),
        *(f"source {name}" for name in ("nbd", "fuse", "copy")),
        *("qemu-system-x86_64", "iscsiadm", "redis-server"),
    ]
    text = run("doctor").stdout
    for name in missing:
        assert made[name]["planned"] is not made[name]["optional"]
        line = next(line for line in text.splitlines() if f" {name} " in line)
        assert line.startswith("missing")
        when = "planned: " if made[name]["planned"] else ""
        assert f"  {when}{made[name]['needed_for']}" in line
        assert made[name]["install"] in line


def test_what_is_there_is_found(run, machine, monkeypatch):
    there = ("qemu-img", "qemu-storage-daemon", "fio", "nbdinfo", "go", "iscsiadm", "redis-server")
    for command in (*there, "qemu-system-x86_64"):
        (machine / command).touch(mode=0o755)
    modules = ("target_core_mod", "target_core_iblock", "iscsi_target_mod", "tcm_loop")
    for folder in ("target", "directory", "dev", "state", "sys/block/nbd0"):
        (machine / folder).mkdir(parents=True)
    for module in modules:
        (machine / "sys/module" / module).mkdir(parents=True)
    for device in ("loop-control", "fuse"):
        (machine / "dev" / device).touch()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (machine / "MEMORY").write_text("MemTotal: 99999999 kB\nMemAvailable:  4194304 kB\n")
    _, _, made = found(run)
    assert all(check["ok"] for check in made.values())
    assert made["iscsiadm"]["found"] == str(machine / "iscsiadm")
    assert made["memory"]["found"] == "4 GiB available"


@pytest.mark.parametrize(
    ("limit", "ok"), [(str(GIB), True), (str(GIB - 1), False), ("max", True), ("", True)]
)
def test_the_limit_of_a_container_counts(run, machine, limit, ok):
    (machine / "limit").write_text(f"{limit}\n")
    code, ready, made = found(run)
    assert (made["memory"]["ok"], ready, code) == (ok, ok, 0 if ok else 1)
    assert ("Not ready" in run("doctor").stdout) is not ok


def test_a_cache_that_cannot_be_written_is_told(run, machine, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    code, _, made = found(run)
    assert code == 1
    assert "NUMBA_CACHE_DIR" in made["numba cache"]["install"]
    monkeypatch.undo()


def test_a_missing_package_is_named(run, machine, monkeypatch):
    monkeypatch.setattr(checks, "PACKAGES", ("numpy", "no-such-package"))
    code, _, made = found(run)
    assert code == 1
    assert made["packages"]["found"] == "missing: no-such-package"


def test_the_packages_are_those_of_the_distribution():
    names = [re.match(r"[\w-]+", line)[0] for line in requires("stuntdouble")]
    assert {*checks.PACKAGES, *checks.SERVING, *checks.EXPORTING} == {*names} - {"stuntdouble"}
    assert not {*checks.PACKAGES} & {*checks.SERVING}


def test_nothing_is_changed(run, machine):
    before = sorted(machine.iterdir())
    run("doctor")
    assert sorted(machine.iterdir()) == before


def test_the_place_of_compiled_functions_and_the_free_disk_are_told(run, machine, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine / "home"))
    _, ready, made = found(run)
    assert ready
    assert made["numba cache"]["found"] == str(machine / "home" / "stuntdouble")
    assert made["disk"]["found"].endswith("free here")
    usage = shutil.disk_usage(machine)._replace(free=GIB - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    code, _, made = found(run)
    assert (code, made["disk"]["ok"]) == (1, False)
