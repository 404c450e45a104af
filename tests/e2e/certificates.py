"""Certificates made for a test by the openssl program: one authority, and who it vouches for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def read(self) -> tuple[bytes, bytes]:
        """Key and certificate, in the order that gRPC takes them."""
        return self.key.read_bytes(), self.certificate.read_bytes()


class Authority:
    """Signs certificates for 127.0.0.1 that are valid for a day."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.own = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"),
            *("-subj", f"/CN={name}", "-keyout", self.own.key, "-out", self.own.certificate),
        )

    def vouch(self, name: str) -> Pair:
        """A certificate for this name."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extra = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extra.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", pair.key, "-out", request),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.own.certificate, "-CAkey", self.own.key),
            *("-CAcreateserial", "-days", "1", "-extfile", extra, "-out", pair.certificate),
        )
        return pair

    def locked(self, key: Path) -> Path:
        """The same key with a password."""
        locked = key.with_suffix(".locked")
        _openssl("ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
        return locked


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
