"""A certificate made at start, so that a client that insists on TLS has it."""

from __future__ import annotations

import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stuntdouble.errors import Misuse

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ModuleNotFoundError:
    raise Misuse(
        "stuntdouble.http", "cryptography is not installed: pip install 'stuntdouble[vsphere]'"
    ) from None

__all__ = ["self_signed"]

VALID_DAYS = 397
"""The longest that clients in the field accept: ballot SC31 of the CA/Browser Forum."""
SKEW_DAYS = 1
"""It is valid since a day ago, for clients whose clock is behind."""


def self_signed(hosts: Iterable[str]) -> tuple[ssl.SSLContext, bytes]:
    """Return how to encrypt with a key made now, and the certificate, in PEM, for clients to trust.

    Args:
        hosts: Names and addresses that the certificate is for.
    """
    now = datetime.now(UTC)  # noqa: TID251 -- clients hold it against the clock on the wall
    key = ec.generate_private_key(ec.SECP256R1())
    public = _certificate(key, list(hosts), now)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, public + private)
    return context, public


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Have a context take a certificate and its key, which OpenSSL reads from a file only.

    The file lies in memory where the system can; else it is readable by its owner alone, and gone
    as soon as it is read.
    """
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("certificate")
        with open(number, "wb") as file:  # noqa: PTH123 -- a descriptor has no path
            file.write(pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{number}")
        return
    number, name = tempfile.mkstemp()  # mode 0600
    try:
        with open(number, "wb") as file:  # noqa: PTH123 -- a descriptor
            file.write(pem)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()


def _certificate(key: ec.EllipticCurvePrivateKey, hosts: list[str], now: datetime) -> bytes:
    """Return a certificate for `hosts`, signed with its own key."""
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=SKEW_DAYS))
        .not_valid_after(now + timedelta(days=VALID_DAYS - SKEW_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)
