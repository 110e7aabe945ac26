"""An HTTP/1.1 server for hostile networks: requests to a handler, every limit with an answer.

It knows no wire above HTTP and no site below: who serves an interface gives it a coroutine that
turns a :class:`Request` into a :class:`Response`.
"""

from __future__ import annotations

from stuntdouble.http.certificate import self_signed
from stuntdouble.http.limits import Limits
from stuntdouble.http.messages import Handler, Request, Response
from stuntdouble.http.server import Server, serve

__all__ = ["Handler", "Limits", "Request", "Response", "Server", "self_signed", "serve"]
