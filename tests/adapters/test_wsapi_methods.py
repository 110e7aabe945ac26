"""Backups whose array is asked through WSAPI come out as those that call it directly."""

from __future__ import annotations

import httpx
import pytest

from arrayapi.wsapi_rig import PASSWORD, URL, USER
from scenarios.tiny import live_through, tiny
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.arrayapi import LocalDoor, app
from stuntdouble.arrayapi.wsapi import MANNERS, Wsapi, WsapiSessions
from stuntdouble.scenarios import comparing

METHODS = ("storage", "mounted")


def by_wsapi(array):
    """Return the array as a client of its interface sees it."""
    door = LocalDoor(Wsapi(array), array.core.env)
    transport = httpx.ASGITransport(app(MANNERS, door, WsapiSessions(USER, PASSWORD)))
    return WsapiArray(WsapiClient(URL, USER, PASSWORD, transport=transport))


def two_volumes():
    """Return a scenario whose VM lies on a datastore of two volumes."""
    table = tiny()
    table["arrays"][0]["volumes"] = [
        {"name": name, "pool": "pool-1", "size": "512 MiB"} for name in ("vol-1", "vol-2")
    ]
    table["datastores"][0]["volumes"] = ["vol-1", "vol-2"]
    return table


@pytest.mark.parametrize("scenario", [tiny, two_volumes])
def test_methods_that_ask_an_array_by_wsapi_restore_and_leave_nothing(
    scenario, tmp_path, monkeypatch
):
    direct = live_through(scenario(), tmp_path / "direct", methods=METHODS)
    monkeypatch.setattr(comparing, "LocalArray", by_wsapi)
    asked = live_through(scenario(), tmp_path / "wsapi", methods=METHODS)
    for name in METHODS:
        one, other = direct.methods[name], asked.methods[name]
        assert not other.leftovers
        assert not other.not_restored
        assert [run.outcome for run in other.runs] == ["ok", "ok"]
        assert [run.kind for run in other.runs] == [run.kind for run in one.runs]
        assert len(other.restore_points) == len(one.restore_points) == 2
        assert all(point.verified for point in other.restore_points)
