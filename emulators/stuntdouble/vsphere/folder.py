"""Files of datastores over HTTP: ``/folder/<path>?dcPath=<datacenter>&dsName=<datastore>``.

    GET      a file, whole or one range of it; a folder, as a page; without dsName, the datastores
    HEAD     the same without its body
    PUT      a small file: 201 where it is new, 200 where it replaces one
    DELETE   what somebody has uploaded, or a folder of it

Who asks shows the cookie of a session, a ticket for this request, or name and password (RFC 7617).  The bytes of an extent are
the site's, read in slices, and reading takes the time that the model says.

    400 no path   401 not logged in   403 not permitted   404 not there   409 a VM's file
    413 too large   416 no such range   423 a running VM writes it   501 not emulated   507 no room
"""

from __future__ import annotations

import base64
import binascii
import re
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from stuntdouble import errors
from stuntdouble.clock import perform
from stuntdouble.http import Response
from stuntdouble.hypervisor import UPLOAD_BYTES_MAX, FileKind
from stuntdouble.units import MIB
from stuntdouble.vsphere.answers import plain, session_of
from stuntdouble.vsphere.browser import BROWSE, MANAGE, files_of, require
from stuntdouble.vsphere.sessions import Session
from stuntdouble.vsphere.vmomi import vim, vmodl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stuntdouble.http import Request
    from stuntdouble.hypervisor import FileInfo
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.datastores import Datastore

__all__ = ["allowed", "byte_range", "datastore_files", "sliced"]

SLICE_BYTES: Final = MIB
"""What is rendered at a time: about a millisecond, and all that one download keeps in memory."""

_TICKET: Final = re.compile('vmware_cgi_ticket="?([0-9a-f]{1,64})"?(?:[;,\\s]|$)')
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (errors.NotFound, 404),
    (errors.FileLocked, 423),
    (errors.NoSpace, 507),
    (errors.LimitReached, 507),
    (errors.Unsupported, 501),
    (errors.Refused, 409),
    (errors.Misuse, 400),
    (errors.Lost, 503),
    (errors.Error, 500),
)
_TYPES: Final = {
    FileKind.CONFIG: "text/plain; charset=utf-8",
    FileKind.SNAPSHOTS: "text/plain; charset=utf-8",
    FileKind.LOG: "text/plain; charset=utf-8",
    FileKind.DESCRIPTOR: "text/plain; charset=utf-8",
}


async def datastore_files(center: VirtualCenter, request: Request) -> Response:
    """Answer a request for a file or a folder of a datastore."""
    session = allowed(center, request)
    if session is None:
        realm = ("WWW-Authenticate", 'Basic realm="vSphere", charset="UTF-8"')
        return plain(401, "log in", realm)
    try:
        with center.env.entered():
            return _Asked(center, request, session).answer()
    except vmodl.MethodFault as fault:
        return plain(403 if isinstance(fault, vim.fault.NoPermission) else 400, str(fault.msg))
    except errors.Error as error:
        status = next(code for kind, code in _STATUS if isinstance(error, kind))
        return plain(status, str(error))


def allowed(center: VirtualCenter, request: Request) -> Session | None:
    """Return the session of a cookie or ticket, or one of who shows name and password."""
    found = session_of(center, request) or _by_ticket(center, request)
    if found is not None:
        return found
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(shown.strip(), validate=True).decode().partition(":")
        user = center.sessions.user(name, password)
    except (binascii.Error, UnicodeDecodeError, vim.fault.InvalidLogin):
        return None
    return Session("", "", user)


def _by_ticket(center: VirtualCenter, request: Request) -> Session | None:
    """Return the session that took a ticket for this very request, which uses it up."""
    shown = _TICKET.search(request.headers.get("cookie", ""))
    session, method, path = center.passes.get(shown[1] if shown else "", (None, "", ""))
    if shown is None or session is None or (method, path) != (request.method, request.path):
        return None
    del center.passes[shown[1]]
    return session if session.user is not None else None


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """Return (first, past the last) of what a Range header asks of *size* bytes.

    None means all: there is no such header, or it asks for what a server need not know (RFC 9110,
    section 14.2).

    Raises:
        ValueError: none of it is there.
    """
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    if not found[1]:
        start, stop = max(size - int(found[2]), 0), size
    else:
        start = int(found[1])
        stop = min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= stop:
        raise ValueError(text)
    return start, stop


