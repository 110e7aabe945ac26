"""Whatever is sent: a well-formed answer, a fault or a closed connection, in bounded memory.

``FUZZ`` is how many mutated requests are sent; where ``CI`` is set, 100,000.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import resource
import socket
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.parsers import expat

import pytest
from pyVmomi import vim, vmodl

from stuntdouble.clock import run
from stuntdouble.http import Limits
from stuntdouble.scenarios import load
from stuntdouble.scenarios.build import build, prepare
from stuntdouble.vsphere import Dispatcher, Setting, VirtualCenter
from vcenter import USER
from vsphere.mutating import drawn, mutated, name_all, opening, quiet, recorded, tour
from vsphere.serving import Served, disconnect, served
from vsphere.test_server import first_vm, logged_in
from vsphere.wire import Stub, envelope

REQUESTS = int(os.environ.get("FUZZ", "100000" if os.environ.get("CI") else "4000"))
SEED = int(os.environ.get("FUZZ_SEED", "2026"))
A_SITE = 500  # requests, after which the site is made anew: some of them destroy its VMs
OVER_SOCKETS = max(300, REQUESTS // 30)
GROWTH_BYTES_MAX = 128 << 20


def resident() -> int:
    """Return the bytes of memory that the process takes now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@dataclass
class Read:
    """What stands in an answer: the names of its elements by depth."""

    names: list[str] = field(default_factory=list)
    depth: int = 0

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth < 6:
            self.names.append(name.rpartition(" ")[2])

    def end(self, _name: str) -> None:
        self.depth -= 1


def names_in(answer: bytes) -> list[str]:
    """Return the outer elements of an answer; ExpatError where it is not well-formed."""
    read, parser = Read(), expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = read.start, read.end
    parser.Parse(answer, True)
    return read.names


def check(answer: bytes, *, fault: bool) -> None:
    """Hold an answer against what any client can read."""
    names = names_in(answer)
    assert names[:2] == ["Envelope", "Body"]
    assert fault == (names[2] == "Fault")
    assert fault or names[2].endswith("Response")
    assert b"SystemError" not in answer


async def some(env: Any, rng: random.Random, corpus: list[bytes], count: int) -> tuple[int, Any]:
    """Send requests to a site of its own; return how many were faults, and the dispatcher."""
    world = build(quiet(load("quickstart")), 1, env, None)
    await prepare(world)
    center = VirtualCenter(world.hypervisor, Setting(users=(USER,)))
    dispatcher = Dispatcher(center)
    name_all(center)
    session = center.sessions.anonymous()
    for body in opening(corpus):
        await dispatcher.handle(body, session, center.setting.version)
    faults, made = 0, corpus
    for number in range(count):
        if session.user is None:
            center.sessions.login(session, USER.name, USER.password, None)
        asking = center.sessions.anonymous() if rng.random() < 0.05 else session
        if number % 250 == 0:
            made = drawn(rng, center)
        body = mutated(rng, corpus if rng.random() < 0.6 else made)
        if rng.random() < 0.2:
            body = rng.choice(made)
        try:
            answer = await dispatcher.handle(body, asking, center.setting.version)
            check(answer.body, fault=answer.fault)
        except Exception as error:
            error.add_note(f"request {number}, seed {SEED}: {body[:4000]!r}")
            raise
        faults += answer.fault
        if rng.random() < 0.02:
            await asyncio.sleep(30)  # what was started gets on
    await asyncio.sleep(10_000)  # what was started ends
    return faults, dispatcher


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_no_request_brings_the_dispatcher_down(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest would keep every line of the log in memory.
    monkeypatch.setattr(logging.getLogger("stuntdouble.vsphere.dispatch"), "disabled", True)
    corpus = recorded(tour)
    rng = random.Random(SEED)
    sys.stdout.write(f"\n{REQUESTS} requests made of {len(corpus)}, seed {SEED}\n")
    sent = faults = first = 0

    while sent < REQUESTS:
        count = min(A_SITE, REQUESTS - sent)
        found, dispatcher = run(lambda env, count=count: some(env, rng, corpus, count))
        sent, faults = sent + count, faults + found
        assert len(dispatcher.calls) > 20
        del dispatcher
        first = first or resident()
    grown = resident() - first
    sys.stdout.write(f"{faults} faults, grown by {grown >> 20} MiB\n")
    assert sent * 0.2 < faults < sent * 0.98  # mutations that change nothing would show nothing
    assert grown < GROWTH_BYTES_MAX


def exchanged(line: socket.socket, request: bytes) -> tuple[int, bytes, bool]:
    """Return status and body of an answer, 0 where there is none, and whether the line is done with."""
    try:
        line.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := line.recv(1 << 16)):
                return 0, b"", True
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            if not (more := line.recv(1 << 16)):
                return 0, b"", True
            body += more
    except (ConnectionError, TimeoutError):
        return 0, b"", True
    # What is beyond the length answers the rest of a request that was longer than it said.
    closes = len(body) > length or b"connection: close" in head.lower()
    return int(head.split()[1]), body[:length], closes


