"""Whom to believe that it is the array: an authority, one certificate, or anybody."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import ssl
from typing import Final
from urllib.parse import urlsplit

from stuntdouble.errors import AccessDenied, Misuse, Unreachable

_HTTPS_PORT: Final = 443


def normal_fingerprint(text: str) -> str:
    """Return the SHA-256 of a certificate as 64 hex digits; Misuse for what is none."""
    digits = text.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise Misuse("fingerprint", f"{text!r} is no SHA-256 in hexadecimal, 64 digits")
    return digits


async def pinned(url: str, fingerprint: str, seconds: float) -> ssl.SSLContext:
    """Return what makes connections to the owner of one certificate, and to nobody else.

    The certificate is asked for once, compared, and is the only authority from then on; its names
    and its age are not looked at.

    Raises:
        AccessDenied: the certificate is another.
        Unreachable: nobody answers.
    """
    parts = urlsplit(url)
    place = (parts.hostname or "", parts.port or _HTTPS_PORT)
    try:
        pem = await asyncio.to_thread(ssl.get_server_certificate, place, timeout=seconds)
    except OSError as error:
        raise Unreachable(f"the array at {url}") from error
    found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    if not hmac.compare_digest(found, normal_fingerprint(fingerprint)):
        raise AccessDenied(f"certificate {found}", f"what trusts {fingerprint} alone")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context
