"""Random sequences through the interface, held against a model that fits on a page."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arrayapi.wsapi_rig import action, build, refused
from stuntdouble.arrayapi.wsapi import CODES
from stuntdouble.clock import run

NAMES = ("a", "b", "c", "d", "e")
HOSTS = ("h1", "h2")


@dataclass
class Vv:
    """A volume as the model knows it; ``of`` is the name that it is a copy of."""

    readonly: bool = False
    of: str = ""


@dataclass
class Model:
    """What there should be."""

    vvs: dict = field(default_factory=dict)
    hosts: set = field(default_factory=set)
    luns: dict = field(default_factory=dict)

    def children(self, name):
        return [other for other, vv in self.vvs.items() if vv.of == name]

    def exported(self, name):
        return [(host, lun) for (host, lun), vv in self.luns.items() if vv == name]

    # Each says what the answer is to be, and does it where that is no refusal. -----------------

    def make(self, name):
        if name in self.vvs:
            return "EXISTENT_VOL"
        self.vvs[name] = Vv()
        return ""

    def snapshot(self, of, name, readonly):
        if of not in self.vvs:
            return "NON_EXISTENT_VOL"
        if name in self.vvs:
            return "EXISTENT_VOL"
        if readonly and self.vvs[of].readonly:
            return "INV_OPERATION_VV_READONLY_TO_READONLY_SNAP"
        self.vvs[name] = Vv(readonly, of)
        return ""

    def delete(self, name):
        if name not in self.vvs:
            return "NON_EXISTENT_VOL"
        if self.exported(name):
            return "EXPORTED_VV"
        if self.children(name):
            return "HAS_CHILD"
        del self.vvs[name]
        return ""

    def rename(self, name, new):
        if name not in self.vvs:
            return "NON_EXISTENT_VOL"
        if new != name and new in self.vvs:
            return "EXISTENT_VOL"
        self.vvs = {new if each == name else each: vv for each, vv in self.vvs.items()}
        for vv in self.vvs.values():
            vv.of = new if vv.of == name else vv.of
        self.luns = {at: new if vv == name else vv for at, vv in self.luns.items()}
        return ""

    def host(self, name):
        if name in self.hosts:
            return "EXISTENT_HOST"
        self.hosts.add(name)
        return ""

    def forget(self, name):
        if name not in self.hosts:
            return "NON_EXISTENT_HOST"
        if any(host == name for host, _ in self.luns):
            return "EXPORTED_VLUN"
        self.hosts.remove(name)
        return ""

    def export(self, name, host, lun):
        if name not in self.vvs:
            return "NON_EXISTENT_VOL"
        if host not in self.hosts:
            return "NON_EXISTENT_HOST"
        if (host, lun) in self.luns or any(at == host for at, _ in self.exported(name)):
            return "EXISTENT_LUN"
        self.luns[host, lun] = name
        return ""

    def unexport(self, name, host, lun):
        if host not in self.hosts:
            return "NON_EXISTENT_HOST"
        if self.luns.get((host, lun)) != name:
            return "NON_EXISTENT_VLUN"
        del self.luns[host, lun]
        return ""


NAME, HOST, LUN = st.sampled_from(NAMES), st.sampled_from(HOSTS), st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("make"), NAME),
    st.tuples(st.just("snapshot"), NAME, NAME, st.booleans()),
    st.tuples(st.just("delete"), NAME),
    st.tuples(st.just("rename"), NAME, NAME),
    st.tuples(st.just("host"), HOST),
    st.tuples(st.just("forget"), HOST),
    st.tuples(st.just("export"), NAME, HOST, LUN),
    st.tuples(st.just("unexport"), NAME, HOST, LUN),
)


def request(what, *args):
    """Return method, path and body of a step."""
    match what, *args:
        case "make", name:
            return "POST", "volumes", {"name": name, "cpg": "CPG1", "sizeMiB": 256, "tpvv": True}
        case "snapshot", of, name, readonly:
            body = action("createSnapshot", {"name": name, "readOnly": readonly})
            return "POST", f"volumes/{of}", body
        case "delete", name:
            return "DELETE", f"volumes/{name}", None
        case "rename", name, new:
            return "PUT", f"volumes/{name}", {"newName": new}
        case "host", name:
            iqn = f"iqn.2026-01.example:{name}"
            return "POST", "hosts", {"name": name, "iSCSINames": [iqn]}
        case "forget", name:
            return "DELETE", f"hosts/{name}", None
        case "export", name, host, lun:
            return "POST", "vluns", {"volumeName": name, "hostname": host, "lun": lun}
        case _:
            name, host, lun = args
            return "DELETE", f"vluns/{name},{lun},{host}", None


async def agree(rig, model):
    """Hold what the interface tells, and what initiators see, against the model."""
    told = (await rig.fine("GET", "volumes")).body["members"]
    assert {v["name"]: (v["readOnly"], v.get("copyOf", "")) for v in told} == {
        name: (vv.readonly, vv.of) for name, vv in model.vvs.items()
    }
    wwns = {v["name"]: v["wwn"] for v in told}
    assert len(set(wwns.values())) == len(wwns)
    assert set((await rig.fine("GET", "hosts")).names) == model.hosts
    vluns = (await rig.fine("GET", "vluns")).body["members"]
    templates = {(v["hostname"], v["lun"]): v["volumeName"] for v in vluns if not v["active"]}
    assert templates == model.luns
    assert all(v["volumeWWN"] == wwns[v["volumeName"]] for v in vluns)
    for host in HOSTS:
        seen = rig.array.luns(f"iqn.2026-01.example:{host}")
        assert {lun: v.naa.upper() for lun, v in seen.items()} == {
            lun: wwns[name] for (at, lun), name in model.luns.items() if at == host
        }


async def emptied(rig, model):
    """Take everything away, as the model has it, until nothing is left."""
    for (host, lun), name in list(model.luns.items()):
        await rig.fine("DELETE", f"vluns/{name},{lun},{host}")
        model.unexport(name, host, lun)
    while model.vvs:
        name = next(name for name in model.vvs if not model.children(name))
        await rig.fine("DELETE", f"volumes/{name}")
        model.delete(name)
    for host in list(model.hosts):
        await rig.fine("DELETE", f"hosts/{host}")
        model.forget(host)
    await agree(rig, model)
    assert not rig.array.inventory.volumes
    assert not rig.array.inventory.snapshots
    await asyncio.sleep(600.0)
    assert rig.pool.free_bytes == rig.pool.area_bytes
    assert rig.pool.reserve_used_bytes == 0


def talking_to(talk):
    """Run ``talk(rig)``; not ``wsapi_rig.talking``, whose set-up would be drawn into examples."""

    async def main(env):
        rig = build(env)
        transport = httpx.ASGITransport(rig.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://array") as http:
            rig.http = http
            await rig.login()
            await talk(rig)

    run(main)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_the_array_is_what_a_small_model_says_and_empty_at_the_end(steps):
    async def talk(rig):
        model = Model()
        for step in steps:
            expected = getattr(model, step[0])(*step[1:])
            answer = await rig(*request(*step))
            if expected:
                assert refused(answer, expected), step
            else:
                assert answer.status in (200, 201), (step, answer)
        await agree(rig, model)
        await emptied(rig, model)

    talking_to(talk)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=12))
def test_requests_at_the_same_time_leave_a_whole_array(steps):
    async def talk(rig):
        for name in HOSTS:
            await rig(*request("host", name))
        for name in NAMES[:2]:
            await rig(*request("make", name))
        answers = await asyncio.gather(*(rig(*request(*step)) for step in steps))
        assert all(answer.status < 500 for answer in answers), answers
        model = Model()
        model.hosts = set((await rig.fine("GET", "hosts")).names)
        for v in (await rig.fine("GET", "volumes")).body["members"]:
            model.vvs[v["name"]] = Vv(v["readOnly"], v.get("copyOf", ""))
        for v in (await rig.fine("GET", "vluns")).body["members"]:
            model.luns[v["hostname"], v["lun"]] = v["volumeName"]
        await agree(rig, model)
        await emptied(rig, model)

    talking_to(talk)


# Clients that mean no good. --------------------------------------------------------------------

PATHS = st.sampled_from(
    [
        "volumes", "volumes/v1", "volumes/s1", "volumes/w1", "volumesets", "volumesets/set-1",
        "hosts", "hosts/h1", "vluns", "vluns/v1,0,h1", "spacereporter", "tasks/1", "hostsets",
        "volumes/v1/objectKeyValues", "volumes/v1/objectKeyValues/k", "cpgs/CPG1", "tasks", "ports",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    [
        "name", "action", "parameters", "createSnapshot", "createPhysicalCopy", "readOnly", "v1",
        "s1", "h1", "sizeMiB", "cpg", "CPG1", "tpvv", "comment", "newName", "setmembers", "key",
        "value", "hostname", "volumeName", "lun", "autoLun", "portPos", "node", "iSCSINames",
        "iqn.2026-01.example:x", "pathOperation", "chapOperation", "chapSecret", "destVolume",
        "online", "destCPG", "expirationHours", "retentionHours", "policies", "descriptors", "target",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(-2, 7), WORDS,
    st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=40),
)  # fmt: skip
BODIES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=14,
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
HOSTILE = st.lists(
    st.tuples(
        METHODS,
        PATHS | st.text("abc/%,:?#[]", max_size=12),
        BODIES.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=60),
        st.sampled_from(["", "name EQ v1", "iSCSIPaths[name==x]"]) | st.text(max_size=20),
    ),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(HOSTILE)
def test_nothing_that_is_sent_is_an_error_of_the_server(requests):
    known = {(code.status, code.number) for code in CODES.values()}

    async def talk(rig):
        rig.volume("v1")
        await rig.snapshot("v1", "s1")
        await rig.snapshot("s1", "w1", readonly=False)
        await rig.fine("POST", "volumesets", {"name": "set-1", "setmembers": ["v1"]})
        await rig.fine("POST", "hosts", {"name": "h1"})
        headers = {"X-HP3PAR-WSAPI-SessionKey": rig.key, "content-type": "application/json"}
        for method, path, body, query in requests:
            url = httpx.URL("http://array/api/v1/").copy_with(
                raw_path=b"/api/v1/" + path.encode().replace(b"#", b"%23"),
            )
            answer = await rig.http.request(
                method, url, content=body, params={"query": query} if query else None,
                headers=headers,
            )  # fmt: skip
            assert answer.status_code != 500, (method, path, body, answer.text)
            if answer.status_code >= 400 and method != "HEAD":
                assert (answer.status_code, answer.json()["code"]) in known
        assert (await rig.fine("GET", "volumes")).body["total"] >= 1

    talking_to(talk)
