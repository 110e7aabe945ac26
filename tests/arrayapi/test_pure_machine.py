"""Random lives of volumes, snapshots, hosts and connections, through both versions of the interface.

The model is a few dictionaries.  Whatever is asked, the array says what the model says; and when
everything has been taken away again, nothing is left.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from arrayapi.pure_world import BLOCK, build
from stuntdouble.arrayapi import Request
from stuntdouble.arrayapi.pure import rest1, rest2
from stuntdouble.units import MIB

NAMES = st.sampled_from(["a", "b", "c", "d"])
SUFFIXES = st.sampled_from(["s", "t"])
HOSTS = st.sampled_from(["h", "i"])
BLOCKS = MIB // BLOCK


class Lives(RuleBasedStateMachine):
    """The model: what is there, whether it is destroyed, and what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.world = build(disk_bytes=32 * MIB)
        self.free = self.world.array.pools["pool-1"].free_bytes
        self.volumes: dict[str, bool] = {}  # whether destroyed
        self.snapshots: dict[tuple[str, str], bool] = {}
        self.held: dict[str, list[int]] = {}
        self.frozen: dict[tuple[str, str], list[int]] = {}
        self.hosts: set[str] = set()
        self.seen: dict[tuple[str, str], int] = {}

    def ask(self, wanted: bool, method: str, path: str, body=None, **query) -> None:
        """Ask REST 2; it must do what the model allows, and refuse all else."""
        reply = self.world.ask(method, f"2.26/{path}", body, **query)
        assert reply.status == (200 if wanted else 400), (method, path, body, query, reply)

    def ask_one(self, wanted: bool, method: str, path: str, body=None) -> None:
        """Ask REST 1 the same."""
        reply = self.world.ask(method, f"1.19/{path}", body)
        assert reply.status == (200 if wanted else 400), (method, path, body, reply)

    def live(self, name: str) -> bool:
        return self.volumes.get(name) is False

    def forget(self, name: str) -> None:
        del self.volumes[name], self.held[name]
        for key in [key for key in self.snapshots if key[0] == name]:
            del self.snapshots[key], self.frozen[key]

    @rule(name=NAMES, old=st.booleans())
    def create(self, name: str, old: bool) -> None:
        good = name not in self.volumes
        if old:
            self.ask_one(good, "POST", f"volume/{name}", {"size": "1M"})
        else:
            self.ask(good, "POST", "volumes", {"provisioned": MIB}, names=name)
        if good:
            self.volumes[name] = False
            self.held[name] = self.world.tokens(name)

    @rule(name=NAMES, block=st.integers(0, BLOCKS - 1))
    def write(self, name: str, block: int) -> None:
        if self.live(name):
            self.world.write(name, block)
            self.held[name] = self.world.tokens(name)

    @rule(
        names=st.lists(NAMES, min_size=1, max_size=3, unique=True),
        suffix=SUFFIXES,
        old=st.booleans(),
    )
    def snapshot(self, names: list[str], suffix: str, old: bool) -> None:
        good = all(self.live(name) and (name, suffix) not in self.snapshots for name in names)
        if old:
            body = {"snap": True, "source": names, "suffix": suffix}
            self.ask_one(good, "POST", "volume", body)
        else:
            self.ask(good, "POST", "volume-snapshots", {"suffix": suffix}, source_names=names)
        if good:
            self.snapshots |= {(name, suffix): False for name in names}
            self.frozen |= {(name, suffix): list(self.held[name]) for name in names}

    @rule(name=NAMES, suffix=SUFFIXES, copy=NAMES, old=st.booleans())
    def promote(self, name: str, suffix: str, copy: str, old: bool) -> None:
        there = self.live(name) and self.snapshots.get((name, suffix)) is False
        good = there and copy not in self.volumes
        if old:
            self.ask_one(good, "POST", f"volume/{copy}", {"source": f"{name}.{suffix}"})
        else:
            body = {"source": {"name": f"{name}.{suffix}"}}
            self.ask(good, "POST", "volumes", body, names=copy)
        if good:
            self.volumes[copy] = False
            self.held[copy] = list(self.frozen[name, suffix])

    @rule(name=NAMES, copy=NAMES)
    def copy(self, name: str, copy: str) -> None:
        good = self.live(name) and copy not in self.volumes
        self.ask(good, "POST", "volumes", {"source": {"name": name}}, names=copy)
        if good:
            self.volumes[copy] = False
            self.held[copy] = list(self.held[name])

    @rule(name=NAMES, new=NAMES)
    def rename(self, name: str, new: str) -> None:
        good = self.live(name) and (new == name or new not in self.volumes)
        self.ask(good, "PATCH", "volumes", {"name": new}, names=name)
        if good and new != name:
            self.volumes[new] = self.volumes.pop(name)
            self.held[new] = self.held.pop(name)
            for table in (self.snapshots, self.frozen):
                for key in [key for key in table if key[0] == name]:
                    table[new, key[1]] = table.pop(key)
            for host, seen in [key for key in self.seen if key[1] == name]:
                self.seen[host, new] = self.seen.pop((host, seen))

    @rule(name=NAMES, old=st.booleans())
    def destroy(self, name: str, old: bool) -> None:
        good = self.live(name) and all(seen != name for _, seen in self.seen)
        if old:
            self.ask_one(good, "DELETE", f"volume/{name}")
        else:
            self.ask(good, "PATCH", "volumes", {"destroyed": True}, names=name)
        if good:
            self.volumes[name] = True

    @rule(name=NAMES, old=st.booleans())
    def recover(self, name: str, old: bool) -> None:
        good = self.volumes.get(name) is True
        if old:
            self.ask_one(good, "PUT", f"volume/{name}", {"action": "recover"})
        else:
            self.ask(good, "PATCH", "volumes", {"destroyed": False}, names=name)
        if good:
            self.volumes[name] = False

    @rule(name=NAMES, old=st.booleans())
    def eradicate(self, name: str, old: bool) -> None:
        good = self.volumes.get(name) is True
        if old:
            self.ask_one(good, "DELETE", f"volume/{name}", {"eradicate": True})
        else:
            self.ask(good, "DELETE", "volumes", names=name)
        if good:
            self.forget(name)

    @rule(name=NAMES, suffix=SUFFIXES, what=st.sampled_from(["destroy", "recover", "eradicate"]))
    def end_snapshot(self, name: str, suffix: str, what: str) -> None:
        key, called = (name, suffix), f"{name}.{suffix}"
        own = self.snapshots.get(key)
        gone = own or (own is not None and self.volumes[name])
        if what == "destroy":
            good = own is False and not gone
            self.ask(good, "PATCH", "volume-snapshots", {"destroyed": True}, names=called)
        elif what == "recover":
            good = own is True and not self.volumes[name]
            self.ask(good, "PATCH", "volume-snapshots", {"destroyed": False}, names=called)
        else:
            good = bool(gone)
            self.ask(good, "DELETE", "volume-snapshots", names=called)
        if good and what == "eradicate":
            del self.snapshots[key], self.frozen[key]
        elif good:
            self.snapshots[key] = what == "destroy"

    @rule(host=HOSTS, old=st.booleans())
    def create_host(self, host: str, old: bool) -> None:
        iqn, good = f"iqn.2026-01.example:{host}", host not in self.hosts
        if old:
            self.ask_one(good, "POST", f"host/{host}", {"iqnlist": [iqn]})
        else:
            self.ask(good, "POST", "hosts", {"iqns": [iqn]}, names=host)
        self.hosts.add(host)

    @rule(host=HOSTS)
    def delete_host(self, host: str) -> None:
        good = host in self.hosts and all(each != host for each, _ in self.seen)
        self.ask(good, "DELETE", "hosts", names=host)
        self.hosts -= {host} if good else set()

    @rule(host=HOSTS, name=NAMES, lun=st.none() | st.integers(1, 3), old=st.booleans())
    def connect(self, host: str, name: str, lun: int | None, old: bool) -> None:
        taken = {n for (each, _), n in self.seen.items() if each == host}
        good = host in self.hosts and self.live(name) and (host, name) not in self.seen
        good = good and lun not in taken
        body = {} if lun is None else {"lun": lun}
        if old:
            self.ask_one(good, "POST", f"host/{host}/volume/{name}", body)
        else:
            self.ask(good, "POST", "connections", body, host_names=host, volume_names=name)
        if good:
            free = min(n for n in range(1, 9) if n not in taken)
            self.seen[host, name] = free if lun is None else lun

    @rule(host=HOSTS, name=NAMES)
    def disconnect(self, host: str, name: str) -> None:
        good = (host, name) in self.seen
        self.ask(good, "DELETE", "connections", host_names=host, volume_names=name)
        self.seen.pop((host, name), None)

    @rule()
    def a_day_passes(self) -> None:
        self.world.wait(86_401)
        for name in [name for name, destroyed in self.volumes.items() if destroyed]:
            self.forget(name)
        for key in [key for key, destroyed in self.snapshots.items() if destroyed]:
            del self.snapshots[key], self.frozen[key]

    @invariant()
    def the_array_says_what_the_model_says(self) -> None:
        world = self.world
        found = {item["name"]: item["destroyed"] for item in world.two("GET", "volumes")}
        assert found == self.volumes
        found = {item["name"]: item["destroyed"] for item in world.two("GET", "volume-snapshots")}
        assert found == {
            f"{name}.{suffix}": own or self.volumes[name]
            for (name, suffix), own in self.snapshots.items()
        }
        found = {
            (item["host"]["name"], item["volume"]["name"]): item["lun"]
            for item in world.two("GET", "connections")
        }
        assert found == self.seen
        assert set(world.names("hosts")) == self.hosts
        live = {name for name, destroyed in self.volumes.items() if not destroyed}
        assert {item["name"] for item in world.one("GET", "volume")} == live
        for name in live:
            assert world.tokens(name) == self.held[name]

    def teardown(self) -> None:
        """Take everything away: nothing is left."""
        for host, name in list(self.seen):
            self.disconnect(host, name)
        for host in sorted(self.hosts):
            self.delete_host(host)
        for name in sorted(self.volumes):
            if self.live(name):
                self.destroy(name, False)
        self.a_day_passes()
        assert self.world.names("volumes") == []
        assert self.world.array.inventory.volumes == {}
        assert self.world.array.inventory.snapshots == {}
        assert self.world.array.hosts.all() == ()
        assert self.world.array.pools["pool-1"].free_bytes == self.free
        assert self.world.array.pools["pool-1"].reserve_used_bytes == 0


