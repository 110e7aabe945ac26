"""The door over HTTP: paths, cookies, versions, faults, and clients that leave."""

from __future__ import annotations

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.errors import InvalidState
from stuntdouble.vsphere import Setting
from stuntdouble.vsphere.server import VsphereEndpoint
from vcenter import USER
from vsphere.serving import Served, disconnect, served
from vsphere.wire import Stub

SERVICE = vim.ServiceInstance("ServiceInstance")
SESSIONS = vim.SessionManager("SessionManager")
LOGIN = (SESSIONS, "Login", USER.name, USER.password, None)


def logged_in(site: Served) -> str:
    reply = site.call(*LOGIN)
    assert (reply.status, len(reply.key)) == (200, 40)
    return reply.key


def first_vm(si: Any) -> Any:
    content = si.RetrieveContent()
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    return view.view[0]


@pytest.mark.parametrize("plain", [True, False])
def test_an_unmodified_client_takes_a_snapshot(plain: bool) -> None:
    def client(site: Served) -> tuple[str, bool, bool]:
        si = site.connect()
        vm = first_vm(si)
        WaitForTask(vm.CreateSnapshot_Task("one", "", False, False), si=si)
        name = vm.snapshot.rootSnapshotList[0].name
        WaitForTask(vm.RemoveAllSnapshots_Task(), si=si)
        there = vm.snapshot is not None
        disconnect(si)
        return name, there, bool(site.center.sessions.all)

    assert served(client, plain=plain) == ("one", False, False)


def test_the_certificate_is_told_by_its_fingerprint() -> None:
    def client(site: Served) -> tuple[str, str]:
        return site.endpoint.url, site.endpoint.fingerprint_sha256

    url, fingerprint = served(client, plain=False)
    assert url.startswith("https://127.0.0.1:")
    assert url.endswith("/sdk")
    assert len(fingerprint.split(":")) == 32
    url, fingerprint = served(client)
    assert (url[:7], fingerprint) == ("http://", "")


def test_versions_are_read_before_anybody_logs_in() -> None:
    def client(site: Served) -> list[str]:
        found = ET.fromstring(site.ask("GET", "/sdk/vimServiceVersions.xml").body)
        return [each.text or "" for each in found.iter("version")]

    versions = served(client)
    assert versions[0] == "8.0.3.0"
    assert "6.5" in versions


@pytest.mark.parametrize("spelling", ['vmware_soap_session="{}"', "vmware_soap_session={}; a=b",
    'a="b"; vmware_soap_session="{}"; Path=/; HttpOnly'])  # fmt: skip
def test_a_cookie_is_taken_as_clients_spell_it(spelling: str) -> None:
    def client(site: Served) -> None:
        key = logged_in(site)
        reply = site.call(SESSIONS, "AcquireCloneTicket", Cookie=spelling.format(key))
        assert reply.status == 200
        assert "Set-Cookie" not in reply.headers
        assert len(site.center.sessions.all) == 1

    served(client)


def test_no_wrong_ended_or_expired_cookie_opens_anything() -> None:
    def client(site: Served) -> None:
        key = logged_in(site)
        wrong = ["", "vmware_soap_session=", f'vmware_soap_session="{key[:-1]}"', f"x_{key}",
                 'vmware_soap_session="\xe4\\"', f'vmware_soap_session="{key}0"']  # fmt: skip
        for cookie in wrong:
            reply = site.call(SESSIONS, "AcquireCloneTicket", Cookie=cookie)
            assert reply.status == 500
            assert b"NotAuthenticatedFault" in reply.body
        mine = f'vmware_soap_session="{key}"'
        site.on_loop(lambda: setattr(site.center.sessions, "idle_seconds", -1.0))
        assert (
            b"NotAuthenticatedFault" in site.call(SESSIONS, "AcquireCloneTicket", Cookie=mine).body
        )
        assert site.center.sessions.all == {}
        site.on_loop(lambda: setattr(site.center.sessions, "idle_seconds", 1e9))
        again = site.call(*LOGIN, Cookie=mine)
        assert again.key not in {"", key}
        mine = f'vmware_soap_session="{again.key}"'
        assert site.call(SESSIONS, "Logout", Cookie=mine).status == 200
        assert site.call(SESSIONS, "AcquireCloneTicket", Cookie=mine).status == 500

    served(client)


