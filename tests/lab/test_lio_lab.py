"""The kernel target's laboratory, with a stand-in for QEMU: image, guest, command."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import fake_programs
from lio.rigs import loops_work
from stuntdouble.errors import Interrupted, Misuse, NotFound, TimedOut
from stuntdouble.lab.lio import archive, command, guest, image, needs, overlay
from stuntdouble.lab.lio.image import Image, Recipe
from stuntdouble.lab.processes import ProgramError
from stuntdouble.lio import KernelError

TESTS = Path(__file__).parent.parent
QEMU = f"#!{sys.executable}\n" + (TESTS / "lab" / "fake_guest.py").read_text()

# The archive and what is in it. ---------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio here")
def test_an_archive_is_one_that_cpio_unpacks(tmp_path) -> None:
    files = {"init": b"#!/bin/sh\n", "a/b/c.py": b"x = 1\n", "a/empty": b"", "a/odd": b"1" * 5}
    made = archive.archive(files, frozenset({"init"}))
    words = ["cpio", "--extract", "--make-directories", "--quiet"]
    subprocess.run(words, input=made, cwd=tmp_path, check=True)
    for name, data in files.items():
        assert (tmp_path / name).read_bytes() == data
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a/b/c.py").stat().st_mode & 0o777 == 0o644
    assert len(archive.padded(b"12345")) == 8
    assert len(archive.padded(b"1234")) == 4


def test_what_goes_into_the_guest_needs_nothing_but_the_standard_library(tmp_path) -> None:
    for package in overlay.PACKAGES:
        for path, data in overlay._files(package):
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    (tmp_path / "agent.py").write_bytes(overlay._source(overlay.AGENT))
    words = [sys.executable, "-S", "-c", "import agent; print(*agent.call_hello())"]
    plain = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(words, capture_output=True, text=True, env=plain, check=False)
    assert done.stdout == "kernel python\n", done.stderr
    assert len(overlay.overlay()) > 500_000


# The image. -----------------------------------------------------------------------------------

DEBOOTSTRAP = r"""
import os, sys
from pathlib import Path
if os.environ.get("FAKE_MIRROR") == "gone":
    sys.exit("E: Failed getting release file")
root = Path(sys.argv[-2])
for name in ("usr/bin", "usr/share/doc", "var/cache", "lib/modules"):
    (root / name).mkdir(parents=True)
(root / "usr/bin/python3").write_text("#!")
(root / "usr/share/doc/long").write_text("x" * 1000)
"""
CHROOT = r"""
import os, sys
from pathlib import Path
line = sys.argv[-1]
if "depends" in line:
    if os.environ.get("FAKE_MIRROR") != "no kernel":
        print("linux-image-cloud-amd64\n  Depends: linux-image-6.1-cloud")
if "download" in line:
    (Path(sys.argv[1]) / "var/cache/linux-image-6.1.deb").write_text("deb")
"""
DPKG = r"""
import sys
from pathlib import Path
top = Path(sys.argv[-1])
modules = top / "lib/modules/6.1"
for name in ("kernel/drivers/target", "kernel/drivers/gpu"):
    (modules / name).mkdir(parents=True)
    (modules / name / "x.ko").write_text("ko")
