"""SOAP by hand: what no client library would send, and what none shows of an answer."""

from __future__ import annotations

import http.client
import ssl
from typing import Self
from urllib.parse import urlsplit

ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "<soapenv:Body>{}</soapenv:Body></soapenv:Envelope>"
)
SECONDS_MAX = 30.0  # for an answer; a wait is a failure


class Wire:
    """A connection, and the session on it; closed at the end of a with block."""

    def __init__(self, site) -> None:
        self.site = site
        at = urlsplit(site.vsphere)
        self.path = at.path or "/sdk"
        if at.scheme == "https":
            trusting = ssl._create_unverified_context()
            self.connection = http.client.HTTPSConnection(
                at.hostname, at.port, timeout=SECONDS_MAX, context=trusting
            )
        else:
            self.connection = http.client.HTTPConnection(at.hostname, at.port, timeout=SECONDS_MAX)
        self.cookie = ""

    def post(self, body: str | bytes, action: str = '"urn:vim25/8.0.3.0"', **options):
        """Send a body; return status and text of the answer."""
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": action}
        if self.cookie:
            headers["Cookie"] = self.cookie
        if isinstance(body, str):
            body = body.encode()
        self.connection.request("POST", self.path, body, headers, **options)
        answer = self.connection.getresponse()
        if cookie := answer.getheader("Set-Cookie"):
            self.cookie = cookie.split(";")[0]
        return answer.status, answer.read().decode()

    def call(self, method: str, this: str, inside: str = "", **options):
        kind, moid = this.split(":", 1)
        return self.post(
            ENVELOPE.format(
                f'<{method} xmlns="urn:vim25"><_this type="{kind}">{moid}</_this>{inside}</{method}>'
            ),
            **options,
        )

    def __enter__(self) -> Self:
        return self.login()

    def __exit__(self, *_error) -> None:
        self.connection.close()

    def login(self) -> Self:
        status, text = self.call(
            "Login",
            "SessionManager:SessionManager",
            f"<userName>{self.site.user}</userName><password>{self.site.password}</password>",
        )
        assert status == 200, text
        return self

    def fetch(self, this: str, name: str, **options):
        return self.call("Fetch", this, f"<prop>{name}</prop>", **options)