def test_who_has_not_logged_in_leaves_nothing_behind() -> None:
    def client(site: Served) -> None:
        for _ in range(50):
            assert site.call(SERVICE, "RetrieveServiceContent").status == 200
        wrong = site.call(SESSIONS, "Login", USER.name, "no", None)
        assert b"InvalidLoginFault" in wrong.body
        assert "Set-Cookie" not in wrong.headers
        assert site.center.sessions.all == {}

    served(client)


def test_a_session_shows_who_its_client_is() -> None:
    def client(site: Served) -> Any:
        key = site.call(*LOGIN, User_Agent="somebody/1.0 " + "x" * 500).key
        return site.center.sessions.all[key]

    session = served(client)
    assert session.address == "127.0.0.1"
    assert session.agent.startswith("somebody/1.0 x")
    assert len(session.agent) == 256


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/", 200), ("HEAD", "/", 200), ("POST", "/", 405),
    ("GET", "/sdk", 405), ("PUT", "/sdk/vimService", 405),
    ("GET", "/sdk/vimServiceVersions.xml", 200), ("DELETE", "/sdk/vimServiceVersions.xml", 405),
    ("GET", "/nothing", 404), ("POST", "/sdk/other", 404), ("GET", "/sdk/../etc", 404),
    ("OPTIONS", "*", 404),
])  # fmt: skip
def test_paths_and_methods(method: str, path: str, status: int) -> None:
    def client(site: Served) -> Any:
        return site.ask(method, path)

    reply = served(client)
    assert reply.status == status
    assert ("Allow" in reply.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/sdk", "/sdk/", "/sdk/vimService"])
def test_calls_are_answered_wherever_clients_post_them(path: str) -> None:
    def client(site: Served) -> Any:
        return site.ask("POST", path, Stub().request(SERVICE, "CurrentTime"))

    reply = served(client)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert b"CurrentTimeResponse" in reply.body


def test_an_old_client_is_answered_in_its_version() -> None:
    def client(site: Served) -> list[bool]:
        actions = ('"urn:vim25/2.5u2"', "urn:vim25/8.0.3.0", "nonsense", '"urn:vim25/99.0"', "")
        replies = [site.call(SERVICE, "RetrieveServiceContent", SOAPAction=a) for a in actions]
        assert {reply.status for reply in replies} == {200}
        return [b"instanceUuid" in reply.body for reply in replies]  # there since 4.0

    assert served(client) == [False, True, True, True, True]


def test_an_error_of_our_own_is_told_logged_and_survived(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def client(site: Served) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(type(site.center), "resolve", lambda *_: 1 / 0)
            reply = site.call(SERVICE, "CurrentTime")
        assert reply.status == 500
        assert b"SystemErrorFault" in reply.body
        assert b"division" not in reply.body
        assert site.call(SERVICE, "CurrentTime").status == 200

    served(client)
    assert "division by zero" in caplog.text


def test_a_wait_ends_with_its_client_with_its_session_and_when_it_is_called_off() -> None:
    def client(site: Served) -> None:
        key = logged_in(site)
        wait = Stub().request(
            vmodl.query.PropertyCollector("propertyCollector"),
            "WaitForUpdatesEx", "", vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=1700),
        )  # fmt: skip
        head = (
            f"POST /sdk HTTP/1.1\r\nHost: a\r\nCookie: vmware_soap_session={key}\r\n"
            f"Content-Length: {len(wait)}\r\n\r\n"
        ).encode()

        def waiting() -> socket.socket:
            line = socket.create_connection(("127.0.0.1", site.endpoint.port), timeout=20)
            line.sendall(head + wait)
            until(lambda: site.center.changes.waiting == 1)
            return line

        line = waiting()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
        until(lambda: site.center.changes.waiting == 0)
        mine = f"vmware_soap_session={key}"
        for call in (
            (vmodl.query.PropertyCollector("propertyCollector"), "CancelWaitForUpdates"),
            (SESSIONS, "Logout"),
        ):
            line = waiting()
            assert site.call(*call, Cookie=mine).status == 200
            assert b"RequestCanceledFault" in line.recv(1 << 16)
            line.close()
        assert site.center.changes.waiting == 0

    served(client, rate=1.0)


def until(reached: Any) -> None:
    stop = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < stop
        time.sleep(0.01)


def test_calls_on_one_session_run_side_by_side() -> None:
    def client(site: Served) -> None:
        si = site.connect()
        collector, vm = si.content.propertyCollector, first_vm(si)
        spec = vmodl.query.PropertyCollector.FilterSpec(
            objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vm)],
            propSet=[vmodl.query.PropertyCollector.PropertySpec(
                type=vim.VirtualMachine, pathSet=["snapshot"])],
        )  # fmt: skip
        collector.CreateFilter(spec, True)
        version = collector.WaitForUpdatesEx("").version
        told: list[Any] = []
        waiter = threading.Thread(target=lambda: told.append(collector.WaitForUpdatesEx(version)))
        waiter.start()
        until(lambda: site.center.changes.waiting)
        assert vm.name
        vm.CreateSnapshot_Task("one", "", False, False)
        waiter.join(20)
        assert told
        disconnect(si)

    served(client)


