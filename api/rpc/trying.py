"""Whether gRPC's library takes a certificate: it says so when a port is opened, and not at a renewal."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
