"""iSCSI as foreign tools see it: libiscsi's, and QEMU's, on volumes of an emulated array.

Each is let at tgtd over the same bytes, too: what is asked of ours is what another target does.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from interop import judged, served
from interop.judged import FOREIGN, GUARDED, JUDGE, LUNS, SIZE, STRANGER
from stuntdouble.units import KIB, MIB

pytestmark = [pytest.mark.paced, pytest.mark.slow]

TOOLS = ("iscsi-ls", "iscsi-inq", "iscsi-readcapacity16", "qemu-img", "qemu-io")


@pytest.fixture(scope="module")
def everybody():
    served.need(*TOOLS)
    with judged.beside_tgtd() as found:
        yield found


@pytest.fixture(params=[*LUNS, *FOREIGN])
def at(everybody, request):
    """Each LUN in turn."""
    return everybody[request.param]


@pytest.fixture
def ours(everybody):
    return everybody["snapshot"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=served.SECONDS_MAX
    )


def tool(*words: str) -> str:
    done = run(*words)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


# Who gets in. ---------------------------------------------------------------------------------


def test_iscsi_ls_finds_nothing_for_a_stranger(ours) -> None:
    done = run("iscsi-ls", "-s", "-i", STRANGER, ours.server)
    assert "Target" not in done.stdout
    assert "Lun" not in done.stdout


def test_a_stranger_does_not_get_in(ours) -> None:
    done = run("iscsi-inq", "-i", STRANGER, ours.url)
    assert done.returncode != 0
    assert "STUNTDBL" not in done.stdout


MUTUAL = "?target_user=array&target_password={}"


@pytest.mark.parametrize(
    ("account", "more", "gets_in"),
    [
        ("guard%asecretof16bytes@", "", True),
        ("guard%asecretof16bytes@", MUTUAL.format("anotherof16bytes"), True),
        ("guard%asecretof16bytes@", MUTUAL.format("notwhatitexpects"), False),
        ("guard%wrong@", "", False),
        ("other%asecretof16bytes@", "", False),
        ("", "", False),
    ],
)
def test_who_knows_the_secret_gets_in_and_nobody_else(ours, account, more, gets_in) -> None:
    url = f"iscsi://{account}{ours.portal}/{ours.target}/7{more}"
    done = run("iscsi-inq", "-i", GUARDED, url)
    assert (done.returncode == 0) == gets_in, done.stdout + done.stderr
    assert ("STUNTDBL" in done.stdout) == gets_in


# What a LUN says of itself. -------------------------------------------------------------------


def test_iscsi_ls_finds_the_target_and_its_luns(at) -> None:
    told = tool("iscsi-ls", "-s", "-i", JUDGE, at.server)
    (found,) = [each for each in told.split("Target:") if each.startswith(f"{at.target} ")]
    assert f"Portal:{at.portal},1" in found
    luns = re.findall(r"Lun:(\d+) +Type:DIRECT_ACCESS \(Size:(\d+)M\)", found)
    assert luns == [(str(at.lun), str(SIZE // MIB - 1))]  # it counts to the last block


def test_iscsi_inq_shows_identity_and_every_page_that_is_offered(at) -> None:
    told = tool("iscsi-inq", "-i", JUDGE, at.url)
    assert f"Vendor:{at.vendor}" in told
    assert "Peripheral Device Type:DIRECT_ACCESS" in told
    told = tool("iscsi-inq", "-i", JUDGE, "-e1", "-c0", at.url)
    pages = re.findall(r"Page:0x(\w\w) (?!unknown)", told)  # those that it can read
    assert {"00", "80", "83", "b0", "b1", "b2"} == set(pages)
    for page in pages:
        tool("iscsi-inq", "-i", JUDGE, "-e1", f"-c{int(page, 16)}", at.url)
    told = tool("iscsi-inq", "-i", JUDGE, "-e1", "-c131", at.url)
    assert "Designator Type:(3) NAA" in told
    done = run("iscsi-inq", "-i", JUDGE, "-e1", "-c177", at.url.replace(f"/{at.lun}", "/99"))
    assert done.returncode != 0, "there is no such LUN"


def test_iscsi_readcapacity16_tells_the_size(at) -> None:
    told = tool("iscsi-readcapacity16", "-i", JUDGE, at.url)
    assert f"Total size:{SIZE}" in told
    assert "LOGICAL BLOCK LENGTH IN BYTES:512" in told


# What it holds. -------------------------------------------------------------------------------


@pytest.mark.parametrize("coroutines", ["1", "8"])
def test_qemu_img_convert_reads_what_is_there(at, coroutines, tmp_path) -> None:
    out = tmp_path / "out.raw"
    tool("qemu-img", "convert", "-m", coroutines, "-W", "-O", "raw", at.url, str(out))
    assert out.read_bytes() == at.truth()


def test_qemu_img_compare_finds_every_difference(at, tmp_path) -> None:
    copy = tmp_path / "copy.raw"
    copy.write_bytes(at.truth())
    words = ("qemu-img", "compare", "-f", "raw", "-F", "raw", at.url, str(copy))
    assert "identical" in tool(*words)
    with copy.open("r+b") as file:
        file.seek(SIZE - 1)
        last = file.read()[0]
        file.seek(SIZE - 1)
        file.write(bytes([last ^ 1]))
    done = run(*words)
    assert (done.returncode, "mismatch" in done.stdout) == (1, True)


def qemu_io(at, *commands: str, read_only: bool = False) -> subprocess.CompletedProcess[str]:
    words = [word for command in commands for word in ("-c", command)]
    return run("qemu-io", "-f", "raw", *(["-r"] if read_only else []), *words, at.url)


@pytest.mark.parametrize("number", range(2))
def test_qemu_io_writes_where_it_may(everybody, at, number) -> None:
    """What one writes is there, and nothing else changes, here or in any other LUN."""
    before = {name: each.truth() for name, each in everybody.items()}
    fill = 0x5A + number
    done = qemu_io(
        at, f"write -P {fill} 1M 3M", "write -P 0xa5 512 1536", "write -z 5M 1M", "flush",
        "discard 8M 1M", f"read -P {fill} 1M 3M", "read -P 0xa5 512 1536", "read -P 0 5M 1M",
    )  # fmt: skip
    after = {name: each.truth() for name, each in everybody.items()}
    if at.read_only:
        assert done.returncode != 0
        assert "write protected" in done.stdout + done.stderr
        assert after == before
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail" not in done.stdout
    assert "error" not in done.stdout
    changed = [name for name in before if after[name] != before[name]]
    (name,) = [name for name, each in everybody.items() if each is at]
    assert changed in ([name], []), "what is written a second time is there already"
    was, shown = before[name], after[name]
    assert shown[MIB : 4 * MIB] == bytes([fill]) * (3 * MIB)
    assert shown[512:2048] == b"\xa5" * 1536
    assert shown[5 * MIB : 6 * MIB] == bytes(MIB)
    for begin, end in ((0, 512), (2048, MIB), (4 * MIB, 5 * MIB), (6 * MIB, 8 * MIB)):
        assert shown[begin:end] == was[begin:end]
    assert shown[9 * MIB :] == was[9 * MIB :]


def test_qemu_io_reads_from_anywhere(at) -> None:
    truth = at.truth()
    zeros = [n * MIB for n in range(SIZE // MIB) if not any(truth[n * MIB : (n + 1) * MIB])]
    assert zeros, "a third holds zeros"
    done = qemu_io(at, *(f"read -P 0 {at} 1M" for at in zeros), read_only=True)
    assert done.returncode == 0, done.stdout + done.stderr
    full = next(n for n in range(0, SIZE, MIB) if truth[n : n + 4 * KIB].strip(b"\0"))
    done = qemu_io(at, f"read -P 0 {full} 4k", read_only=True)
    assert "Pattern verification failed" in done.stdout