async def sliced(
    center: VirtualCenter, store: Datastore, path: str, start: int, stop: int
) -> AsyncIterator[bytes]:
    """Yield a range of a file, slice by slice."""
    while start < stop:
        end = min(stop, (start // SLICE_BYTES + 1) * SLICE_BYTES)
        with center.env.entered():
            reading = files_of(center, store).read(path, start, end - start)
        yield await perform(center.env, reading)
        start = end


class _Asked:
    """One request, by somebody who is logged in."""

    def __init__(self, center: VirtualCenter, request: Request, session: Session) -> None:
        self._center, self._request, self._session = center, request, session
        self._parameters = request.parameters()
        self._path = request.path.removeprefix("/folder").strip("/")

    def answer(self) -> Response:
        """Return what the request comes to."""
        method = self._request.method
        if any(part in {"", ".", ".."} for part in self._path.split("/")) and self._path:
            return plain(400, "a path goes down from its datastore, and nowhere else")
        if "dsName" not in self._parameters and method in {"GET", "HEAD"}:
            return self._datastores() if not self._path else plain(404, "dsName=<datastore> lacks")
        store = self._store()
        if method in {"GET", "HEAD"}:
            require(self._session, store, BROWSE)
            return self._read(store)
        if method in {"PUT", "DELETE"}:
            require(self._session, store, MANAGE)
            return self._put(store) if method == "PUT" else self._delete(store)
        return plain(405, f"{method} is not for files", ("Allow", "GET, HEAD, PUT, DELETE"))

    def _store(self) -> Datastore:
        """Return the datastore that the request names; NotFound where there is none."""
        center, name = self._center, self._parameters.get("dsName", "")
        place = self._parameters.get("dcPath", center.roots.datacenter.label())
        if place.strip("/") != center.roots.datacenter.label():
            raise errors.NotFound("datacenter", place)
        found = center.roots.datastore(name)
        if found is None:
            raise errors.NotFound("datastore", name)
        return found

    # Reading. --------------------------------------------------------------------------------

    def _read(self, store: Datastore) -> Response:
        files = files_of(self._center, store)
        if not self._path or self._path in files.folders():
            return self._folder(store)
        info = files.find(self._path)
        kind = ("Content-Type", _TYPES.get(info.kind, "application/octet-stream"))
        headers: tuple[tuple[str, str], ...] = (kind, ("Accept-Ranges", "bytes"))
        try:
            asked = byte_range(self._request.headers.get("range", ""), info.size_bytes)
        except ValueError:
            return plain(416, "no such range", ("Content-Range", f"bytes */{info.size_bytes}"))
        status, (start, stop) = (206, asked) if asked else (200, (0, info.size_bytes))
        if asked:
            headers += (("Content-Range", f"bytes {start}-{stop - 1}/{info.size_bytes}"),)
        files.read_bytes(self._path, start, min(1, stop - start))  # whether it can be read at all
        return self._bytes(store, info, (start, stop), status, headers)

    def _bytes(
        self,
        store: Datastore,
        info: FileInfo,
        asked: tuple[int, int],
        status: int,
        headers: tuple[tuple[str, str], ...],
    ) -> Response:
        start, stop = asked
        if info.kind is not FileKind.FLAT:
            files = files_of(self._center, store)
            return Response(status, files.read_bytes(info.path, start, stop - start), headers)
        pieces = sliced(self._center, store, info.path, start, stop)
        return Response(status, pieces, headers, stop - start)

    def _datastores(self) -> Response:
        names = [store.label() for store in self._center.roots.datastores()]
        return _page("Datastores", [(name, self._link("", name)) for name in names])

    def _folder(self, store: Datastore) -> Response:
        files, inside = files_of(self._center, store), f"{self._path}/" if self._path else ""
        rows = [f"{each}/" for each in files.folders()]
        rows += [info.path for info in files.list(self._path)]
        here = [
            (row[len(inside) :], self._link(row, store.label()))
            for row in rows
            if row.startswith(inside) and "/" not in row[len(inside) : -1] and row != inside
        ]
        return _page(f"[{store.label()}] {self._path}", here)

    def _link(self, path: str, store: str) -> str:
        named = {"dcPath": self._center.roots.datacenter.label(), "dsName": store}
        return f"/folder/{quote(path)}?{urlencode(named)}"

    # Writing. --------------------------------------------------------------------------------

    def _put(self, store: Datastore) -> Response:
        if self._request.headers.get("content-range"):
            return plain(400, "a file is uploaded whole")
        files, body = files_of(self._center, store), self._request.body
        if len(body) > UPLOAD_BYTES_MAX:
            return plain(413, f"an uploaded file has {UPLOAD_BYTES_MAX} bytes at most")
        there = any(f.path == self._path for f in files.list(self._path.partition("/")[0]))
        self._tell(store, body)
        files.put(self._path, body)
        return plain(200 if there else 201, "written")

    def _delete(self, store: Datastore) -> Response:
        self._tell(store, None)
        files_of(self._center, store).delete(self._path)
        return Response(204)

    def _tell(self, store: Datastore, data: bytes | None) -> None:
        if self._center.on_file is not None:
            self._center.on_file(store.store.name, self._path, data)


def _page(title: str, rows: list[tuple[str, str]]) -> Response:
    lines = "".join(f'<li><a href="{escape(to)}">{escape(name)}</a></li>\n' for name, to in rows)
    text = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escape(title)}</title></head><body>\n<h1>{escape(title)}</h1>\n"
        f"<ul>\n{lines}</ul>\n</body></html>\n"
    )
    return Response(200, text.encode(), (("Content-Type", "text/html; charset=utf-8"),))