TestLives = Lives.TestCase
TestLives.settings = settings(stateful_step_count=30)


# Hostile requests. -------------------------------------------------------------------------------

words = st.sampled_from(
    ["a", "b", "a.s", "", ".", "..", "a,b", "a,,", "ä", "true", "null", "0", "-1", "9" * 25, "name", "h", "pg", "*", "'", "name='a'", "x" * 70]
) | st.text(max_size=8)  # fmt: skip
keys = st.sampled_from(
    ["names", "ids", "filter", "sort", "limit", "offset", "continuation_token", "total_only", "destroyed", "source_names", "host_names", "volume_names", "member_names", "group_names", "overwrite", "resource_names", "keys", "snap", "pending", "suffix"]
)  # fmt: skip
fields = st.sampled_from(
    ["name", "id", "provisioned", "source", "destroyed", "suffix", "iqns", "chap", "lun", "size", "snap", "eradicate", "iqnlist", "vollist", "action", "key", "value", "resource", "host_user", "names", "truncate"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields | words, inner, max_size=4),
    max_leaves=8,
)
bodies = st.binary(max_size=20) | values.map(lambda value: json.dumps(value).encode())
pairs = st.lists(st.tuples(keys | words, words), max_size=3)
two = st.tuples(st.sampled_from(rest2.VERSIONS), st.sampled_from(sorted(rest2.PATHS)))
one = st.builds(
    lambda pattern, names: ("1.19", "/".join(next(names) if part == "*" else part for part in pattern)),
    st.sampled_from(sorted(rest1.PATHS)),
    st.lists(words.map(lambda word: word.replace("/", "%2F")), min_size=2, max_size=2).map(iter),
)  # fmt: skip
paths = st.one_of(two, one, st.tuples(words, words)).map(lambda pair: "/api/" + "/".join(pair))
requests = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE"]),
    paths,
    pairs.map(tuple),
    st.just({}),
    bodies,
)


@given(st.lists(requests, max_size=12))
def test_no_request_breaks_the_array(hostile):
    world = build(disk_bytes=32 * MIB)
    world.volume("a", MIB)
    world.two("POST", "hosts", names="h")
    world.two("POST", "protection-groups", names="pg")
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="a")
    for request in hostile:
        before = world.env.now
        reply = world.do(world.pure.handle(request))
        assert reply.status in (200, 400, 404, 405, 450), (request, reply)
        json.dumps(reply.body, allow_nan=False)
        assert request.changes or world.env.now == before
    world.two("GET", "volumes")
