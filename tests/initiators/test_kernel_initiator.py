"""The kernel's own initiator, by a double of iscsiadm: what it is told, and that it is undone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from initiators.iscsiadm_double import Double
from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    Misuse,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators import Iscsiadm, KernelInitiator
from stuntdouble.ports import Mapping, Throttle

IQN = "iqn.2026-11.org.example:backup"
TARGET = "iqn.2026-11.org.example:array"
PORTAL = "192.0.2.1:3260"
ONE, TWO = "6000" + "ab" * 14, "6000" + "cd" * 14
DATA = bytes(range(256)) * 64
KEY = f"{TARGET} {PORTAL} stuntdouble"


@pytest.fixture
def double(tmp_path):
    found = Double(tmp_path)
    found.map("sda", ONE, DATA)
    return found


def initiator(double, **kw):
    """Return an initiator on the double; its disks say what the array maps there now."""
    maps = lambda: double.get("maps")  # noqa: E731
    kw.setdefault("tool", Iscsiadm(double.command()))
    kw.setdefault("ask", lambda _descriptor, path: maps().get(Path(path).name, ""))
    kw.setdefault("wait_seconds", 0.0)
    return KernelInitiator(
        PORTAL, IQN, TARGET, sysfs=double.root / "sys", dev=double.root / "dev", **kw
    )


def mapping(naa=ONE, iqn=IQN):
    return Mapping("volume", naa, iqn, 3)


async def contents(device):
    runs = Runs.single(0, device.size_bytes)
    return b"".join([bytes(span.data) async for span in device.read(runs, Throttle())])


def nothing_left(double):
    return not (double.get("ifaces") or double.get("nodes") or double.get("sessions"))


def test_a_lun_is_read_and_nothing_is_left(double):
    double.set(nodes={f"{TARGET} {PORTAL} default": {}}, ifaces={"default": {}})

    async def scenario():
        device = await initiator(double).attach(mapping())
        assert (device.identity, device.size_bytes, device.disk) == (ONE, len(DATA), "sda")
        assert device.path == str(double.root / "dev" / "sda")
        assert double.get("ifaces")["stuntdouble"] == {"iface.initiatorname": IQN}
        record = double.get("nodes")[KEY]
        assert record["node.startup"] == "manual"
        assert not any("auth" in name for name in record)
        assert await contents(device) == DATA
        with pytest.raises(AccessDenied, match="read-only"):
            await device.write(0, memoryview(DATA))
        await device.close()
        await device.close()

    asyncio.run(scenario())
    assert list(double.get("nodes")) == [f"{TARGET} {PORTAL} default"]
    assert list(double.get("ifaces")) == ["default"]
    assert not double.get("sessions")
    assert [line for line in double.get("log") if "--logout" in line] == [
        f"-m node -T {TARGET} -p {PORTAL} -I stuntdouble --logout"
    ]


@pytest.mark.parametrize("mutual", [False, True])
def test_secrets_go_into_the_record_and_into_no_message(double, mutual):
    double.set(secret="secret of user")
    both = ("array", "secret of array") if mutual else ("", "")
    chap = Credentials("user", "secret of user", *both)

    async def scenario():
        device = await initiator(double, chap=chap).attach(mapping())
        record = double.get("nodes")[KEY]
        assert record["node.session.auth.authmethod"] == "CHAP"
        assert record["node.session.auth.username"] == "user"
        assert record.get("node.session.auth.password_in", "") == both[1]
        await device.close()
        wrong = Credentials("user", "a wrong secret")
        with pytest.raises(AccessDenied, match="CHAP secrets"):
            await initiator(double, chap=wrong).attach(mapping())
        double.set(fails={"node update": 6})
        with pytest.raises(Unreachable, match="exit code 6") as raised:
            await initiator(double, chap=chap).attach(mapping())
        assert "secret of" not in str(raised.value)

    asyncio.run(scenario())
    assert nothing_left(double)


def test_luns_share_a_session_and_the_last_ends_it(double):
    double.map("sdb", TWO, DATA[::-1])

    async def scenario():
        ours = initiator(double)
        one, two = await ours.attach(mapping()), await ours.attach(mapping(TWO))
        assert sum("--login" in line for line in double.get("log")) == 1
        await one.close()
        assert (double.root / "sys/block/sda/device/delete").read_text() == "1"
        assert (double.root / "sys/block/sdb/device/delete").read_text() == ""
        assert await contents(two) == DATA[::-1]
        assert double.get("sessions") == [KEY]
        await two.close()
        assert nothing_left(double)

    asyncio.run(scenario())


def test_an_iface_that_others_use_stays(double):
    other = f"{TARGET}2 {PORTAL} stuntdouble"

    async def scenario():
        device = await initiator(double).attach(mapping())
        double.set(nodes={**double.get("nodes"), other: {}})
        await device.close()

    asyncio.run(scenario())
    assert list(double.get("nodes")) == [other]
    assert list(double.get("ifaces")) == ["stuntdouble"]


def test_what_a_killed_process_left_is_taken_over(double):
    async def scenario():
        await initiator(double).attach(mapping())  # and never closed
        device = await initiator(double).attach(mapping())
        assert await contents(device) == DATA
        await device.close()

    asyncio.run(scenario())
    assert nothing_left(double)


def test_a_disk_that_shows_late_is_looked_for(double):
    double.set(late=3)

    async def scenario():
        device = await initiator(double, wait_seconds=10.0).attach(mapping())
        assert sum("--rescan" in line for line in double.get("log")) == 3
        await device.close()
        with pytest.raises(NotFound, match=TWO):
            await initiator(double).attach(mapping(TWO))
        with pytest.raises(Misuse, match="not to us"):
            await initiator(double).attach(mapping(iqn="iqn.other"))

    asyncio.run(scenario())
    assert nothing_left(double)


def test_a_disk_that_has_become_another_is_not_read(double):
    async def scenario():
        device = await initiator(double).attach(mapping())
        double.set(maps={"sda": TWO})
        with pytest.raises(InvalidState, match=f"volume {TWO}: cannot read {ONE}"):
            await contents(device)
        await device.close()
        double.set(maps={"sda": ONE})
        with pytest.raises(InvalidState, match="no disk with a name"):
            await initiator(double, ask=lambda *_: "").attach(mapping())

    asyncio.run(scenario())
    assert nothing_left(double)


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (4, Unreachable, "exit code 4"),
        (8, Unreachable, "exit code 8"),
        (12, Unsupported, "iscsi_tcp"),
        (13, AccessDenied, "root"),
        (18, Unreachable, "iscsid"),
        (20, Unreachable, "iscsid"),
        (21, NotFound, "exit code 21"),
        (24, AccessDenied, "masking"),
        (7, Misuse, "exit code 7"),
    ],
)
def test_a_login_that_fails_says_why_and_leaves_nothing(double, code, error, text):
    double.set(fails={"node --login": code})
    with pytest.raises(error, match=text) as raised:
        asyncio.run(initiator(double).attach(mapping()))
    assert "\n" not in str(raised.value)
    assert nothing_left(double)


def test_a_session_that_cannot_be_ended_is_said_and_the_rest_is_done(double):
    async def scenario():
        device = await initiator(double).attach(mapping())
        double.set(fails={"node --logout": 10})
        with pytest.raises(Unreachable, match="exit code 10"):
            await device.close()

    asyncio.run(scenario())
    assert not double.get("nodes")
    assert list(double.get("ifaces")) == ["stuntdouble"]  # its session is there still


def test_a_command_that_hangs_is_killed(double):
    double.set(fails={"node --login": "hang", "node --logout": 15})
    tool = Iscsiadm(double.command(), seconds=0.7)
    with pytest.raises(TimedOut, match="--login took longer than"):
        asyncio.run(initiator(double, tool=tool).attach(mapping()))
    assert not double.get("nodes")


def test_without_open_iscsi(double, tmp_path):
    for missing in (tmp_path / "nowhere", os.devnull):
        tool = Iscsiadm((str(missing),))
        with pytest.raises(Unsupported, match="install open-iscsi"):
            asyncio.run(initiator(double, tool=tool).attach(mapping()))


def test_an_unexpected_session_is_said(double):
    double.set(fails={"iface new": 15})
    with pytest.raises(InvalidState, match="there already"):
        asyncio.run(initiator(double).attach(mapping()))
