"""Files of datastores over HTTP: whole, in ranges, listed, uploaded, and refused."""

from __future__ import annotations

import base64
import http.client
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from stuntdouble.vsphere import Setting
from stuntdouble.vsphere.folder import byte_range
from stuntdouble.vsphere.sessions import READ_ONLY, User
from vcenter import USER
from vsphere.serving import Reply, Served, disconnect, served
from vsphere.test_server import LOGIN, until

BASIC = "Basic " + base64.b64encode(f"{USER.name}:{USER.password}".encode()).decode()


class Files:
    """A client of the files of one datastore."""

    def __init__(self, site: Served, **headers: str) -> None:
        self.site = site
        self.headers = headers or {"Authorization": BASIC}
        self.store = next(iter(site.world.hypervisor.datastores))
        self.vm = next(iter(site.world.hypervisor.vms))

    def __call__(
        self, method: str, path: str, body: bytes = b"", query: str | None = None, **headers: str
    ) -> Reply:
        query = f"?dcPath=Datacenter&dsName={quote(self.store)}" if query is None else query
        return self.site.ask(method, f"/folder/{path}{query}", body, **self.headers, **headers)

    def power_off(self) -> None:
        """Let nobody write the VM's disks."""
        vm = self.site.world.hypervisor.vms[self.vm]
        model = self.site.world.hypervisor.power_off
        self.site.on_loop(lambda: self.site.world.env.process(model(vm)))
        until(lambda: not vm.powered_on)


def test_small_files_are_read_as_they_are() -> None:
    def client(site: Served) -> None:
        files = Files(site)
        for name in (f"{files.vm}.vmx", f"{files.vm}.vmdk", "vmware.log"):
            path = f"{files.vm}/{name}"
            reply = files("GET", path)
            text = site.on_loop(
                lambda path=path: site.world.hypervisor.admin.files(files.store).read_text(path)
            )
            assert reply.status == 200
            assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert text.startswith(reply.body.decode()[: len(text)])
            head = files("HEAD", path)
            assert (head.status, head.body) == (200, b"")
            assert int(head.headers["Content-Length"]) >= len(reply.body)
        part = files("GET", f"{files.vm}/{files.vm}.vmx", Range="bytes=5-9")
        whole = files("GET", f"{files.vm}/{files.vm}.vmx").body
        assert (part.status, part.body) == (206, whole[5:10])
        assert part.headers["Content-Range"] == f"bytes 5-9/{len(whole)}"

    served(client)


def test_the_extent_of_a_disk_is_the_site_s_bytes() -> None:
    def client(site: Served) -> None:
        files = Files(site)
        path = f"{files.vm}/{files.vm}-flat.vmdk"
        assert files("GET", path, Range="bytes=0-0").status == 423  # its VM runs
        hypervisor = site.world.hypervisor
        files.power_off()
        size = int(files("HEAD", path).headers["Content-Length"])

        def truth(start: int, stop: int) -> bytes:
            found = hypervisor.admin.files(files.store)
            return site.on_loop(lambda: found.read_bytes(path, start, stop - start))

        for start, stop in ((0, 1), (7, 5_000_001), (size - 3, size)):
            reply = files("GET", path, Range=f"bytes={start}-{stop - 1}")
            assert reply.status == 206
            assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
            assert reply.body == truth(start, stop)
        assert files("GET", path, Range="bytes=-3").body == truth(size - 3, size)
        beyond = files("GET", path, Range=f"bytes={size}-")
        assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")

    served(client, rate=1000.0)


def test_what_a_delta_holds_is_read_elsewhere_and_said_so() -> None:
    def client(site: Served) -> None:
        files, hypervisor = Files(site), site.world.hypervisor
        vm = hypervisor.vms[files.vm]
        site.on_loop(lambda: site.world.env.process(hypervisor.create_snapshot(vm, "one")))
        until(lambda: len(vm.snapshots) == 1 and not vm.running_task)
        [disk] = vm.disks.values()
        reply = files("GET", disk.file)
        assert (reply.status, b"read the disk" in reply.body) == (501, True)
        assert files("GET", f"{files.vm}/{files.vm}-000001.vmdk").status == 200

    served(client, rate=1000.0)


def test_a_client_that_leaves_a_download_leaves_nothing() -> None:
    def client(site: Served) -> None:
        files = Files(site)
        files.power_off()
        line = http.client.HTTPConnection("127.0.0.1", site.endpoint.port, timeout=20)
        path = f"/folder/{files.vm}/{files.vm}-flat.vmdk?dsName={quote(files.store)}"
        line.request("GET", path, headers=files.headers)
        assert line.getresponse().read(1000)
        line.close()
        assert files("GET", f"{files.vm}/vmware.log").status == 200

    served(client, rate=1000.0)


def test_what_there_is_is_listed() -> None:
    def client(site: Served) -> None:
        files = Files(site)
        top = files("GET", "", query="")
        assert f">{files.store}</a>".encode() in top.body
        stores = files("GET", "")
        assert f">{files.vm}/</a>".encode() in stores.body
        assert b"-flat.vmdk" not in stores.body
        folder = files("GET", files.vm)
        assert f">{files.vm}-flat.vmdk</a>".encode() in folder.body
        assert folder.headers["Content-Type"] == "text/html; charset=utf-8"
        assert files("HEAD", f"{files.vm}/").status == 200

    served(client)