def posted(rng: random.Random, body: bytes, key: str) -> bytes:
    """Return a request over HTTP, whose head may be wrong as well."""
    length = len(body) if rng.random() < 0.97 else rng.choice((0, len(body) + 5, -1, 1 << 40))
    cookie = key if rng.random() < 0.9 else rng.choice(("", key[:-1], "x" * 4000, '"', key + key))
    action = rng.choice(('"urn:vim25/8.0.3.0"', "urn:vim25/6.5", "", "x" * 500, '"urn:vim25/9..9"'))
    path = rng.choice(("/sdk", "/sdk", "/sdk/", "/sdk/vimService", "/sdk/%ff", "/folder/../x"))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nSOAPAction: {action}\r\n"
        f"Content-Type: text/xml; charset={rng.choice(('utf-8', 'utf-16'))}\r\n"
        f'Cookie: vmware_soap_session="{cookie}"\r\n\r\n'
    )
    return head.encode() + body


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_no_request_brings_the_server_down(caplog: pytest.LogCaptureFixture) -> None:
    corpus = recorded(tour)
    rng = random.Random(SEED)

    def client(site: Served) -> None:
        site.on_loop(lambda: name_all(site.center))
        key = logged_in(site)
        before, line, answered = resident(), None, 0
        for number in range(OVER_SOCKETS):
            if not site.center.sessions.all:
                key = logged_in(site)
            if line is None:
                line = socket.create_connection(("127.0.0.1", site.endpoint.port), timeout=0.5)
            body = mutated(rng, corpus)
            request = posted(rng, body, key)
            status, answer, done = exchanged(line, request)
            answered += status > 0
            assert status in {0, 200, 400, 401, 404, 408, 413, 431, 500}, (number, request[:4000])
            if answer.startswith(b"<?xml"):
                check(answer, fault=status == 500)
            if done or status not in {200, 500}:
                line.close()
                line = None
        assert resident() - before < GROWTH_BYTES_MAX
        assert answered > 0.9 * OVER_SOCKETS
        if line is not None:
            line.close()
        si = site.connect()
        assert first_vm(si).name
        assert isinstance(si.content.rootFolder, vim.Folder)
        disconnect(si)

    served(client, rate=20_000.0, change=quiet)
    assert "Traceback" not in caplog.text


def test_what_is_logged_of_a_request_is_short_and_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def client(site: Served) -> None:
        reply = site.call(vim.VirtualMachine("x\n" * 50_000), "CurrentTime")
        assert len(reply.body) < 200_000
        odd = envelope(
            f'<{"n" * 200} xmlns="urn:vim25"><_this type="Task">a\nb</_this></{"n" * 200}>'
        )
        assert b"MethodNotFound" in site.ask("POST", "/sdk", odd).body

    served(client)
    assert caplog.records
    assert all(len(r.getMessage()) < 400 and "\n" not in r.getMessage() for r in caplog.records)


def test_a_slow_client_is_closed_and_others_are_served() -> None:
    limits = replace(Limits(), head_seconds=0.3, body_seconds=0.3, tick_seconds=0.1)

    def client(site: Served) -> None:
        lines = [
            socket.create_connection(("127.0.0.1", site.endpoint.port), timeout=20)
            for _ in range(40)
        ]
        for number, line in enumerate(lines):
            head = b"POST /sdk HTTP/1.1\r\nHost: a\r\n"
            line.sendall(head + b"Content-Length: 999\r\n\r\n<" if number % 2 else head)
        si = site.connect()
        assert first_vm(si).name
        disconnect(si)
        for line in lines:
            answer = line.recv(1000)
            assert answer[:12] in {b"", b"HTTP/1.1 408"}
            line.close()

    served(client, rate=1.0, limits=limits)


def test_what_mutated_requests_have_found_stays_mended() -> None:
    def client(site: Served) -> None:
        key = logged_in(site)
        cookie = f"vmware_soap_session={key}"
        folder = site.on_loop(lambda: site.center.roots.datacenter.folders["vm"].ref)
        pool = site.on_loop(lambda: site.center.roots.pool.ref)
        for files in (None, vim.vm.FileInfo()):
            spec = vim.vm.ConfigSpec(name="x", files=files)
            reply = site.call(folder, "CreateVM_Task", spec, pool, None, Cookie=cookie)
            assert b"<invalidProperty>config.files.vmPathName<" in reply.body
        for odd in ("<Nothing xmlns='urn:vim25'/>", "<Body/>"):  # called on nothing
            assert b"MethodNotFoundFault" in site.ask("POST", "/sdk", envelope(odd)).body
        vm = site.on_loop(lambda: next(iter(site.center.roots.vms())).ref)
        untyped = (
            Stub().fetch(vm, "datastore").replace(b"VirtualMachine", b"ManagedObjectReference")
        )
        found = site.ask("POST", "/sdk", untyped, Cookie=cookie)
        assert b'xsi:type="ArrayOfManagedObjectReference"' in found.body
        collector = vmodl.query.PropertyCollector("propertyCollector")
        waited = site.call(collector, "WaitForUpdates", None, Cookie=cookie)
        assert b"<version>0</version>" in waited.body

    served(client, rate=20_000.0, setting=Setting(users=(USER,)), change=quiet)
