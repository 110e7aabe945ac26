"""Requests, plans, printed commands, records and what doctor hears: no kernel needed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stuntdouble.errors import InvalidState, Misuse, NotFound, Unsupported
from stuntdouble.lio import (
    Chap,
    Directory,
    Initiator,
    KernelExporter,
    Machine,
    NbdSource,
    PathSource,
    Portal,
    Records,
    Request,
    backstores,
    commands,
    devices,
    machine,
    plan,
    probe,
    probing,
    recover,
    source,
    steps,
)
from stuntdouble.lio.records import Record
from stuntdouble.store import open_store

HOST = "iqn.2026-11.org.example:host"
OTHER = "iqn.2026-11.org.example:other"
NAA = "6000" + "0123456789abcdef" * 1 + "cafe" * 3
SECRET = "twelve bytes or more"
LUN = NbdSource(f"nbd://127.0.0.1:10809/lun/{NAA}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Chap("", SECRET), "a user needs a secret"),
        (lambda: Chap("u", SECRET, "m"), "a user needs a secret"),
        (lambda: Chap("u", "short"), "12 to 255 bytes, this one 5"),
        (lambda: Chap("u", ""), "12 to 255 bytes"),
        (lambda: Chap("u", 123456789012), "secret is no text but int"),
        (lambda: Chap(["u"], SECRET), "user is no text but list"),
        (lambda: Chap("u", SECRET, "m", "x" * 256), "this one 256"),
        (lambda: Chap("u", SECRET, "m", SECRET), "the same secret"),
        (lambda: Chap("u", SECRET + "\n"), "would not keep"),
        (lambda: Chap("NULL", SECRET), "would not keep"),
        (lambda: Initiator("iqn.example"), "is not like iqn"),
        (lambda: Initiator("iqn.2026-13.org.example:x"), "is not like iqn"),
        (lambda: Initiator("iqn.2026-11.org.example:a_b"), "is not like iqn"),
        (lambda: Initiator("iqn.2026-11.org:" + "x" * 230), "is not like iqn"),
        (lambda: Portal("", 3260), "no address and port"),
        (lambda: Portal("h", 0), "no address and port"),
        (lambda: NbdSource("http://h/x"), "nbd://HOST:PORT/EXPORT"),
        (lambda: NbdSource("nbd://h"), "nbd://HOST:PORT/EXPORT"),
        (lambda: NbdSource("nbd://h:99999/x"), "out of range"),
        (lambda: PathSource("x"), "absolute path"),
        (lambda: PathSource("/x,y"), "without commas"),
        (lambda: Request(LUN, lun=16384), "is not 0 to 16383"),
        (lambda: Request(LUN, naa="5" + NAA[1:]), "is not a 6 and 31 more"),
        (lambda: Request(LUN, target="x"), "is not like iqn"),
        (lambda: Request(LUN, initiators=(Initiator(HOST), Initiator(HOST))), "twice"),
        (
            lambda: Request(LUN, initiators=(Initiator(HOST, Chap("u", SECRET)), Initiator(OTHER))),
            "all of them for CHAP, or none",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, said) -> None:
    with pytest.raises(Misuse, match=said):
        make()


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(Initiator(HOST, Chap("u", SECRET)))


def test_a_source_is_a_url_or_a_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert source(LUN.uri) == LUN
    assert source("x.raw") == PathSource(str(tmp_path / "x.raw"))
    assert LUN.naa == NAA
    assert LUN.address == ("127.0.0.1", 10809)
    assert NbdSource("nbd://[::1]/vm/a%20b/2000").name == "vm/a b/2000"
    assert NbdSource("nbd://h/vm/x").naa == ""
    assert str(Portal("fe80::1")) == "[fe80::1]:3260"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lun.raw"
    path.write_bytes(bytes(4096))
    return PathSource(str(path))


def planned(kind, request, where=None):
    return plan(kind, request, where or Machine(), "0badcafe")


def kinds(kind, request, where=None) -> list[str]:
    return [step.kind for step in planned(kind, request, where).steps]


ISCSI = {"portal": Portal("192.0.2.1"), "initiators": (Initiator(HOST),)}


def test_a_plan_is_as_short_as_it_can_be(file, tmp_path) -> None:
    nothing = Machine(sys=str(tmp_path), dev=str(tmp_path))
    assert kinds("loop", Request(file)) == ["loop"]
    assert kinds("loop", Request(file, by="copy")) == ["copy", "loop"]
    assert kinds("loop", Request(LUN), nothing) == ["copy", "loop"]
    assert kinds("lio-iscsi", Request(file, **ISCSI)) == ["loop", "backstore", "iscsi"]
    fileio = Request(file, backstore="fileio", **ISCSI)
    assert kinds("lio-iscsi", fileio) == ["backstore", "iscsi"]
    written = Request(file, read_only=False)
    assert kinds("lio-loopback", written) == ["backstore", "loopback"]
    attached = Request(LUN, by="nbd", **ISCSI)
    assert kinds("lio-iscsi", attached) == ["nbd", "backstore", "iscsi"]
    assert kinds("lio-loopback", Request(LUN, by="fuse")) == [
        *("fuse", "loop", "backstore", "loopback"),
    ]
    assert planned("lio-iscsi", attached).export.naa == NAA
    assert planned("lio-iscsi", replace(attached, naa="6" * 32)).export.naa == "6" * 32
    made = planned("lio-loopback", Request(file)).export
    assert made.naa.startswith("60014050badcafe")
    assert len(made.naa) == 32
    assert made.target == "naa.5001405d0badcafe"


@pytest.mark.parametrize(
    ("kind", "facts", "said"),
    [
        ("lio-iscsi", {}, "name a portal"),
        ("lio-iscsi", {"portal": Portal("h")}, "name a portal"),
        ("loop", ISCSI, "no portals and no initiators"),
        ("lio-loopback", {"target": OTHER}, "no targets to name"),
        ("loop", {"naa": NAA}, "no identifier"),
        ("loop", {"lun": 3}, "no number"),
        ("loop", {"by": "nbd"}, "no need for nbd"),
        ("lio-loopback", {"backstore": "fileio"}, "no write protection"),
    ],
)
def test_a_request_that_does_not_fit_its_exporter_is_refused(kind, facts, said, file) -> None:
    with pytest.raises(Misuse, match=said):
        planned(kind, Request(file, **facts))


def test_steps_survive_the_way_to_a_child_and_back(file) -> None:
    chap = Chap("u", SECRET)
    request = Request(file, portal=Portal("h"), initiators=(Initiator(HOST, chap),))
    made = planned("lio-iscsi", request)
    rows = json.loads(json.dumps(steps.facts(made.steps)))
    assert tuple(steps.parsed(rows)) == made.steps
    assert SECRET not in json.dumps(rows)
    for wrong in ({"kind": "none"}, {"kind": "loop"}, {"kind": "loop", "read_only": 1, "x": 2}, {}):
        with pytest.raises(InvalidState, match="unknown"):
            steps.parsed([wrong])


def test_the_printed_commands_say_what_is_done(file) -> None:
    chap = Chap("u", SECRET, "m", "another secret")
    request = Request(
        LUN, lun=7, by="nbd", portal=Portal("192.0.2.1"), initiators=(Initiator(HOST, chap),)
    )
    text = commands(planned("lio-iscsi", request), request)
    assert (
        text
        == f"""\
