"""The methods that need an array, with a FlashArray behind their port: whole, in virtual time."""

from __future__ import annotations

import copy

import httpx
import pytest

from scenarios.tiny import live_through, tiny
from stuntdouble.adapters.pure import PureArray, PureClient
from stuntdouble.arrayapi import LocalDoor, app
from stuntdouble.arrayapi.pure import MANNERS, OUI, Estate, FlashArray, Sessions

TOKEN = "the-token"


@pytest.mark.parametrize("method", ["storage", "mounted"])
def test_a_backup_by_the_vendors_interface_verifies_and_leaves_nothing(
    method, tmp_path, monkeypatch
):
    arrays, asked = [], []

    def by_pure(array):
        personality = FlashArray(Estate(array, 0.0))
        sessions = Sessions("u", "p", TOKEN, lambda: array.core.env.now)
        served = app(MANNERS, LocalDoor(personality, array.core.env), sessions)

        async def counting(scope, receive, send):
            asked.append(f"{scope['method']} {scope['path'].rpartition('/')[2]}")
            await served(scope, receive, send)

        arrays.append(array)
        transport = httpx.ASGITransport(counting)
        return PureArray(PureClient("https://array", TOKEN, transport=transport))

    monkeypatch.setattr("stuntdouble.scenarios.comparing.LocalArray", by_pure)
    table = copy.deepcopy(tiny())
    table["arrays"][0]["parameters"] = {"naa_prefix": OUI, "name_length_max": 191}
    result = live_through(table, tmp_path, methods=(method,))
    found = result.methods[method]
    assert found.leftovers == ()
    assert len(found.restore_points) == 2
    assert all(point.verified for point in found.restore_points)
    assert {"POST volume-snapshots", "POST volumes", "POST connections"} <= set(asked)
    (array,) = {id(each): each for each in arrays}.values()
    assert array.inventory.snapshots == {}
    assert list(array.inventory.volumes) == ["vol-1"]
    assert array.mappings() == ()
