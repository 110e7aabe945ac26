"""Who may ask: the user by password, or by a token that the password was exchanged for."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass, field

from fastapi import Request
from starlette.exceptions import HTTPException


@dataclass(frozen=True)
class Access:
    """The one user there is."""

    user: str
    password: str = field(repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def check(self, header: str) -> bool:
        """Tell whether an Authorization header is right, in a time that tells nothing."""
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(value.strip().encode(), self.token.encode())
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, f"{self.user}:{self.password}".encode())

    def required(self, request: Request) -> None:
        """Refuse a request that does not say who asks; HTTPException 401."""
        if not self.check(request.headers.get("authorization", "")):
            raise HTTPException(
                401,
                "user and password, or the token, are missing or wrong",
                {"WWW-Authenticate": 'Basic realm="stuntdouble", charset="UTF-8"'},
            )
