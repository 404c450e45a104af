"""Whether gRPC's library takes a certificate: it says so when a port is opened, and not at a renewal."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

_ANY = "127.0.0.1:0"


def taken(configuration: grpc.ServerCertificateConfiguration) -> bool:
    """Open a port of loopback with it for a moment, on which nobody is answered; takes some milliseconds.

    Where no such port can be opened with anything, that is not its fault: True.
    """
    return _opens(grpc.dynamic_ssl_server_credentials(configuration, lambda: None)) or not _opens(None)


def _opens(secret: grpc.ServerCredentials | None) -> bool:
    with ThreadPoolExecutor(1) as nobody:
        trial = grpc.server(nobody)
        try:
            port = trial.add_secure_port(_ANY, secret) if secret else trial.add_insecure_port(_ANY)
            return int(port) != 0
        except RuntimeError:
            return False
        finally:
            trial.start()
            trial.stop(None).wait()


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


logger = logging.getLogger("bentoml.okawari.rpc")

#: Seconds between two looks at the files.
LOOK = 5.0


class CertificateRenewal:
    """The certificate of a port, and its successors.

    What the files hold takes the place of what is served when two looks have found the same, so that files
    which are written one after the other are not tried half way; what cannot be used leaves the old in its
    place, and is tried again at each look. Connections that live keep what they began with. Raises
    `BadCertificate` when made.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._untaken: Pem | None = None
        self._served = read(files)
        self._check_taken(self._served)
        self._seen: Pem | str = self._served
        self._refused: Pem | str | None = None
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

    async def go_on(self) -> None:
        """Look again and again, until it is cancelled; in a thread, since a file may lie on a slow disk."""
        while True:
            await asyncio.sleep(LOOK)
            with suppress(RuntimeError):  # no thread could be had: at the next look
                await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Look at the files once; whatever is wrong is logged, once, and changes nothing."""
        found = _found(self._files)
        before, self._seen = self._seen, found
        if found == self._served:
            self._refused = None
        elif found == before:
            self._renew(found)

    def _renew(self, found: Pem | str) -> None:
        try:
            usable = read(self._files)
            self._check_taken(usable)
        except BadCertificate as error:
            # What has changed is written now, and the next looks will tell.
            if found != self._refused and _found(self._files) == found:
                self._refused = found
                logger.error("gRPC goes on with the certificate that it has: %s", error)
            return
        self._served, self._refused = usable, None
        self._next.append(_configuration(usable))
        logger.info("gRPC: who connects from now on gets the new certificate of %s", self._files.certificate)

    def _check_taken(self, found: Pem) -> None:
        """Raise `BadCertificate` where OpenSSL can use it and the library cannot, which is asked once."""
        if found != self._untaken:
            if taken(_configuration(found)):
                return
            self._untaken = found
        raise BadCertificate(
            f"{self._files.certificate} and what belongs to it: OpenSSL can use it, gRPC's library not; "
            "it takes PEM without a byte order mark, and keys of RSA, P-256 or P-384"
        )


def _found(files: TlsFiles) -> Pem | str:
    """What the files hold; a text where they cannot be read."""
    try:
        return held(files)
    except OSError as error:
        return str(error)


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], pem.roots)
