"""What is tried in front of the guest can fail, each check by what it is there to find."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from stuntdouble.errors import AccessDenied, Misuse, Unreachable
from stuntdouble.lab.lio import trial
from stuntdouble.lab.lio.trial import CHECKS, STRANGER, Finding, Lab, contract, site_checks
from stuntdouble.lio import KernelError
from stuntdouble.ports import Mapping, Span

NAA = "6" * 32
TRUTH = b"what the site has" * 1000
DIGEST = hashlib.sha256(TRUTH).hexdigest()


class Device:
    def __init__(self, data: bytes = TRUTH) -> None:
        self.data, self.size_bytes, self.closed = data, len(data), False

    async def read(self, runs, throttle):
        for offset, length in runs.array.tolist():
            yield Span(offset, memoryview(self.data)[offset:length])

    async def close(self) -> None:
        self.closed = True


class Guest:
    """Answers calls as a guest does in which all is well, but for what a test changes."""

    def __init__(self, **answers) -> None:
        self.ports = {3260: 9}
        self.made, self.ended = 0, 0
        self.answers = {
            "kernel_digest": DIGEST,
            "local_digest": DIGEST,
            "sessions": [],
            "by_hand": [["a = 1"], ["a = 1"]],
            "killed": "4 kills",
            "fileio": "read-only",
            "truth": "/truth",
            "refused": Misuse("portal", "no such address"),
            "listing": [],
            "recover": {"ended": [], "left": {}},
            **answers,
        }

    async def call(self, name, facts=None, *, seconds=0, on_line=None):
        if name == "export" and "portal" in facts["request"]:
            if isinstance(self.answers["refused"], Exception):
                raise self.answers["refused"]
            self.made += 1
            return {"id": "2"}
        if name == "export":
            self.made += 1
            return {"id": "1", "naa": NAA, "lun": 1, "target": "t", "size_bytes": len(TRUTH)}
        if name == "unexport":
            self.ended += 1
            return None
        if name == "contract":
            on_line(["it works", "8 MiB", ""])
            on_line(["it fails", "", "on fire"])
            return 1
        found = self.answers[name]
        if isinstance(found, Exception):
            raise found
        return found


class Site:
    def __init__(self, *, right: bool = True) -> None:
        self.right, self.promotions = right, 0

    def uri(self, naa: str) -> str:
        return f"nbd://10.0.2.2:1/lun/{naa}"

    def request(self, mapping, **changes):
        return {"source": self.uri(mapping.naa), **changes}

    async def promoted(self, name: str) -> Mapping:
        self.promotions += 1
        return Mapping(name, NAA, "iqn.2026-11.org.example:backup-server", 1)

    async def forget(self, mapping: Mapping) -> None:
        self.promotions -= 1

    async def back_up(self, folder: Path) -> tuple[int, bool]:
        return 1 << 20, self.right


class Initiator:
    shown: tuple[str, ...] = ()

    def __init__(self, *_: object) -> None:
        return

    async def targets(self) -> tuple[str, ...]:
        return self.shown


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """Everything as it must be: our initiator gets in with the secret, a stranger does not."""

    async def connect(_uri: str) -> Device:
        return Device()

    async def opened(_guest, _export, mapping, chap="none", limits=None):
        if mapping.initiator_iqn == STRANGER or limits is not None:
            raise AccessDenied(mapping.initiator_iqn, "t")
        return Device()

    monkeypatch.setattr(trial, "connect", connect)
    monkeypatch.setattr(trial, "opened", opened)
    monkeypatch.setattr(trial, "IscsiInitiator", Initiator)
    return Lab(Guest(), Site(), tmp_path)


def found(lab: Lab) -> dict[str, Finding]:
    told: list[Finding] = []
    asyncio.run(site_checks(lab, told.append))
    assert [each.what for each in told] == list(CHECKS)
    assert lab.guest.made == lab.guest.ended
    assert lab.site.promotions == 0
    return {each.what: each for each in told}


def missed(lab: Lab) -> list[str]:
    return [each.figure for each in found(lab).values() if not each.met]


def test_all_is_well(lab) -> None:
    assert missed(lab) == []


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("kernel_digest", "0" * 64, "the kernel's initiator reads other bytes"),
        ("local_digest", "0" * 64, "the loopback disk reads other bytes"),
        ("by_hand", [["a = 1"], ["a = 2"]], "2 lines differ"),
        ("killed", Unreachable("it"), "it does not answer"),
        ("listing", ["iscsi/iqn"], "left: iscsi/iqn"),
        ("fileio", KernelError("write", "it holds zeros"), "it holds zeros"),
        ("refused", {}, "it is exported"),
        ("recover", {"ended": ["1"], "left": {}}, "ended"),
    ],
)
def test_what_goes_wrong_in_the_guest_is_a_miss(name, answer, said, lab) -> None:
    lab.guest.answers[name] = answer
    (figure,) = missed(lab)
    assert said in figure


def test_a_stranger_who_has_a_session_is_a_miss(lab) -> None:
    lab.guest.answers["sessions"] = [[STRANGER, ""]]
    assert len(missed(lab)) == 1


def test_a_restore_point_that_is_wrong_is_a_miss(lab) -> None:
    lab.site.right = False
    (figure,) = missed(lab)
    assert "does not hold what the guest had" in figure


def test_bytes_that_are_others_are_a_miss(lab, monkeypatch) -> None:
    async def opened(_guest, _export, mapping, **_):
        if mapping.initiator_iqn == STRANGER:
            raise AccessDenied(STRANGER, "t")
        return Device(b"x" * len(TRUTH))

    monkeypatch.setattr(trial, "opened", opened)
    figures = missed(lab)
    assert "our initiator reads other bytes" in figures
    assert "it gets in without the secret" in figures


def test_a_stranger_who_gets_in_is_a_miss(lab, monkeypatch) -> None:
    async def opened(*_: object, **__: object) -> Device:
        return Device()

    monkeypatch.setattr(trial, "opened", opened)
    assert "it gets in" in missed(lab)


def test_a_stranger_who_is_told_of_a_target_is_a_miss(lab, monkeypatch) -> None:
    monkeypatch.setattr(Initiator, "shown", ("iqn.2026-11.org.example:t",))
    (figure,) = missed(lab)
    assert "it is told of" in figure


def test_the_contract_is_told_check_by_check() -> None:
    told: list[Finding] = []
    asyncio.run(contract(Guest(), told.append))
    assert told[:2] == [
        Finding("lio-iscsi: it works", met=True, figure="8 MiB"),
        Finding("lio-iscsi: it fails", met=False, figure="on fire"),
    ]
    assert len(told) == 6
