"""Sessions, headers and paths: what is decided before an array is asked."""

from __future__ import annotations

import asyncio

import pytest

from arrayapi.wsapi_rig import PASSWORD, USER, refused, talking

HEADER = "X-HP3PAR-WSAPI-SessionKey"


def test_the_version_is_told_to_anybody():
    async def talk(rig):
        answer = await rig.raw("GET", "/api")
        assert answer.body == {"major": 1, "minor": 12, "revision": 0, "build": 100000050}
        assert refused(await rig.raw("POST", "/api"), "UNSUP_OP")

    talking(talk)


@pytest.mark.parametrize(
    ("body", "symbol"),
    [
        ({"user": USER, "password": "wrong"}, "INV_USER_PASS"),
        ({"user": "nobody", "password": PASSWORD}, "INV_USER_PASS"),
        ({"user": USER}, "INV_INPUT_MISSING_REQUIRED"),
        ({"user": USER, "password": 3}, "INV_INPUT_WRONG_TYPE"),
        ({"user": USER, "password": PASSWORD, "sudo": True}, "INV_INPUT"),
        ([], "INV_INPUT_NOT_JSON_OBJ"),
    ],
)
def test_a_login_that_is_wrong_is_refused(body, symbol):
    async def talk(rig):
        assert refused(await rig.raw("POST", "credentials", body), symbol)

    talking(talk)


def test_who_has_no_key_learns_nothing():
    async def talk(rig):
        for path in ("system", "volumes", "volumes/none", "nowhere"):
            assert refused(await rig.raw("GET", path), "INV_SESS_KEY")
            assert refused(await rig.raw("GET", path, **{HEADER: "0-0"}), "INV_SESS_KEY")

    talking(talk)


def test_a_key_is_good_until_nobody_has_used_it_for_fifteen_minutes():
    async def talk(rig):
        await asyncio.sleep(899.0)
        assert (await rig("GET", "system")).status == 200
        await asyncio.sleep(899.0)
        assert (await rig("GET", "system")).status == 200
        await asyncio.sleep(900.0)
        assert refused(await rig("GET", "system"), "INV_SESS_KEY")
        await rig.login()
        assert (await rig("GET", "system")).status == 200

    talking(talk)


def test_who_logs_out_is_out():
    async def talk(rig):
        key = rig.key
        answer = await rig("DELETE", f"credentials/{key}")
        assert (answer.status, answer.body) == (200, None)
        assert refused(await rig("GET", "system"), "INV_SESS_KEY")
        assert refused(await rig("DELETE", f"credentials/{key}"), "INV_SESS_KEY")
        assert refused(await rig("GET", "credentials"), "UNSUP_OP")

    talking(talk)


def test_sessions_are_limited_and_come_free():
    async def talk(rig):
        rig.sessions._sessions_max = 2
        login = {"user": USER, "password": PASSWORD}
        second = await rig.raw("POST", "credentials", login)
        assert second.status == 201
        assert second.location == f"/api/v1/credentials/{second.body['key']}"
        assert refused(await rig.raw("POST", "credentials", login), "SVC_UNAVAIL")
        assert rig.sessions.open == 2
        await asyncio.sleep(900.0)
        assert (await rig.raw("POST", "credentials", login)).status == 201

    talking(talk)


def test_keys_are_nobodys_guess():
    async def talk(rig):
        keys = set()
        for _ in range(20):
            answer = await rig.raw("POST", "credentials", {"user": USER, "password": PASSWORD})
            keys.add(answer.body["key"])
        assert len(keys) == 20
        assert min(map(len, keys)) > 32

    talking(talk)


@pytest.mark.parametrize(
    ("headers", "symbol"),
    [
        ({"content-type": "text/plain"}, "UNSUP_CONTENT"),
        ({"content-type": "application/xml; charset=utf-8"}, "UNSUP_CONTENT"),
        ({"accept": "text/html"}, "UNSUP_REPRESENTATION"),
    ],
)
def test_only_json_is_spoken(headers, symbol):
    async def talk(rig):
        answer = await rig("POST", "volumes", content=b'{"name":"v"}', **headers)
        assert refused(answer, symbol)

    talking(talk)


def test_json_may_say_its_charset_and_a_client_may_take_anything():
    async def talk(rig):
        kind = {"content-type": "application/json; charset=utf-8", "accept": "text/html, */*;q=0.1"}
        answer = await rig("POST", "spacereporter", content=b'{"cpg":"CPG1"}', **kind)
        assert answer.status == 200

    talking(talk)


