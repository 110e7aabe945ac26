"""Comparisons over vendors' array interfaces: real sockets from the first call to the last byte."""

from __future__ import annotations

import json
import socket

import pytest

from served_site import PASSWORD, serving
from stuntdouble.errors import Misuse, Unreachable
from stuntdouble.results import Progress
from stuntdouble.scenarios import load
from stuntdouble.scenarios.remote import array_choice, compare_remote, target_of

NAMES = ("vsphere", "native", "nbd", "iscsi", "wsapi", "pure")
FINGERPRINT = "ab" * 32


def choice(where, fingerprint=None, insecure=False):
    return array_choice(where, fingerprint=fingerprint, insecure=insecure)


@pytest.mark.parametrize(
    ("words", "option", "why"),
    [
        (("netapp",), "--array", "is none"),
        (("https://127.0.0.1:x",), "--array", "http"),
        (("https://127.0.0.1",), "--array", "HOST:PORT"),
        (("ftp://127.0.0.1:1",), "--array", "HOST:PORT"),
        (("http://me:secret@127.0.0.1:1",), "--array", "takes no credentials"),
        (("https://127.0.0.1:1", "beef"), "--array-fingerprint", "no SHA-256"),
        (("pure", FINGERPRINT), "--array-fingerprint", "named by its URL"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(words, option, why):
    with pytest.raises(Misuse, match=why) as refused:
        choice(*words)
    assert str(refused.value).startswith(option)
    assert "secret" not in str(refused.value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), 20.0, NAMES) as served:
        yield served


def compared(site, array, tmp_path, methods=("storage",)):
    target = target_of(
        site.url, user="admin", password=PASSWORD, fingerprint=site.fingerprint, insecure=False
    )
    return compare_remote(
        load(str(site.scenario)),
        seed=1,
        target=target,
        methods=methods,
        command="a test",
        directory=tmp_path / "out",
        progress=Progress(quiet=True),
        array=array,
    )


def whole(result, methods):
    assert set(result.methods) == set(methods)
    for method in result.methods.values():
        assert [run.outcome for run in method.runs] == ["ok", "ok"]
        assert [point.verified for point in method.restore_points] == [True, True]
        assert method.leftovers == ()


@pytest.mark.paced
@pytest.mark.parametrize(("kind", "said"), [("wsapi", "WSAPI"), ("pure", "FlashArray")])
def test_storage_snapshots_by_a_vendors_interface_and_iscsi_restore_what_guests_wrote(
    site, tmp_path, kind, said
):
    result = compared(site, choice(kind), tmp_path, ("storage", "mounted"))
    whole(result, ("storage", "mounted"))
    assert [note for note in result.notes if said in note and "iSCSI" in note]
    assert result.methods["storage"].backup.bytes_read > 0


@pytest.mark.paced
def test_an_array_that_is_named_by_its_url_is_asked_whose_it_is(site, tmp_path):
    wsapi, pure = site.endpoints["wsapi"]["url"], site.endpoints["pure"]
    whole(compared(site, choice(wsapi), tmp_path / "a"), ("storage",))
    pinned = choice(pure["url"], fingerprint=pure["fingerprint_sha256"])
    whole(compared(site, pinned, tmp_path / "b"), ("storage",))
    with pytest.raises(Misuse, match="neither WSAPI nor"):
        compared(site, choice(site.native.removesuffix("/api/v1")), tmp_path / "c")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="array at http"):
        compared(site, choice(f"http://127.0.0.1:{port}"), tmp_path / "d")


@pytest.mark.paced
def test_the_command_says_how_the_array_was_reached(site):
    code, shown, said = site.compared(
        str(site.scenario), "--hypervisor", site.url, "--fingerprint", site.fingerprint,
        "--array", "pure", "--method", "storage", out="by-pure",
    )  # fmt: skip
    assert code == 0, said
    assert "FlashArray" in shown
    result = json.loads((site.scenario.parent / "by-pure" / "result.json").read_text())
    assert "--array pure" in result["command"]
    assert PASSWORD not in json.dumps(result)


@pytest.mark.paced
def test_a_site_without_iscsi_says_what_it_lacks(tmp_path):
    with serving(tmp_path, 20.0, ("vsphere", "native", "nbd", "wsapi")) as served:
        with pytest.raises(Misuse, match="tells of no iscsi endpoint: serve the site with"):
            compared(served, choice("wsapi"), tmp_path)
        with pytest.raises(Misuse, match="tells of no pure endpoint"):
            compared(served, choice("pure"), tmp_path)