def test_small_files_are_uploaded_replaced_and_deleted() -> None:
    def client(site: Served) -> None:
        files = Files(site)
        body = bytes(range(256)) * 5000
        assert files("PUT", "notes/a%20b.txt", body).status == 201
        assert files("GET", "notes/a%20b.txt").body == body
        assert files("GET", "notes/a%20b.txt", Range="bytes=1000000-").body == body[1_000_000:]
        assert files("PUT", "notes/a%20b.txt", b"").status == 200
        assert files("GET", "notes/a%20b.txt").body == b""
        assert files("GET", "notes/a%20b.txt", Range="bytes=0-").status == 416
        assert files("PUT", "notes", b"x").status == 409
        assert files("DELETE", "notes/a%20b.txt").status == 204
        assert files("GET", "notes/a%20b.txt").status == 404
        for path in (f"{files.vm}/{files.vm}.vmx", f"{files.vm}/{files.vm}-flat.vmdk"):
            assert files("PUT", path, b"x").status == 409
            assert files("DELETE", path).status == 409
        assert files("PUT", "big", bytes((4 << 20) + 1)).status == 413
        assert files("PUT", "part", b"x", Content_Range="bytes 0-0/2").status == 400

    served(client)


@pytest.mark.parametrize(("method", "path", "query", "status"), [
    ("GET", "x", "?dsName=nowhere", 404), ("GET", "x", "?dsName=ds&dcPath=elsewhere", 404),
    ("GET", "x", "", 404), ("GET", "nothing.iso", None, 404), ("POST", "x", None, 405),
    ("GET", "../secret", None, 400), ("GET", "a/%2e%2e/%2e%2e/etc/passwd", None, 400),
    ("GET", "./x", None, 400), ("GET", "a//b", None, 400), ("PUT", "a/%00", None, 400),
    ("PUT", "", None, 400), ("PUT", "x", "?dsName=", 404), ("DELETE", "", None, 404),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(
    method: str, path: str, query: str | None, status: int
) -> None:
    def client(site: Served) -> Reply:
        return Files(site)(method, path, query=query)

    assert served(client).status == status


def test_who_asks_is_known_by_cookie_or_password() -> None:
    def client(site: Served) -> None:
        key = site.call(*LOGIN).key
        assert Files(site, Cookie=f'vmware_soap_session="{key}"')("GET", "").status == 200
        wrong = base64.b64encode(f"{USER.name}:no".encode()).decode()
        for shown in (f"Basic {wrong}", "Basic ###", "Basic /////w==", "Bearer x", "Basic"):
            reply = Files(site, Authorization=shown)("GET", "")
            assert reply.status == 401
            assert reply.headers["WWW-Authenticate"].startswith("Basic ")
        assert site.ask("GET", "/folder").status == 401
        assert len(site.center.sessions.all) == 1

    served(client)


def test_a_ticket_is_good_for_one_request() -> None:
    def client(site: Served) -> None:
        si = site.connect()
        files = Files(site)
        url = f"https://vc/folder/{files.vm}/{files.vm}.vmx?dcPath=Datacenter&dsName={files.store}"
        spec = vim.SessionManager.HttpServiceRequestSpec(url=url, method="httpGet")

        def ticket() -> Files:
            found = si.content.sessionManager.AcquireGenericServiceTicket(spec)
            return Files(site, Cookie=f"vmware_cgi_ticket={found.id}")

        path = f"{files.vm}/{files.vm}.vmx"
        good = ticket()
        assert good("HEAD", path).status == 401
        assert good("GET", f"{files.vm}/vmware.log").status == 401
        assert good("GET", path).body == files("GET", path).body
        assert good("GET", path).status == 401
        late = ticket()
        spec.url = "https://[vc/x"
        with pytest.raises(vmodl.fault.InvalidArgument):
            ticket()
        any_service = vim.SessionManager.ServiceRequestSpec()
        with pytest.raises(vmodl.fault.NotSupported):
            si.content.sessionManager.AcquireGenericServiceTicket(any_service)
        disconnect(si)
        assert late("GET", path).status == 401

    served(client)


def test_who_may_only_read_the_inventory_reads_no_file() -> None:
    def client(site: Served) -> tuple[int, int]:
        files = Files(site)
        return files("GET", "").status, files("PUT", "x", b"").status

    reader = User(USER.name, USER.password, READ_ONLY)
    assert served(client, setting=Setting(users=(reader,))) == (403, 403)


@given(st.integers(0, 99), st.integers(0, 120), st.integers(0, 120))
def test_ranges_are_what_a_list_would_give(size: int, first: int, last: int) -> None:
    data = list(range(size))

    def cut(text: str) -> Any:
        try:
            found = byte_range(text, size)
        except ValueError:
            return []
        return data if found is None else data[found[0] : found[1]]

    assert cut(f"bytes={first}-") == data[first:]
    assert cut(f"bytes=-{first}") == (data[-first:] if first else [])
    assert cut(f"bytes={first}-{last}") == (data if last < first else data[first : last + 1])
    for other in ("", "bytes=", "bytes=-", "items=0-1", "bytes=0-1,3-4", "bytes=a-b", "bytes=-1-"):
        assert cut(other) == data
