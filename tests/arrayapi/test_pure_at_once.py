"""Requests that meet: what another one does while the array takes its time."""

from __future__ import annotations

import json

import pytest

from arrayapi.pure_world import IQN, build
from stuntdouble.arrayapi import Request
from stuntdouble.units import MIB


@pytest.fixture
def world():
    world = build(
        map_seconds=1.0, delete_seconds=1.0, snapshot_create_seconds=1.0, create_seconds=1.0
    )
    world.volume("v1", MIB)
    world.two("POST", "hosts", {"iqns": [IQN]}, names="h")
    return world


def begun(world, method, resource, body=None, **query):
    """Begin a request; return what will be its answer."""
    data = b"" if body is None else json.dumps(body).encode()
    request = Request(method, f"/api/2.26/{resource}", tuple(query.items()), {}, data)
    return world.env.process(world.pure.handle(request))


def answers(world, *requests):
    """Return status and first message of each, in the order of the requests."""
    found = []
    for each in requests:
        reply = world.env.run(until=each)
        errors = (reply.body or {}).get("errors")
        found.append((reply.status, errors[0]["message"] if errors else ""))
    return found


def test_a_volume_that_is_destroyed_while_it_is_connected_stays_unconnected(world):
    connecting = begun(world, "POST", "connections", host_names="h", volume_names="v1")
    world.wait(0.5)
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
    ((status, message),) = answers(world, connecting)
    assert status == 400
    assert "has been destroyed" in message
    assert world.two("GET", "connections") == []
    world.two("PATCH", "volumes", {"destroyed": False}, names="v1")
    world.two("POST", "connections", host_names="h", volume_names="v1")


@pytest.mark.parametrize(("resource", "name"), [("volumes", "v1"), ("volume-snapshots", "v1.s")])
def test_what_is_being_eradicated_cannot_be_recovered(world, resource, name):
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    world.two("PATCH", resource, {"destroyed": True}, names=name)
    ending = begun(world, "DELETE", resource, names=name)
    world.wait(0.5)
    assert world.refused("PATCH", resource, {"destroyed": False}, names=name)[0][0].endswith("is being eradicated.")  # fmt: skip
    assert answers(world, ending) == [(200, "")]
    assert name not in world.names(resource)


def test_an_eradication_that_is_refused_can_be_recovered_from(world):
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
    mapping = world.env.process(world.array.map_to_host("v1", "h"))
    world.wait(0.5)
    ending = begun(world, "DELETE", "volumes", names="v1")
    world.env.run(until=mapping)
    ((status, message),) = answers(world, ending)
    assert (status, message) == (400, "volume v1 is mapped: cannot delete it.")
    world.two("PATCH", "volumes", {"destroyed": False}, names="v1")


def test_two_that_make_the_same_make_it_once(world):
    body = {"suffix": "s"}
    both = [begun(world, "POST", "volume-snapshots", body, source_names="v1") for _ in range(2)]
    assert answers(world, *both) == [(200, ""), (400, "Volume snapshot already exists.")]
    both = [begun(world, "POST", "volumes", {"provisioned": MIB}, names="w") for _ in range(2)]
    assert answers(world, *both) == [(200, ""), (400, "Volume already exists.")]
    query = {"host_names": "h", "volume_names": "v1"}
    both = [begun(world, "POST", "connections", None, **query) for _ in range(2)]
    assert answers(world, *both) == [(200, ""), (400, "Connection already exists.")]
    both = [begun(world, "DELETE", "connections", None, **query) for _ in range(2)]
    assert answers(world, *both) == [(200, ""), (400, "Connection does not exist.")]
    assert world.two("GET", "connections") == []