@pytest.mark.parametrize(
    ("method", "path", "symbol"),
    [
        ("GET", "nowhere", "URI_RES_NOT_FOUND"),
        ("GET", "/", "URI_RES_NOT_FOUND"),
        ("GET", "/api/v2/system", "URI_RES_NOT_FOUND"),
        ("GET", "/api/v1", "URI_RES_NOT_FOUND"),
        ("GET", "volumes/a/b/c/d", "URI_RES_NOT_FOUND"),
        ("GET", "volumes/a/b", "URI_RES_NOT_FOUND"),
        ("GET", "vluns/a/b", "URI_RES_NOT_FOUND"),
        ("DELETE", "volumes", "UNSUP_OP"),
        ("PATCH", "volumes/v1", "UNSUP_OP"),
        ("POST", "system", "UNSUP_OP"),
        ("GET", "schedules", "UNSUP_OP"),
        ("GET", "remotecopygroups", "UNSUP_OP"),
        ("GET", "qos", "UNSUP_OP"),
        ("GET", "flashcache", "UNSUP_OP"),
        ("GET", "volumes/%zz", "INV_URL_PERCENT_ENCODING"),
        ("GET", "system?query=%22a%20EQ%20b%22&x=1", "INV_INPUT"),
        ("GET", "/api?query=%22a%20EQ%20b%22", "INV_INPUT"),
        ("GET", "tasks?query=%22a%20EQ%20b%22", "UNSUP_OP"),
        ("POST", "cpgs", "PERM_DENIED"),
        ("DELETE", "cpgs/CPG1", "PERM_DENIED"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused_and_never_an_empty_list(method, path, symbol):
    async def talk(rig):
        assert refused(await rig(method, path), symbol)

    talking(talk)


@pytest.mark.parametrize(
    "expression", ["a", "", "'a EQ b'", '"', '"a EQ"', '"name GT 3"', '"x EQ 1"']
)
def test_a_query_that_makes_no_sense_is_refused(expression):
    async def talk(rig):
        answer = await rig.http.get(
            "/api/v1/volumes", params={"query": expression}, headers={HEADER: rig.key}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, 12)

    talking(talk)


def test_system_and_pools_are_told():
    async def talk(rig):
        rig.volume(size=512 << 20)
        system = (await rig.fine("GET", "system")).body
        assert system["name"] == rig.array.name
        assert system["totalNodes"] == 2
        assert (
            system["totalCapacityMiB"] - system["allocatedCapacityMiB"] == system["freeCapacityMiB"]
        )
        pools = (await rig.fine("GET", "cpgs")).body
        assert (pools["total"], pools["members"][0]["name"]) == (1, "CPG1")
        pool = (await rig.fine("GET", "cpgs/CPG1")).body
        assert pool["UsrUsage"]["usedMiB"] == 512
        assert pool["SDUsage"] == {
            "totalMiB": 1024, "rawTotalMiB": 1024, "usedMiB": 0, "rawUsedMiB": 0,
        }  # fmt: skip
        free = (await rig.fine("POST", "spacereporter", {"cpg": "CPG1"})).body
        assert free["usableFreeMiB"] == pool["UsrUsage"]["totalMiB"] - 512
        assert refused(await rig("POST", "spacereporter", {"cpg": "none"}), "NON_EXISTENT_CPG")
        assert refused(await rig("GET", "cpgs/none"), "NON_EXISTENT_CPG")
        every = (await rig.fine("GET", "capacity")).body["allCapacity"]
        assert every["totalMiB"] == system["totalCapacityMiB"]
        assert every["freeMiB"] == free["usableFreeMiB"]
        assert (await rig.fine("GET", "wsapiconfiguration")).body["httpState"] == "Enabled"

    talking(talk)


def test_ports_are_those_of_the_target():
    async def talk(rig):
        ports = (await rig.fine("GET", "ports")).body
        assert ports["total"] == 2
        first = ports["members"][0]
        assert (first["mode"], first["linkState"], first["protocol"]) == (2, 4, 2)
        assert (first["IPAddr"], first["portPos"]["slot"]) == ("127.0.0.1", 2)
        assert (await rig.fine("GET", "ports/1:2:1")).body == ports["members"][1]
        assert refused(await rig("GET", "ports/7:7:7"), "NON_EXISTENT_PORT")

    talking(talk)
