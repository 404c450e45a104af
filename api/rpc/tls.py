"""The files of gRPC's TLS: what they hold, and whether that can be used."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

#: How often files that are written meanwhile are read anew.
_TRIES = 3


class BadCertificate(Exception):
    """The text says which file cannot be used, and why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With `client_ca` only clients whose certificate it signed are let in."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Pem:
    """What the files hold; `roots` are those of `client_ca`."""

    key: bytes = field(repr=False)
    chain: bytes
    roots: bytes | None


def held(files: TlsFiles) -> Pem:
    """What the files hold now, whatever that is; raises OSError."""
    roots = None if files.client_ca is None else files.client_ca.read_bytes()
    return Pem(files.key.read_bytes(), files.certificate.read_bytes(), roots)


def read(files: TlsFiles) -> Pem:
    """What the files hold now, and it can be used; raises `BadCertificate`."""
    for _ in range(_TRIES):
        check(files)
        try:
            found = held(files)
            check(files)
            if held(files) == found:
                return found
        except OSError as error:
            raise BadCertificate(f"{files.certificate} and its key: {_said(error)}") from None
    raise BadCertificate(f"{files.certificate} and its key: they are written again and again")


def check(files: TlsFiles) -> None:
    """Raise `BadCertificate` unless the files can be read and belong together; the library would not tell."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        _readable(files.certificate, files.key)
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise BadCertificate(f"{files.certificate} and {files.key}: {_said(error)}") from None
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except OSError as error:
            raise BadCertificate(f"{files.client_ca}: {_said(error)}") from None


def _readable(*files: Path) -> None:
    for file in files:
        file.open("rb").close()


def _no_password() -> str:
    """Asked for by a key that is encrypted; without this the terminal would be asked."""
    raise ValueError("the key has a password; give one without (HTTP also takes --ssl-keyfile-password)")


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"{error.reason or error}; PEM is wanted, and the key of the certificate"
    return getattr(error, "strerror", None) or str(error)