(modules / "modules.order").write_text("")
(top / "boot").mkdir()
(top / "boot/vmlinuz-6.1").write_text("kernel")
"""
PROGRAMS = {"debootstrap": DEBOOTSTRAP, "chroot": CHROOT, "dpkg-deb": DPKG, "depmod": ""}
REAL = ("bash", "find", "cpio", "gzip", "sh")


@pytest.fixture
def makers(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        fake_programs.put(folder, name, text)
    for name in REAL:
        if (path := shutil.which(name)) is None:
            pytest.skip(f"no {name} here")
        (folder / name).symlink_to(path)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return folder


def made(home: Path, said: list | None = None) -> Image:
    told = [] if said is None else said
    return asyncio.run(image.image(Recipe(), home, told.append))


def test_an_image_is_made_once_and_kept(makers, tmp_path) -> None:
    home, said = tmp_path / "home", []
    first = made(home, said)
    assert first.kernel.read_text() == "kernel"
    words = ["gzip", "--decompress", "--stdout", str(first.root)]
    unpacked = subprocess.run(words, capture_output=True, check=True).stdout
    assert b"usr/bin/python3" in unpacked
    assert b"lib/modules/6.1/kernel/drivers/target/x.ko" in unpacked
    assert b"drivers/gpu" not in unpacked
    assert b"usr/share/doc" not in unpacked
    assert len(said) == 1
    assert sorted(path.name for path in home.rglob("*") if path.is_file()) == [
        "initrd.gz",
        "vmlinuz",
    ]
    for path in makers.iterdir():
        path.unlink()
    assert made(home, said) == first
    assert len(said) == 1
    assert Recipe(packages=("python3",)).key != Recipe().key


@pytest.mark.parametrize(("mirror", "why"), [("gone", "Failed getting"), ("no kernel", "none in")])
def test_an_image_that_cannot_be_made_leaves_nothing(mirror, why, makers, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_MIRROR", mirror)
    with pytest.raises(Misuse, match=why):
        made(tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []


def test_only_root_makes_an_image(makers, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Misuse, match="only root can make it"):
        made(tmp_path / "home")


def test_the_cache_is_the_users(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert image.cache() == tmp_path / "stuntdouble" / "lio-lab"


def test_what_is_missing_is_named_with_its_packages(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(needs, "_ADMINISTRATION", ())
    with pytest.raises(Misuse, match=r"needs qemu-system-x86_64: sudo apt-get .* qemu-system-x86$"):
        needs.require(making=False)
    with pytest.raises(Misuse, match="qemu-system-x86 debootstrap cpio gzip kmod dpkg coreutils"):
        needs.require(making=True)


# The guest. -----------------------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / guest.QEMU).write_text(QEMU)
    (folder / guest.QEMU).chmod(0o755)
    (tmp_path / "rig").mkdir()
    (tmp_path / "vmlinuz").write_text("kernel")
    (tmp_path / "initrd.gz").write_text("odd")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PIDS", str(tmp_path / "pid"))
    monkeypatch.setenv("FAKE_FOLDER", str(tmp_path / "rig"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *sys.path]))
    yield tmp_path
    if (tmp_path / "pid").exists():
        number = int((tmp_path / "pid").read_text())
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def asked(bench: Path, *calls: tuple) -> list:
    """Boot, make calls, and return what came of them."""

    async def main() -> list:
        kept = Image(bench / "vmlinuz", bench / "initrd.gz")
        found = []
        async with guest.booted(kept, b"overlay", bench) as up:
            assert (bench / "root").read_bytes() == b"odd\0overlay"
            for name, facts, *more in calls:
                try:
                    found.append(await up.call(name, facts, **dict(*more)))
                except (TimedOut, Interrupted, NotFound, KernelError) as error:
                    found.append(error)
        return found

    return asyncio.run(main())


def test_a_guest_does_what_it_is_told(bench, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_GUEST", "babble")
    hello, echo, *errors = asked(
        bench,
        ("hello", None),
        ("echo", {"a": 1}),
        ("refuse", {"kind": "NotFound"}),
        ("refuse", {"kind": "OSError"}),
        ("nothing", None),
    )
    assert sorted(hello) == ["kernel", "python"]
    assert echo == {"a": 1}
    assert errors[0] == NotFound("thing", "x")
    assert str(errors[1]).startswith("cannot go on in the guest: OSError")
    assert errors[2] == NotFound("call", "nothing")


@pytest.mark.skipif(not loops_work(), reason="no loop devices here, or not as root")
def test_a_guest_exports_and_takes_back(bench) -> None:
    file = str(bench / "rig" / "lun.raw")
    request = {"source": file, "held": False, "portal": ["127.0.0.1", 3260]}
    request["initiators"] = [["iqn.2026-11.org.example:h", {"user": "u", "secret": "s" * 12}]]

    async def main() -> None:
        kept = Image(bench / "vmlinuz", bench / "initrd.gz")
        async with guest.booted(kept, b"", bench) as up:
            facts = {"kind": "lio-iscsi", "request": request}
            export = await up.call("export", facts)
            listed = [row for row in await up.call("listing") if "/sys/block" not in row]
            assert len(listed) == 2  # a back end and a target; others have loop devices here
            assert await up.call("sessions", {"number": export["id"]}) == []
            await up.call("unexport", {"number": export["id"]})
            export = await up.call("export", facts)
            found = await up.call("recover", {"everything": True})
            assert found == {"ended": [export["id"]], "left": {}}
            assert all("/sys/block" in row for row in await up.call("listing"))
            assert {each["name"] for each in await up.call("probe")} >= {"loop", "lio-iscsi"}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("plan", "error", "said"),
    [
        ("no start", ProgramError, "could not set up host forwarding"),
        ("dies at boot", Interrupted, "ModuleNotFoundError: no module"),
        ("mute", TimedOut, "ModuleNotFoundError: no module"),
    ],
)
def test_a_guest_that_does_not_come_up_says_why(plan, error, said, bench, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_GUEST", plan)
    monkeypatch.setattr(guest, "_BOOT_SECONDS_MAX", 2.0)
    with pytest.raises((error, Interrupted, ProgramError), match=said):
        asked(bench)


def test_a_guest_that_dies_or_hangs_in_a_call_is_told_of(bench, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_GUEST", "hello")
    (lost,) = asked(bench, ("hello", None))
    assert isinstance(lost, Interrupted)
    monkeypatch.setenv("FAKE_GUEST", "slow")
    (bench / "channel").unlink()
    shutil.rmtree(bench / "rig")
    (bench / "rig").mkdir()
    (late,) = asked(bench, ("contract", {"kind": "loop"}, {"seconds": 0.5}))
    assert isinstance(late, TimedOut)


# The command. ---------------------------------------------------------------------------------


@pytest.fixture
def run(bench, monkeypatch, capsys):
    home = bench / "home"
    kept = home / Recipe().key
    kept.mkdir(parents=True)
    for name in ("vmlinuz", "initrd.gz"):
        (kept / name).write_text("x")

    def go(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            command.main([*words, "--cache", str(home)])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return go


@pytest.mark.skipif(not loops_work(), reason="no loop devices here, or not as root")
def test_checks_are_told_one_by_one_and_written(run, bench) -> None:
    code, out, err = run("--only", "contract", "--json", str(bench / "lio.json"))
    assert code == 0, out + err
    rows = out.splitlines()
    assert len(rows) == 3
    assert all(row.startswith("ok ") for row in rows)
    assert "3 of 3 met" in err
    content = json.loads((bench / "lio.json").read_text())
    assert content["met"] is True
    assert {finding["met"] for finding in content["findings"]} == {True}
    assert content["about"]["key"] == Recipe().key


def test_a_check_that_fails_is_a_miss(run, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_GUEST", "fails")
    code, out, err = run("--only", "contract")
    assert code == 1
    assert "MISSED lio-iscsi: fails: the target is on fire" in out
    assert "0 of 3 met" in err


def test_a_guest_that_does_not_start_is_one_line(run, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_GUEST", "no start")
    code, out, err = run("--only", "contract")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("stuntdouble: qemu-system-x86_64 ended with exit code 1")


@pytest.mark.parametrize("words", [("--only", "nothing"), ("--json", "/proc/nowhere/x")])
def test_wrong_words_are_one_line(run, words) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_whoever_stops_it_leaves_no_guest(run, bench, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_GUEST", "slow")

    def stop(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(command, "contract", stopped(stop))
    code, _, err = run("--only", "contract")
    assert code == 143
    assert "nothing is left behind" in err


def stopped(stop):
    async def contract(*_: object) -> None:
        stop()
        await asyncio.sleep(30)

    return contract