DEVICE=/dev/nbd0
nbd-client -name lun/{NAA} 127.0.0.1 10809 $DEVICE -readonly
targetcli <<END
set global auto_add_default_portal=false auto_add_mapped_luns=false auto_enable_tpgt=false auto_save_on_exit=false
/backstores/block create stuntdouble-0badcafe $DEVICE readonly=true wwn={NAA[7:]}
END
echo 0x{NAA[1:7]} | tee /sys/kernel/config/target/core/iblock_*/stuntdouble-0badcafe/wwn/company_id >/dev/null
targetcli <<END
/iscsi create iqn.2026-11.org.example.stuntdouble:0badcafe
/iscsi/iqn.2026-11.org.example.stuntdouble:0badcafe/tpg1 set attribute authentication=1 generate_node_acls=0 cache_dynamic_acls=0 demo_mode_discovery=0 demo_mode_write_protect=1 prod_mode_write_protect=1
/iscsi/iqn.2026-11.org.example.stuntdouble:0badcafe/tpg1/luns create /backstores/block/stuntdouble-0badcafe lun=0
/iscsi/iqn.2026-11.org.example.stuntdouble:0badcafe/tpg1/acls create {HOST}
/iscsi/iqn.2026-11.org.example.stuntdouble:0badcafe/tpg1/acls/{HOST} set auth userid=u password=SECRET mutual_userid=m mutual_password=SECRET
/iscsi/iqn.2026-11.org.example.stuntdouble:0badcafe/tpg1/acls/{HOST} create 7 0 write_protect=1
/iscsi/iqn.2026-11.org.example.stuntdouble:0badcafe/tpg1/portals create 192.0.2.1 3260
/iscsi/iqn.2026-11.org.example.stuntdouble:0badcafe/tpg1 enable
END
"""
    )
    assert SECRET in commands(planned("lio-iscsi", request), request, show_secrets=True)


def test_the_printed_commands_know_every_way(file) -> None:
    def text(kind, request) -> str:
        return commands(planned(kind, request), request)

    assert f"DEVICE={file.path}\nDEVICE=$(losetup --find --show --read-only $DEVICE)\n" == text(
        "loop", Request(file)
    )
    assert "qemu-storage-daemon" in text("loop", Request(LUN, by="fuse"))
    assert "qemu-img convert" in text("loop", Request(LUN, by="copy"))
    looped = text("lio-loopback", Request(file, read_only=False))
    assert "/backstores/fileio create stuntdouble-0badcafe $DEVICE $(stat" in looped
    assert "/loopback/naa.5001405d0badcafe/luns create /backstores/fileio/" in looped


# Records. -------------------------------------------------------------------------------------


def record(file, number="0badcafe", **changes) -> Record:
    made = planned("lio-iscsi", Request(file, naa=NAA, **ISCSI))
    facts = {"phase": "whole", "owner": "", "steps": steps.facts(made.steps)}
    return Record(**{**facts, "export": replace(made.export, id=number), **changes})


@pytest.mark.parametrize("store", [False, True])
def test_records_are_kept_in_files_or_in_a_store(store, file, tmp_path) -> None:
    keeper = open_store().space("lio") if store else Directory(tmp_path / "state")
    records = Records(keeper)
    assert records.all() == []
    with pytest.raises(NotFound, match="0badcafe"):
        records.get("0badcafe")
    records.put(record(file))
    got = records.get("0badcafe")
    assert got.export == record(file).export
    assert steps.parsed(got.steps) == steps.parsed(record(file).steps)
    assert records.turn(got, "ending").phase == records.get("0badcafe").phase == "ending"
    records.drop("0badcafe")
    records.drop("0badcafe")
    assert records.all() == []


def test_a_record_that_makes_no_sense_is_told_and_kept(tmp_path) -> None:
    keeper = Directory(tmp_path)
    keeper.put("exports", "0badcafe", "{}")
    with pytest.raises(InvalidState, match="no record"):
        Records(keeper).all()
    assert keeper.get("exports", "0badcafe") == "{}"


def test_a_half_written_record_is_none(tmp_path) -> None:
    keeper = Directory(tmp_path)
    keeper.put("exports", "0badcafe", "{}")
    (tmp_path / "exports/.0badcafe.1").write_text("{")
    assert list(keeper.all("exports")) == ["0badcafe"]


def test_an_owner_that_is_gone_does_not_live() -> None:
    here = Machine()
    name = machine.owner(here)
    assert machine.lives(here, name)
    boot, number, begun = name.split(":")
    assert not machine.lives(here, f"{boot}:{number}:{int(begun) + 1}")
    assert not machine.lives(here, f"other:{number}:{begun}")
    assert not machine.lives(here, f"{boot}:999999999:")


def test_nothing_to_recover_is_nothing_done(tmp_path) -> None:
    found = recover(where=Machine(state=str(tmp_path / "none")))
    assert (found.ended, found.left) == ((), {})


def test_unexporting_what_is_not_there_is_nothing_done(file, tmp_path) -> None:
    exporter = KernelExporter("loop", None, Machine(state=str(tmp_path / "none")))
    exporter.unexport(record(file).export)


# Probing. -------------------------------------------------------------------------------------


def found(where: Machine) -> dict[str, str]:
    return {finding.name: finding.why for finding in probe(where)}


def test_a_bare_machine_is_told_what_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(probing.platform, "release", lambda: "none")
    bare = {name: str(tmp_path / name) for name in ("target", "sys", "dev", "state", "directory")}
    told = found(Machine(**bare))
    assert "this kernel (none) has no target_core_mod" in told["lio-iscsi"]
    assert "tcm_loop" in told["lio-loopback"]
    assert "modprobe loop" in told["loop"]
    assert "modprobe nbd" in told["nbd"]
    assert "modprobe fuse" in told["fuse"]
    assert "not writable" in told["copy"]
    assert all("\n" not in why for why in told.values())


def test_modules_that_are_not_loaded_are_to_be_loaded(tmp_path) -> None:
    for module in {name for names in probing.EXPORTERS.values() for name in names}:
        (tmp_path / "module" / module).mkdir(parents=True)
    told = found(Machine(target=str(tmp_path / "target"), sys=str(tmp_path)))
    assert "as root: modprobe target_core_mod; mount -t configfs" in told["lio-iscsi"]
    (tmp_path / "target").mkdir()
    here = Machine(target=str(tmp_path / "target"), sys=str(tmp_path), state=str(tmp_path))
    assert found(here)["lio-iscsi"] == ""


def test_a_machine_without_the_library_is_told_how_to_get_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rtslib_fb", None)
    with pytest.raises(Unsupported, match=r"pip install 'stuntdouble\[lio\]'"):
        backstores.library()
    for module in {name for names in probing.EXPORTERS.values() for name in names}:
        (tmp_path / "module" / module).mkdir(parents=True)
    told = found(Machine(target=str(tmp_path), sys=str(tmp_path)))
    assert "pip install" in told["lio-loopback"]


def test_a_disk_is_found_by_its_identifier_and_not_by_its_place(tmp_path) -> None:
    where = Machine(sys=str(tmp_path))
    for name, place, naa in (
        ("sda", "pci", NAA),
        ("sdb", "tcm_loop_adapter_1", "6" * 32),
        ("sdc", "tcm_loop_adapter_0", NAA),
    ):
        device = tmp_path / "devices" / place / name / "device"
        device.mkdir(parents=True)
        (device / "wwid").write_text(f"naa.{naa}\n")
        (tmp_path / "block").mkdir(exist_ok=True)
        (tmp_path / "block" / name).symlink_to(device.parent)
    assert devices.by_wwn(where, NAA, devices.LOOPBACK) == ["sdc"]
    assert devices.by_wwn(where, NAA) == ["sda", "sdc"]
    assert devices.by_wwn(where, "6" + "1" * 31) == []
