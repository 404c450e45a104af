"""Certificates that are renewed while the port is open: their files are looked at, never by a handshake."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress

import grpc

from api.rpc.tls import BadCertificate, Pem, TlsFiles, held, read
from api.rpc.trying import taken

logger = logging.getLogger("bentoml.okawari.rpc")

#: Seconds between two looks at the files.
LOOK = 5.0


class Renewing:
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
