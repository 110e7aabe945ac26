"""Where a served site is, and whether its certificate is the one that is meant."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from stuntdouble.errors import Misuse, TimedOut, Unreachable

PORTS: Final = {"https": 443, "http": 80}
_PATH: Final = "/sdk"
_CONNECT_SECONDS: Final = 30.0
"""Wall time for a TLS handshake.  Chosen: a minute is what people give up at."""

_DIGEST_DIGITS: Final = 64  # of SHA-256, in hexadecimal


@dataclass(frozen=True, slots=True)
class Target:
    """The vSphere endpoint of a served site, and who asks.

    ``fingerprint`` is the SHA-256 of its certificate, in lower case without colons, or empty.
    """

    scheme: str
    host: str
    port: int
    path: str
    user: str
    password: str = field(repr=False)
    fingerprint: str = ""
    insecure: bool = False

    @property
    def url(self) -> str:
        """The URL, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    async def check_certificate(self) -> None:
        """Make sure, before any password is sent, that the right server answers.

        Raises:
            Misuse: nobody here trusts its certificate, or it is not the one with the fingerprint,
                or no TLS is spoken.
            Unreachable: nobody answers.
        """
        if self.scheme == "http":
            return
        context = ssl.create_default_context()
        if self.insecure or self.fingerprint:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        found = await self._presented(context)
        digest = hashlib.sha256(found).hexdigest()
        if self.fingerprint and digest != self.fingerprint:
            text = f"its certificate's SHA-256 is {digest[:16]}..., not {self.fingerprint[:16]}..."
            raise Misuse(self.url, f"{text}: another server answers there, or --fingerprint is old")

    async def _presented(self, context: ssl.SSLContext) -> bytes:
        """Return the certificate that the server presents."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
        except ssl.SSLCertVerificationError as error:
            text = f"its certificate is not trusted ({error.verify_message.rstrip('.')})"
            what = "give its SHA-256 by --fingerprint, or --insecure to trust any"
            raise Misuse(self.url, f"{text}: {what}") from error
        except ssl.SSLError as error:
            text = f"no TLS is spoken there ({error.reason}): is it http://?"
            raise Misuse(self.url, text) from error
        except TimeoutError as error:
            raise TimedOut(f"the TLS handshake with {self.url}", _CONNECT_SECONDS) from error
        except OSError as error:
            raise Unreachable(self.url) from error
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()  # nothing was said, so there is nothing to be polite about
        return certificate


def target_of(
    url: str, *, user: str, password: str | None, fingerprint: str | None, insecure: bool
) -> Target:
    """Return what a URL and the options beside it say; credentials in the URL come first.

    Raises:
        Misuse: it makes no sense; says where, and what is allowed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Misuse("--hypervisor", f"{error}: use https://HOST:PORT/sdk") from None
    if parts.scheme not in PORTS or not parts.hostname or parts.query or parts.fragment:
        raise Misuse("--hypervisor", "no URL of a served site: use https://HOST:PORT/sdk")
    if fingerprint and insecure:
        raise Misuse("--fingerprint", "contradicts --insecure: give one of them")
    if parts.scheme == "http" and (fingerprint or insecure):
        option = "--fingerprint" if fingerprint else "--insecure"
        raise Misuse(option, "is about a certificate, and http:// has none")
    secret = unquote(parts.password) if parts.password is not None else password
    if secret is None:
        raise Misuse("--password", "is missing: give it, or set STUNTDOUBLE_PASSWORD")
    return Target(
        parts.scheme,
        parts.hostname,
        port or PORTS[parts.scheme],
        _PATH if parts.path in {"", "/"} else parts.path,
        unquote(parts.username) if parts.username else user,
        secret,
        digest_of(fingerprint, "--fingerprint"),
        insecure,
    )


def digest_of(text: str | None, option: str) -> str:
    """Return a fingerprint as ``hashlib`` writes it; empty for none."""
    plain = (text or "").replace(":", "").lower()
    if plain and not re.fullmatch(f"[0-9a-f]{{{_DIGEST_DIGITS}}}", plain):
        raise Misuse(option, "is no SHA-256: 64 hexadecimal digits, with colons or not")
    return plain
