"""gRPC's certificate: what its files hold, whether it can be used, its renewal while the port is open."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

logger = logging.getLogger("bentoml.okawari.rpc")


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


def read(files: TlsFiles) -> Pem:
    """What the files hold now, usable or not; raises `BadCertificate` where they cannot be read."""
    try:
        roots = None if files.client_ca is None else files.client_ca.read_bytes()
        return Pem(files.key.read_bytes(), files.certificate.read_bytes(), roots)
    except OSError as error:
        raise BadCertificate(f"{error.filename}: {_said(error)}") from None


def check(files: TlsFiles) -> None:
    """Raise `BadCertificate` unless the files can be read and belong together; the library is silent."""
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


class CertificateRenewal:
    """The certificate of a port, and its successors.

    What the files hold takes the place of what is served when it is new and OpenSSL can use it; else the old
    stays, and the log says why. Of files that change while they are read the library may get two that do not
    belong together: then it keeps the old, too, and the next look reads them again. Connections that live
    keep what they began with. Raises `BadCertificate` when made.
    """

    def __init__(self, files: TlsFiles) -> None:
        check(files)
        self._files = files
        self._served = read(files)
        self._refused: str | None = None
        #: The newest that no handshake has taken. One thread puts it there, another takes it: each at once.
        self._next: deque[grpc.ServerCertificateConfiguration] = deque(maxlen=1)

    def credentials(self) -> grpc.ServerCredentials:
        """What one port is opened with."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._served),
            self._take,
            require_client_authentication=self._files.client_ca is not None,
        )

    def _take(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by the library before each handshake, in a thread of its own; None: as before."""
        with suppress(IndexError):
            return self._next.popleft()
        return None

    async def go_on(self, seconds: float) -> None:
        """Look every `seconds`, until it is cancelled; in a thread, since a file may lie on a slow disk."""
        while True:
            await asyncio.sleep(seconds)
            with suppress(RuntimeError):  # no thread could be had: at the next look
                await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Renew what is served where the files have changed; what is wrong with them is logged once."""
        try:
            found = read(self._files)
            if found != self._served:
                check(self._files)
                self._renew(found)
            self._refused = None
        except BadCertificate as error:
            if str(error) != self._refused:
                self._refused = str(error)
                logger.error("gRPC goes on with the certificate that it has: %s", error)

    def _renew(self, found: Pem) -> None:
        self._served = found
        self._next.append(_configuration(found))
        logger.info("gRPC: who connects from now on gets the new certificate of %s", self._files.certificate)


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], pem.roots)
