"""What lies between a socket and any vendor's personality: bodies, faults, cut connections."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.arrayapi import (
    CUT,
    LocalDoor,
    MalformedJsonError,
    Manners,
    Reply,
    Request,
    WireFaults,
    app,
    strict_json,
)
from stuntdouble.clock import run
from stuntdouble.errors import Misuse, TimedOut, Unreachable

MANNERS = Manners("a test", lambda status, text: Reply(status, {"said": text}), "members", "total")


class Open:
    """Everybody may ask, but for whoever says that he may not."""

    def __init__(self):
        self.expelled = 0

    def admit(self, request):
        return Reply(403) if request.headers.get("x-not-me") else None

    def expel(self, request):
        self.expelled += 1
        return Reply(401, {"said": "log in"})


class Echo:
    """Takes a second for what changes something, and tells what it was asked."""

    def __init__(self, env):
        self.env = env
        self.done = []

    def handle(self, request):
        if request.changes:
            yield self.env.timeout(1.0)
            self.done.append(request.path)
        body = {"members": list(request.parts), "total": len(request.parts)}
        return Reply(200, body, (("Location", request.path),))


def asking(ask, faults=None, door=None, **options):
    """Run a coroutine over a client of the application, in virtual time."""

    async def main(env):
        echo, sessions = Echo(env), Open()
        served = app(MANNERS, door or LocalDoor(echo, env), sessions, faults, **options)
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(transport=transport, base_url="http://array") as client:
            return await ask(client, echo, sessions)

    return run(main)


@pytest.mark.parametrize("body", [b"", b'{"suffix": "nightly"}'])
def test_a_request_that_did_not_come_whole_is_not_done(body):
    """Even where what came would do: another body may have been meant."""

    async def main(env):
        echo, sent = Echo(env), []
        coming = [{"type": "http.request", "body": body, "more_body": True}]

        async def receive():
            return coming.pop() if coming else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/a", "headers": [], "query_string": b""}
        await app(MANNERS, LocalDoor(echo, env), Open())(scope, receive, send)
        return echo.done, sent

    assert run(main) == ([], [])


def test_a_request_arrives_as_it_was_sent():
    async def ask(client, echo, _):
        answer = await client.get("/a%2Fb/%C3%A4?q=1&q=%222%20EQ%22&empty=")
        assert answer.json()["members"] == ["a/b", "ä"]
        assert answer.headers["location"] == "/a%2Fb/%C3%A4"
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code

    assert asking(ask) == 200


def test_a_request_survives_as_an_input():
    request = Request(
        "POST", "/v/%00", (("a", "1"), ("a", "")), {"key": "secret"}, bytes(range(256))
    )
    payload = request.payload()
    assert json.loads(json.dumps(payload)) == payload
    again = Request.of_payload(payload)
    assert again == Request("POST", "/v/%00", request.query, {}, request.body)
    assert "secret" not in json.dumps(payload)


def test_who_may_not_ask_does_not_reach_the_door():
    async def ask(client, echo, _):
        answer = await client.post("/x", headers={"x-not-me": "1"})
        assert answer.status_code == 403
        assert answer.content == b""
        assert echo.done == []

    asking(ask)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused_and_the_connection_closed(chunked):
    async def parts():
        for _ in range(3):
            yield b"12345"

    async def ask(client, echo, _):
        answer = await client.post("/x", content=parts() if chunked else b"1" * 11)
        assert answer.status_code == 413
        assert "10 B" in answer.json()["said"]
        assert answer.headers["connection"] == "close"
        assert echo.done == []
        assert (await client.post("/x", content=b"1" * 10)).status_code == 200

    asking(ask, body_bytes_max=10)


@pytest.mark.parametrize(
    ("error", "status"), [(TimedOut("the answer", 60), 504), (Unreachable("the site"), 503)]
)
def test_a_site_that_does_not_answer_is_told_in_the_vendors_form(error, status):
    async def door(_request):
        raise error

    async def ask(client, echo, _):
        answer = await client.get("/x")
        assert answer.status_code == status
        assert answer.json() == {"said": str(error)}

    asking(ask, door=door)


def test_an_unavailable_service_has_done_nothing_and_recovers():
    faults = WireFaults(unavailable=2)

    async def ask(client, echo, _):
        said = [(await client.post("/x")).status_code for _ in range(3)]
        assert said == [503, 503, 200]
        assert echo.done == ["/x"]
        assert faults.unavailable == 0

    asking(ask, faults)


def test_a_session_that_is_lost_is_forgotten():
    async def ask(client, echo, sessions):
        assert (await client.post("/x")).status_code == 401
        assert (echo.done, sessions.expelled) == ([], 1)

    asking(ask, WireFaults(unauthorised=1))


def test_a_dropped_request_has_been_done():
    async def ask(client, echo, _):
        with pytest.raises(ConnectionResetError):
            await client.post("/x")
        assert echo.done == ["/x"]
        assert (await client.post("/y")).status_code == 200

    asking(ask, WireFaults(drop_after_commit=1))


def test_a_server_that_can_cut_is_asked_to():
    cut, sent = [], []

    async def main(env):
        served = app(MANNERS, LocalDoor(Echo(env), env), Open(), WireFaults(drop_after_commit=1))
        scope = {
            "type": "http", "method": "GET", "path": "/x", "raw_path": b"/x", "headers": [],
            "query_string": b"", "extensions": {CUT: {"call": lambda: cut.append(True)}},
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message):
            sent.append(message)

        await served(scope, receive, send)

    run(main)
    assert (cut, sent) == ([True], [])


def test_lists_are_cut_or_contradict_themselves():
    async def ask(client, echo, _):
        cut = (await client.get("/a/b/c")).json()
        assert cut == {"members": ["a"], "total": 3}
        wrong = (await client.get("/a/b/c")).json()
        assert wrong == {"members": ["a", "b", "c"], "total": 4}
        assert (await client.get("/a/b/c")).json()["total"] == 3

    asking(ask, WireFaults(truncated=1, contradictory_total=1))


def test_a_body_may_be_lost_and_its_status_stays():
    async def ask(client, echo, _):
        answer = await client.get("/a")
        assert (answer.status_code, answer.content) == (200, b"")
        assert "content-type" not in answer.headers

    asking(ask, WireFaults(no_body=1))


def test_slow_answers_take_their_time_and_only_those_that_match():
    faults = WireFaults(slow_seconds=7.0, unavailable=1, match="POST /v*")

    async def ask(client, echo, _):
        assert (await client.get("/v")).status_code == 200
        assert echo.env.now == 0.0
        assert (await client.post("/v1")).status_code == 503
        assert echo.env.now == 7.0

    asking(ask, faults)


def test_switches_are_set_all_or_none():
    faults = WireFaults()
    faults.change({"unavailable": 3, "slow_seconds": 1})
    with pytest.raises(Misuse, match="no_bodies"):
        faults.change({"unavailable": 9, "no_bodies": 1})
    assert faults.shown()["unavailable"] == 3
    for wrong in ({"unavailable": -1}, {"truncated": True}, {"no_body": 1.0}, {"match": 3},
                  {"slow_seconds": float("nan")}, {"slow_seconds": False}):  # fmt: skip
        with pytest.raises(Misuse):
            faults.change(wrong)
    with pytest.raises(Misuse):
        WireFaults(truncated=1_000_001)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(), lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12,
)  # fmt: skip


@given(JSON, st.booleans())
def test_json_is_read_as_it_was_written(value, ascii_only):
    assert strict_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nul", b"{} {}", b"\xff", b"NaN", b"-Infinity", b"1e999", b'{"a":1,"a":1}',
        b'[{"b":{"a":1,"a":2}}]', b"[" * 33 + b"]" * 33, b"[" * 100_000, b"1" * 41, b'"\\ud800"',
        b'{"\\udfff":1}', b"\xef\xbb\xbf{}", b"1.0" + b"0" * 40, b"'a'", b'{"a":1,}',
    ],
)  # fmt: skip
def test_what_is_not_quite_json_is_refused(body):
    with pytest.raises(MalformedJsonError):
        strict_json(body)


def test_brackets_within_text_do_not_nest():
    text = "[" * 50 + '\\"{' * 50
    assert strict_json(json.dumps(text).encode()) == text
    assert strict_json(b"[" * 32 + b"]" * 32) is not None


@given(st.binary(max_size=40))
def test_bytes_are_json_or_refused(body):
    with suppress(MalformedJsonError):
        strict_json(body)


def test_only_http_is_spoken():
    async def main(env):
        served = app(MANNERS, LocalDoor(Echo(env), env), Open())
        with pytest.raises(ValueError, match="websocket"):
            await served({"type": "websocket"}, None, None)
        await asyncio.sleep(0)

    run(main)
