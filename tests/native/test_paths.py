"""Every path asks for one thing, says it in its own way, and refuses what makes no sense."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.puppet import CHECKPOINT, CLOCK, Puppet, client
from stuntdouble import errors
from stuntdouble.native import Access, create_app
from stuntdouble.native.overlays import Drop, WireFaults
from stuntdouble.native.problems import STATUSES, status_of

REQUESTS = [
    ("GET", "/health", None, "health", (), {}),
    ("GET", "/site", None, "site", (), {}),
    ("GET", "/endpoints", None, "endpoints", (), {}),
    ("GET", "/exports", None, "exports", (), {}),
    ("GET", "/clock", None, "clock", (), {}),
    ("PUT", "/clock/rate", {"rate": 3}, "set_rate", (3.0,), {}),
    ("POST", "/clock/pause", None, "pause", (), {}),
    ("POST", "/clock/resume", None, "resume", (), {}),
    ("POST", "/clock/advance", {"seconds": 5}, "advance", (5.0,), {}),
    ("GET", "/quirks", None, "quirks", (), {}),
    ("PUT", "/quirks/empty-pages", {"on": True}, "set_quirk", ("empty-pages",), {"on": True}),
    ("GET", "/paging", None, "paging", (), {}),
    ("GET", "/oracle/digests", None, "digests", (), {}),
    ("GET", "/oracle/digests/7?wait=1.5", None, "digest", (7, 1.5), {}),
    ("DELETE", "/oracle/digests/7", None, "forget_digest", (7,), {}),
    (
        *("GET", "/vms/a/disks/2000/offset-table?snapshot=s-1&start=4&limit=5", None),
        *("offset_table", ("a", 2000, "s-1", 4, 5), {}),
    ),
    (
        *("GET", "/oracle/vms/a/disks/2/changes?since=s-1", None),
        *("true_changes", ("a", 2, "s-1", "now", 0, 1000), {}),
    ),
    (
        *("GET", "/journal?cursor=3&kind=stun&kind=crash&subject=a&wait=2", None),
        *("journal", (3, 1000, ("stun", "crash"), ("a",), 2.0), {}),
    ),
    ("GET", "/inputs?cursor=1&limit=2", None, "inputs", (1, 2), {}),
    ("POST", "/checkpoint", None, "checkpoint", (), {}),
    ("POST", "/restore", CHECKPOINT.model_dump(), "restore", (CHECKPOINT,), {}),
    ("POST", "/faults/vm-crash", {"vm": "a"}, "act", ("crash-vm",), {"vm": "a"}),
    ("POST", "/faults/host-crash", {"host": "h"}, "act", ("crash-host",), {"host": "h"}),
    ("POST", "/faults/power-loss", None, "act", ("power-loss",), {}),
    ("POST", "/faults/array-loss", {"array": "x"}, "act", ("lose-array",), {"array": "x"}),
    ("POST", "/hosts/h/restart", None, "act", ("restart-host",), {"host": "h"}),
    ("POST", "/vms/a/power-on", None, "act", ("power-on",), {"vm": "a"}),
    ("POST", "/vms/a/answer", {}, "act", ("answer",), {"vm": "a", "choice": "retry"}),
    (
        *("POST", "/faults/damage", {"array": "x", "volume": "v", "start": 0, "length": 1}),
        *("act", ("damage",)),
        {"array": "x", "volume": "v", "start": 0, "length": 1, "mode": "error"},
    ),
    ("GET", "/faults/wire", None, "wire_faults", (), {}),
    (
        *("PUT", "/faults/wire/pure", {"no_body": 2}),
        *("set_wire_faults", ("pure", WireFaults(no_body=2)), {}),
    ),
    ("GET", "/faults/data/x", None, "data_faults", ("x",), {}),
    (
        *("PUT", "/faults/data/x", {"plans": [{"kind": "busy"}]}),
        *("set_data_faults", ("x", [{"kind": "busy"}]), {}),
    ),
    ("POST", "/faults/session-drop", {}, "drop_sessions", (Drop(),), {}),
    ("GET", "/arrays/x/volumes", None, "volumes", ("x",), {}),
    ("GET", "/arrays/x/snapshots", None, "array_snapshots", ("x",), {}),
    ("GET", "/arrays/x/mappings", None, "mappings", ("x",), {}),
    (
        *("POST", "/arrays/x/prepare", {"naas": ["6"]}),
        *("act", ("prepare",), {"array": "x", "naas": ["6"]}),
    ),
    (
        *("POST", "/arrays/x/snapshots", {"naas": ["6"], "name": "s"}),
        *("act", ("create-snapshots",), {"array": "x", "naas": ["6"], "name": "s"}),
    ),
    (
        *("DELETE", "/arrays/x/snapshots/s", None),
        *("act", ("delete-snapshot",), {"array": "x", "snapshot": "s"}),
    ),
    (
        *("POST", "/arrays/x/snapshots/s/promote", {"name": "c"}),
        *("act", ("promote",)),
        {"array": "x", "snapshot": "s", "name": "c", "read_only": True},
    ),
    (
        *("DELETE", "/arrays/x/volumes/v", None),
        *("act", ("delete-volume",), {"array": "x", "volume": "v"}),
    ),
    (
        *("POST", "/arrays/x/mappings", {"volume": "v", "initiator_iqn": "iqn.x:y"}),
        *("act", ("map",), {"array": "x", "volume": "v", "initiator_iqn": "iqn.x:y"}),
    ),
    (
        *("DELETE", "/arrays/x/mappings/v/iqn.2026-11.org:host", None),
        *("act", ("unmap",)),
        {"array": "x", "volume": "v", "initiator_iqn": "iqn.2026-11.org:host"},
    ),
]


def ask(control, method, path, body=None, **options):
    async def main():
        async with client(control, **options.pop("app", {})) as site:
            return await site.request(method, path, json=body, **options)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "path", "body", "asked", "args", "named"),
    REQUESTS,
    ids=[f"{method} {path.partition('?')[0]}" for method, path, *_ in REQUESTS],
)
def test_a_path_asks_for_one_thing(method, path, body, asked, args, named):
    puppet = Puppet()
    answer = ask(puppet, method, path, body)
    assert answer.is_success, answer.text
    assert puppet.asked == [(asked, args, named)]
    assert (answer.status_code == 204) == (answer.content == b"")


def test_every_path_of_the_document_is_tried_here_or_below():
    document = create_app(Puppet()).openapi()
    known = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    below = {("PUT", "/api/v1/paging"), ("POST", "/api/v1/oracle/digests")}
    assert len(known) == len(REQUESTS) + len(below)
    assert below < known
    assert all(methods for methods in document["paths"].values())
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            assert operation["tags"], (method, path)


def test_a_digest_that_is_begun_says_where_it_will_be():
    answer = ask(Puppet(), "POST", "/oracle/digests", {"vm": "web-1", "disk": 0})
    assert (answer.status_code, answer.headers["location"]) == (201, "digests/7")
    assert answer.json()["blake3"] is None


def test_paging_may_be_told_in_part():
    puppet = Puppet()
    ask(puppet, "PUT", "/paging", {"areas": 3})
    [(_, (choice,), _)] = puppet.asked
    assert choice.model_dump(exclude_none=True) == {"areas": 3}


# Errors. ---------------------------------------------------------------------------------------


def made(kind):
    for count in range(5):
        try:
            return kind(*("x" * count))
        except AssertionError:
            continue
    raise AssertionError(kind)


KINDS = [getattr(errors, name) for name in errors.__all__ if name != "Bug"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_a_problem_with_what_where_and_what_to_do(kind):
    error = made(kind)
    answer = ask(Puppet(fails=error), "GET", "/clock")
    assert answer.status_code == status_of(error)[0]
    assert answer.json() == {
        "kind": kind.__name__,
        "what": str(error),
        "where": "GET /api/v1/clock",
        "what_to_do": status_of(error)[1],
    }


def test_statuses_tell_the_kinds_apart():
    wanted = {
        errors.Misuse: 422, errors.InvalidArgument: 422, errors.NotFound: 404,
        errors.UnknownDisk: 404, errors.TaskInProgress: 409, errors.TrackingInactive: 409,
        errors.ChangeHistoryLost: 410, errors.Unsupported: 501, errors.Unreachable: 503,
        errors.TimedOut: 504, errors.NoSpace: 507, errors.MediumError: 500,
        errors.Error: 400, errors.Bug: 500,
    }  # fmt: skip
    assert {kind: status_of(made(kind))[0] for kind in wanted} == wanted
    assert all(text.endswith(".") for _, text in STATUSES.values())


@pytest.mark.parametrize("bug", [errors.Bug("invariant"), KeyError("x")])
def test_a_bug_is_told_as_one(bug):
    answer = ask(Puppet(fails=bug), "GET", "/clock")
    assert answer.status_code == 500
    assert answer.json()["kind"] == type(bug).__name__
    assert "report it" in answer.json()["what_to_do"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "what"),
    [
        ("GET", "/nothing", None, 404, "Not Found"),
        ("DELETE", "/clock", None, 405, "Method Not Allowed"),
        ("PUT", "/clock/rate", {"rate": 0}, 422, "body.rate"),
        ("PUT", "/clock/rate", {"rate": "fast"}, 422, "body.rate"),
        ("PUT", "/clock/rate", {}, 422, "body.rate"),
        ("PUT", "/clock/rate", {"rate": 1, "more": 2}, 422, "body.more"),
        ("POST", "/clock/advance", {"seconds": -1}, 422, "body.seconds"),
        ("GET", "/journal?limit=1000000", None, 422, "query.limit"),
        ("GET", "/journal?wait=1e9", None, 422, "query.wait"),
        ("GET", "/vms/a/disks/x/offset-table", None, 422, "path.disk"),
        ("POST", "/faults/damage", {"array": "a"}, 422, "body.volume"),
        ("POST", "/arrays/x/prepare", {"naas": []}, 422, "body.naas"),
        ("POST", "/restore", {"format": "other"}, 422, "body.format"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_site_is_asked(method, path, body, status, what):
    puppet = Puppet()
    answer = ask(puppet, method, path, body)
    assert answer.status_code == status
    assert answer.json().keys() == {"kind", "what", "where", "what_to_do"}
    assert what in answer.json()["what"]
    assert puppet.asked == []


@given(st.binary(max_size=200))
def test_whatever_is_sent_as_a_body_is_answered(body):
    headers = {"content-type": "application/json"}
    answer = ask_raw("/restore", body, headers)
    assert answer.status_code in {400, 422}
    assert answer.json()["kind"] == "Misuse"


def ask_raw(path, content, headers):
    async def main():
        async with client(Puppet()) as site:
            return await site.post(path, content=content, headers=headers)

    return asyncio.run(main())


def in_parts(size):
    async def parts():
        for _ in range(0, size, 65536):
            yield b" " * 65536

    return parts()


@pytest.mark.parametrize("body", [b" " * 300_000, in_parts(300_000)], ids=["told", "chunked"])
def test_a_body_that_is_too_long_is_refused_and_not_read_to_its_end(body):
    answer = ask_raw("/faults/vm-crash", body, {"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["what"] == "the body is longer than 256 KiB"
    assert ask_raw("/restore", b" " * 300_000, {}).status_code == 422


# Who may ask. ----------------------------------------------------------------------------------

ACCESS = Access("admin", "päss:word")


def test_the_user_may_ask_by_password_or_by_token_and_nobody_else():
    puppet = Puppet()
    app = {"access": ACCESS}
    assert ask(puppet, "GET", "/clock", auth=("admin", "päss:word"), app=dict(app)).is_success
    token = ask(puppet, "POST", "/token", auth=("admin", "päss:word"), app=dict(app)).json()
    bearer = {"authorization": f"Bearer {token['token']}"}
    assert ask(puppet, "GET", "/clock", headers=bearer, app=dict(app)).json() == CLOCK.model_dump()
    puppet.asked.clear()
    for headers in (
        {},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic YWRtaW46"},
        {"authorization": "Digest x"},
        {"authorization": ""},
    ):
        answer = ask(puppet, "GET", "/clock", headers=headers, app=dict(app))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert "token" in answer.json()["what_to_do"]
    assert puppet.asked == []
    assert ask(puppet, "GET", "/health", app=dict(app)).is_success


def test_every_path_but_health_asks_who_it_is():
    puppet = Puppet()
    for method, path, body, *_ in REQUESTS:
        answer = ask(puppet, method, path, body, app={"access": ACCESS})
        assert (answer.status_code == 401) == (path != "/health"), path
    assert [name for name, _, _ in puppet.asked] == ["health"]


@given(st.text(), st.text())
def test_no_other_password_is_right(user, password):
    given = (user, password) == ("admin", "päss:word")
    encoded = __import__("base64").b64encode(f"{user}:{password}".encode("utf-8", "replace"))
    assert ACCESS.check(f"Basic {encoded.decode()}") == given
    assert ACCESS.check(f"Bearer {password}") is False


def test_a_password_is_not_shown():
    assert "päss" not in repr(ACCESS)
    assert ACCESS.token not in repr(ACCESS)


# The page. -------------------------------------------------------------------------------------


def test_the_page_without_swagger_ui_names_every_path_and_loads_nothing(monkeypatch):
    monkeypatch.setattr("stuntdouble.native.app.swagger_files", lambda: None)
    monkeypatch.setattr("native.puppet.APPLICATIONS", {})
    answer = ask(Puppet(), "GET", "/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for path in create_app(Puppet()).openapi()["paths"]:
        assert path in answer.text
    assert "<script" not in answer.text
    assert "http" not in answer.text.replace("http-equiv", "").split("</style>")[0]
    assert 'src="' not in answer.text
    document = ask(Puppet(), "GET", "/openapi.json")
    assert json.loads(document.text)["info"]["title"] == "stuntdouble"


def test_the_page_with_swagger_ui_takes_its_files_from_here(tmp_path):
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        (tmp_path / name).write_text(name)
    page = ask(Puppet(), "GET", "/docs", app={"swagger": tmp_path}).text
    assert "//cdn" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/api/v1/docs/{name}" in page
        sent = ask(Puppet(), "GET", f"/docs/{name}", app={"swagger": tmp_path})
        assert sent.text == name
    assert ask(Puppet(), "GET", "/docs/secret", app={"swagger": tmp_path}).status_code == 404
