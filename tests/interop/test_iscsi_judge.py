"""iscsi-test-cu, libiscsi's judge of targets: all families, on ours and on tgtd in the same run.

It is let at what guests wrote, which is rendered when it is read; at what came from outside; and at
a promoted snapshot, which is read-only.  What fails is listed here, each with its reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import pytest

from interop import judged, served

pytestmark = [pytest.mark.paced, pytest.mark.slow]

TESTS: Final = 230  # of libiscsi 1.19
FAILURES_MAX: Final = 2

EXPECTED: Final = {
    "GetLBAStatus.UnmapSingle": (
        "asks for block i + 1 and expects to be told of block i + 8, where a physical block has 8"
    ),
}
"""Tests that fail on a volume that can be written to, each with its reason."""

_DATA: Final = "writes first what it reads or changes then, and a promoted snapshot is read-only"
_TAKEN: Final = "expects a write that somebody's reservation allows to be carried out"
_REFUSED: Final = (
    "expects the CDB, or the data, to be found fault with; that the unit is read-only comes first"
)
_OFFERED: Final = "takes what is refused because the unit is read-only for what is not offered"

READ_ONLY: Final = {
    _DATA: """
        CompareAndWrite.DpoFua CompareAndWrite.Simple ExtendedCopy.Simple GetLBAStatus.UnmapSingle
        OrWrite.DpoFua OrWrite.Simple OrWrite.Verify OrWrite.ZeroBlocks
        Unmap.Simple Unmap.ZeroBlocks
        Write10.Async Write10.DpoFua Write10.Simple Write10.ZeroBlocks
        Write12.DpoFua Write12.Simple Write12.ZeroBlocks
        Write16.DpoFua Write16.Simple Write16.ZeroBlocks
        WriteSame10.Check WriteSame10.Simple WriteSame10.Unmap WriteSame10.UnmapUnaligned
        WriteSame16.Check WriteSame16.Simple WriteSame16.Unmap WriteSame16.UnmapUnaligned
        WriteVerify10.Dpo WriteVerify10.Flags WriteVerify10.Simple WriteVerify10.ZeroBlocks
        WriteVerify12.Dpo WriteVerify12.Flags WriteVerify12.Simple WriteVerify12.ZeroBlocks
        WriteVerify16.Dpo WriteVerify16.Flags WriteVerify16.Simple WriteVerify16.ZeroBlocks
        iSCSIResiduals.Write10Residuals iSCSIResiduals.Write12Residuals
        iSCSIResiduals.Write16Residuals iSCSIResiduals.WriteVerify10Residuals
        iSCSIResiduals.WriteVerify12Residuals iSCSIResiduals.WriteVerify16Residuals
        iSCSITMF.AbortTaskSimpleAsync
    """,
    _TAKEN: """
        ProutReserve.AccessEA ProutReserve.AccessEAAR ProutReserve.AccessEARO
        ProutReserve.AccessWE ProutReserve.AccessWEAR ProutReserve.AccessWERO
    """,
    _REFUSED: """
        CompareAndWrite.Miscompare CompareAndWrite.Unwritten
        WriteSame10.InvalidDataOutSize WriteSame16.InvalidDataOutSize
    """,
    _OFFERED: "Unmap.VPD WriteSame10.UnmapVPD WriteSame16.UnmapVPD",
}
"""Tests that fail on a promoted snapshot, by their reason.  None that only reads is among them."""


class Verdict(NamedTuple):
    """What the judge said: names of tests that failed, that skipped something, and lines of that."""

    tests: int
    failed: frozenset[str]
    skipped: frozenset[str]
    skips: int

    def __str__(self) -> str:
        passed = self.tests - len(self.failed)
        return (
            f"{self.tests} tests, {passed} passed, {len(self.failed)} failed;"
            f" {self.skips} skip lines of {len(self.skipped)} tests"
        )


def parsed(told: str) -> Verdict:
    """Return the verdict that a report tells.  Names come before what is said of them."""
    summary = re.search(r"^ +tests +(\d+) +(\d+) +(\d+) +(\d+)", told, re.MULTILINE)
    assert summary is not None, f"it did not come to an end: {told[-2000:]}"
    total, ran, passed, failures = map(int, summary.groups())
    failed, skipped = set(), set()
    suite = test = ""
    for line in told.splitlines():
        if found := re.match(r"Suite: (\S+)", line):
            suite = found[1]
        if found := re.match(r"  Test: (\S+) \.\.\.", line):
            test = found[1]
        if re.search(r"(^|\.\.\.)FAILED$", line):
            failed.add(f"{suite}.{test}")
        if "[SKIPPED]" in line:
            skipped.add(f"{suite}.{test}")
    assert (total, passed, failures) == (ran, total - len(failed), len(failed))
    return Verdict(total, frozenset(failed), frozenset(skipped), told.count("[SKIPPED]"))


@pytest.fixture(scope="module")
def everybody():
    served.need("iscsi-test-cu")
    with judged.beside_tgtd() as found:
        yield found


@pytest.fixture(scope="module")
def told(everybody) -> dict[str, str]:
    """What the judge says of each LUN, and of tgtd's: all at once, for it sleeps most of the time."""
    before = {name: at.truth() for name, at in everybody.items() if at.read_only}
    with ThreadPoolExecutor(len(everybody)) as threads:
        found = dict(zip(everybody, threads.map(said, everybody.values()), strict=True))
    after = {name: at.truth() for name, at in everybody.items() if at.read_only}
    assert after == before, "what is read-only has changed"
    return found


