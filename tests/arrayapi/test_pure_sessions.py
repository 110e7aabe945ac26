"""Who may ask a FlashArray: logins of both versions, expiry, and the door behind them."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrayapi.pure_world import build
from stuntdouble.arrayapi import LocalDoor, Request, WireFaults, app
from stuntdouble.arrayapi.pure import IDLE_SECONDS, MANNERS, Sessions
from stuntdouble.clock import run
from stuntdouble.units import MIB

TOKEN = "11111111-2222-3333-4444-555555555555"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def sessions(clock=None):
    drawn = iter(f"token-{n}" for n in range(10**6))
    return Sessions("pureuser", "secret", TOKEN, clock or Clock(), lambda: next(drawn))


def post(path, body=None, **headers):
    data = b"" if body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", f"/api/{path}", (), headers, data)


def get(path, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", f"/api/{path}", (), headers)


def test_a_login_gives_a_token_that_is_good_for_half_an_hour_without_use():
    clock = Clock()
    door = sessions(clock)
    reply = door.admit(post("2.26/login", api_token=TOKEN))
    assert reply.status == 200
    assert reply.body == {"items": [{"username": "pureuser"}]}
    token = dict(reply.headers)["x-auth-token"]
    assert door.admit(get("2.26/volumes", x_auth_token=token)) is None
    for _ in range(3):
        clock.now += IDLE_SECONDS
        assert door.admit(get("2.26/volumes", x_auth_token=token)) is None
    clock.now += IDLE_SECONDS + 1
    reply = door.admit(get("2.26/volumes", x_auth_token=token))
    assert reply.status == 401
    assert reply.body["errors"][0]["message"] == "Session is invalid or has expired."


def test_who_has_no_session_asks_in_vain():
    door = sessions()
    for request in (
        get("2.26/volumes"), get("2.26/volumes", x_auth_token="made-up"),
        get("2.26/volumes", cookie="session=token-0"), get("2.26/nothing"), get("2.26"),
        post("2.26/login"), post("2.26/login", api_token="wrong"), post("2.26/logout"),
    ):  # fmt: skip
        reply = door.admit(request)
        assert reply.status == 401
        assert set(reply.body) == {"errors"}
    for request in (
        get("1.19/volume"), get("1.19/volume", cookie="session=token-0"),
        get("1.19/volume", cookie="nonsense;;=="), post("1.19/auth/session", {"api_token": "x"}),
        post("1.19/auth/session", {"username": "pureuser", "password": "x"}),
        post("1.19/auth/apitoken", {"username": "x", "password": "secret"}),
        post("1.19/auth/apitoken", {}), post("1.20/auth/apitoken", {"username": "pureuser", "password": "secret"}),
    ):  # fmt: skip
        reply = door.admit(request)
        assert reply.status == 401
        assert reply.body[0]["msg"]
    assert door.admit(get("api_version")) is None


def test_a_session_ends_with_its_logout():
    door = sessions()
    token = dict(door.admit(post("2.26/login", api_token=TOKEN)).headers)["x-auth-token"]
    assert door.admit(post("2.26/logout", x_auth_token=token)).status == 200
    assert door.admit(get("2.26/volumes", x_auth_token=token)).status == 401


def test_an_expelled_session_is_gone():
    door = sessions()
    token = dict(door.admit(post("2.26/login", api_token=TOKEN)).headers)["x-auth-token"]
    request = get("2.26/volumes", x_auth_token=token)
    assert door.expel(request).status == 401
    assert door.admit(request).status == 401
    assert isinstance(door.expel(get("1.19/volume")).body, list)


def test_rest_1_gives_a_cookie():
    door = sessions()
    body = {"username": "pureuser", "password": "secret"}
    assert door.admit(post("1.19/auth/apitoken", body)).body == {"api_token": TOKEN}
    reply = door.admit(post("1.19/auth/session", {"api_token": TOKEN}))
    cookie = dict(reply.headers)["set-cookie"].partition(";")[0]
    assert door.admit(get("1.19/volume", cookie=f"other=1; {cookie}")) is None
    assert door.admit(get("2.26/volumes", cookie=cookie)).status == 401
    end = Request("DELETE", "/api/1.19/auth/session", (), {"cookie": cookie})
    assert door.admit(end).status == 200
    assert door.admit(end).status == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"api_token":1}', b'{"token":"x"}'])
def test_a_login_that_makes_no_sense_is_refused(body):
    reply = sessions().admit(Request("POST", "/api/1.19/auth/session", (), {}, body))
    assert reply.status == 400


def test_sessions_are_bounded():
    clock = Clock()
    door = sessions(clock)
    first = dict(door.admit(post("2.26/login", api_token=TOKEN)).headers)["x-auth-token"]
    clock.now += 1
    for _ in range(10_000):
        door.admit(post("2.26/login", api_token=TOKEN))
    assert door.admit(get("2.26/volumes", x_auth_token=first)).status == 401
    assert door.admit(get("2.26/volumes", x_auth_token="token-10000")) is None


def served(ask, faults=None):
    """Run a coroutine over a client of the whole interface, in virtual time."""

    async def main(env):
        world = build(env)
        door = sessions(lambda: env.now)
        through = door.keeping_cookies(LocalDoor(world.pure, env))
        asgi = app(MANNERS, through, door, faults)
        transport = httpx.ASGITransport(asgi)
        async with httpx.AsyncClient(transport=transport, base_url="https://array") as client:
            return await ask(client, world)

    return run(main)


def test_a_cookie_comes_with_every_answer_of_rest_1():
    async def ask(client, _):
        reply = await client.post("/api/1.19/auth/session", json={"api_token": TOKEN})
        assert reply.status_code == 200
        for _ in range(3):
            reply = await client.request("GET", "/api/1.19/volume", json={})
            assert reply.json() == []
            assert "session=" in reply.headers["set-cookie"]

    served(ask)


def test_the_whole_way_and_what_may_go_wrong_on_it():
    faults = WireFaults()

    async def ask(client, _):
        reply = await client.post("/api/2.26/login", headers={"api-token": TOKEN})
        client.headers["x-auth-token"] = reply.headers["x-auth-token"]
        reply = await client.post("/api/2.26/volumes?names=v1", json={"provisioned": MIB})
        assert reply.json()["items"][0]["name"] == "v1"
        faults.change({"unavailable": 1})
        reply = await client.get("/api/2.26/volumes")
        assert reply.status_code == 503
        assert reply.json()["errors"][0]["message"]
        faults.change({"contradictory_total": 1})
        reply = await client.get("/api/2.26/volumes?total_item_count=true")
        assert reply.json()["total_item_count"] == 2
        reply = await client.request("DELETE", "/api/2.26/volumes?names=v1")
        assert reply.status_code == 400
        await client.patch("/api/2.26/volumes?names=v1", json={"destroyed": True})
        reply = await client.request("DELETE", "/api/2.26/volumes?names=v1")
        assert (reply.status_code, reply.content) == (200, b"")
        reply = await client.post("/api/2.26/volumes?names=v", content=b"x" * 300_000)
        assert reply.status_code == 413
        assert (await client.get("/api/2.26/volumes")).json()["items"] == []

    served(ask, faults)


@given(st.binary(max_size=40), st.text(max_size=20))
def test_no_header_or_body_breaks_the_door(body, text):
    door = sessions()
    for path in ("2.26/login", "1.19/auth/session", "1.19/auth/apitoken", "2.26/logout", "x"):
        headers = {"cookie": text, "x-auth-token": text, "api-token": text}
        reply = door.admit(Request("POST", f"/api/{path}", (), headers, body))
        assert reply.status in (400, 401)
