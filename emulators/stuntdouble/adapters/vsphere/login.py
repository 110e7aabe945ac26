"""Logging in to a server by its address, and what it says of itself."""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl
from pyVmomi.Security import ThumbprintMismatchException

from stuntdouble.errors import AccessDenied, Misuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.adapters.vsphere.connection import Connection

ANSWER_SECONDS: Final = 60
"""Wall time that a server may be silent for: longer than it is asked to wait for news of a task."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, who logs in, and which certificate it has to have.

    Args:
        host: name or address.
        port: of the SOAP endpoint.
        user: who logs in.
        password: of the user.
        path: of the SOAP endpoint.
        encrypted: whether it speaks TLS.
        fingerprint: SHA-256 of its certificate in hexadecimal; then nothing else is looked at.
        insecure: whether any certificate will do.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    path: str = "/sdk"
    encrypted: bool = True
    fingerprint: str = ""
    insecure: bool = False

    def opener(self) -> Callable[[], Any]:
        """Return what ``Connection`` takes: it logs in, and blocks."""
        return partial(_open, self)


def _open(server: Server) -> Any:
    """Return a service instance, logged in.

    Raises:
        AccessDenied: the certificate is another one than the one that is trusted.
        Misuse: something else than such a server answers.
    """
    where = f"{server.host}:{server.port}"
    try:
        return SmartConnect(
            protocol="https" if server.encrypted else "http",
            host=server.host,
            port=server.port,
            user=server.user,
            pwd=server.password,
            path=server.path,
            thumbprint=server.fingerprint or None,
            disableSslCertValidation=server.insecure or bool(server.fingerprint),
            httpConnectionTimeout=ANSWER_SECONDS,
        )
    except (vmodl.MethodFault, OSError, http.client.HTTPException):
        raise
    except ThumbprintMismatchException as error:
        raise AccessDenied("a server with another certificate", where) from error
    except Exception as error:  # pyVmomi has no type of its own for what is no such server
        raise Misuse(where, f"is no vSphere server: {error}") from error


async def options(connection: Connection, node: str) -> dict[str, str]:
    """Return the server's options below *node*, which ends with a point; none where it has none."""

    def ask(content: Any) -> dict[str, str]:
        if content.setting is None:
            return {}
        try:
            found = content.setting.QueryOptions(node)
        except vim.fault.InvalidName:
            return {}
        return {each.key: str(each.value) for each in found}

    return await connection.read(ask, "the server's options", "read them")