def test_sixty_four_clients_at_once() -> None:
    def client(site: Served) -> int:
        names = set(site.world.hypervisor.vms)

        def one(number: int) -> int:
            si = site.connect()
            vm = first_vm(si)
            for _ in range(10):
                assert vm.name in names
                assert vm.config.hardware.device
            disconnect(si)
            return number

        with ThreadPoolExecutor(64) as pool:
            done = list(pool.map(one, range(64)))
        assert site.center.sessions.all == {}
        return len(done)

    assert served(client) == 64


def test_another_center_takes_over() -> None:
    from stuntdouble.vsphere import Dispatcher, VirtualCenter

    def client(site: Served) -> None:
        key = logged_in(site)
        other = site.on_loop(lambda: VirtualCenter(site.world.hypervisor, Setting(users=(USER,))))
        site.on_loop(lambda: site.endpoint.serve_instead(Dispatcher(other)))
        assert site.center.sessions.all == {}
        cookie = f"vmware_soap_session={key}"
        assert site.call(SESSIONS, "AcquireCloneTicket", Cookie=cookie).status == 500
        assert logged_in(site) in other.sessions.all

    served(client)


def test_where_it_listens_is_known_once_it_does() -> None:
    endpoint = VsphereEndpoint(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidState, match="not started"):
        endpoint.url  # noqa: B018


def test_a_cookie_is_for_encrypted_connections_where_it_came_over_one() -> None:
    import http.client
    import ssl

    def client(site: Served) -> list[str]:
        trusting = ssl.create_default_context(cadata=site.endpoint.certificate.decode())
        line = http.client.HTTPSConnection("localhost", site.endpoint.port, context=trusting)
        line.request("POST", "/sdk", Stub().request(*LOGIN))
        answer = line.getresponse()
        answer.read()
        line.close()
        return (answer.getheader("Set-Cookie") or "").split("; ")[1:]

    assert served(client, plain=False) == ["Path=/", "HttpOnly", "Secure"]


def test_it_stops_promptly_while_the_clock_stands_still() -> None:
    began = []

    def client(site: Served) -> None:
        key = logged_in(site)
        wait = Stub().request(
            vmodl.query.PropertyCollector("propertyCollector"),
            "WaitForUpdatesEx", "", vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=1700),
        )  # fmt: skip
        head = (
            f"POST /sdk HTTP/1.1\r\nHost: a\r\nCookie: vmware_soap_session={key}\r\n"
            f"Content-Length: {len(wait)}\r\n\r\n"
        ).encode()
        line = socket.create_connection(("127.0.0.1", site.endpoint.port), timeout=20)
        line.sendall(head + wait)
        until(lambda: site.center.changes.waiting == 1)
        site.loop.call_soon_threadsafe(site.loop.pause)  # type: ignore[attr-defined]
        began.append((time.monotonic(), line))

    served(client)
    start, line = began[0]
    line.close()
    assert time.monotonic() - start < 5