def said(at: judged.Judged) -> str:
    """Let the judge at a LUN; return what it says.  It ends with 1 where a test has failed."""
    done = subprocess.run(
        ["iscsi-test-cu", "--dataloss", "--test=ALL", at.url], check=False, capture_output=True,
        text=True, timeout=2 * served.SECONDS_MAX,
    )  # fmt: skip
    assert done.returncode in {0, 1}, f"{at}: {done.returncode}: {done.stdout[-2000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def verdicts(told) -> dict[str, Verdict]:
    found = {name: parsed(text) for name, text in told.items()}
    for name, verdict in found.items():
        sys.stdout.write(f"iscsi-test-cu -d -t ALL on {name}: {verdict}\n")
    return found


@pytest.mark.parametrize("name", ["tokens", "bytes"])
def test_what_fails_on_a_volume_is_known_and_explained(verdicts, told, name) -> None:
    verdict = verdicts[name]
    assert verdict.tests == TESTS
    assert verdict.failed == set(EXPECTED), told[name]
    assert len(EXPECTED) <= FAILURES_MAX


def test_what_fails_on_a_promoted_snapshot_is_known_and_explained(verdicts, told) -> None:
    verdict = verdicts["snapshot"]
    names = [name for names in READ_ONLY.values() for name in names.split()]
    assert len(names) == len(set(names))
    assert verdict.tests == TESTS
    assert verdict.failed == set(names), told["snapshot"]


def test_a_promoted_snapshot_is_refused_for_being_read_only(told, verdicts) -> None:
    """Each failure is about 07/27/00, and the tests of read-only units and of reads all pass."""
    failed, text = verdicts["snapshot"].failed, told["snapshot"]
    for name in failed - {"Write10.Async", "iSCSITMF.AbortTaskSimpleAsync"}:  # they tell a status
        suite, test = name.split(".")
        said = text.split(f"Suite: {suite}\n")[1].split("Suite: ")[0]
        said = re.split(r"\n  Test: ", said.split(f"  Test: {test} ...")[1])[0]
        assert "WRITE_PROTECTED" in said or "0x2700" in said, said
    assert "ReadOnly.ReadOnlySBC" not in failed | verdicts["snapshot"].skipped


@pytest.mark.parametrize(
    ("name", "other"), [("tokens", "tgtd"), ("bytes", "tgtd"), ("snapshot", "tgtd, read-only")]
)
def test_no_more_is_skipped_and_no_more_fails_than_with_tgtd(verdicts, name, other) -> None:
    """The fewer are skipped, the more is tested.  Both were judged just now, by the same words."""
    mine, its = verdicts[name], verdicts[other]
    told = f"{name}: {mine}\n{other}: {its}"
    assert mine.tests == its.tests, told
    assert mine.skips <= its.skips, told
    assert len(mine.skipped) <= len(its.skipped), told
    assert len(mine.failed) <= len(its.failed), told


def test_a_report_that_breaks_off_is_no_verdict() -> None:
    with pytest.raises(AssertionError, match="did not come to an end"):
        parsed("Suite: Read10\n  Test: Simple ...passed\n")


def test_a_report_is_read_as_it_is_written() -> None:
    verdict = parsed(
        "Suite: Some\n"
        "  Test: First ...    [SKIPPED] nothing of it\n    [SKIPPED] nor of that\npassed\n"
        "  Test: Second ...FAILED\n    1. x.c:1  - why\n"
        "Suite: Other\n  Test: Second ...    [FAILED] why\nFAILED\n  Test: Third ...passed\n"
        "               tests      4      4      2      2        0\n"
    )
    assert verdict == Verdict(4, frozenset({"Some.Second", "Other.Second"}), {"Some.First"}, 2)
    assert str(verdict) == "4 tests, 2 passed, 2 failed; 2 skip lines of 1 tests"
