"""An identity provider on loopback: discovery and keys over HTTP, tokens signed with keys of the test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "okawari"
SUBJECT = "3f2c"


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key of that name; made once in a process, as it takes long."""
    return rsa.generate_private_key(65537, bits)


class IdentityServer:
    """The provider. `keys` are those that it publishes, by name; change them as you like.

    `asked` has the paths that were asked for. While `away` it hangs up without an answer; to
    `redirect` it sends everybody who asks. `text` is answered in the place of any document.
    """

    def __init__(self, port: int = 0) -> None:
        self.keys: dict[str, Any] = {}
        self.asked: list[str] = []
        self.away = False
        self.redirect: str | None = None
        self.text: bytes | None = None
        self.discovery: dict[str, Any] = {}
        self.raw_keys: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.issuer = f"http://127.0.0.1:{self.port}/realms/cameras"
        self.jwks_url = f"http://127.0.0.1:{self.port}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def start(self) -> IdentityServer:
        """Answer from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def token(self, name: str = "one", algorithm: str | None = None, **claims: Any) -> str:
        """A token signed with a key, published or not; claims that are None are left out."""
        return self.signed(self.keys[name], algorithm, {"kid": name}, **claims)

    def signed(
        self, key: Any, algorithm: str | None = None, headers: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """The same with any key."""
        now = int(time.time())
        usual = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": now,
            "exp": now + 300,
        }
        content = {name: value for name, value in (usual | claims).items() if value is not None}
        return jwt.encode(content, key, algorithm or _algorithm(key), headers=headers)

    def documents(self) -> dict[str, dict[str, Any]]:
        """What it answers, by path."""
        found = {"issuer": self.issuer, "jwks_uri": self.jwks_url} | self.discovery
        keys = [_public(key) | {"kid": name, "use": "sig"} for name, key in self.keys.items()]
        return {
            "/realms/cameras/.well-known/openid-configuration": found,
            "/keys": {"keys": [*keys, *self.raw_keys]},
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.asked.append(self.path)
                if served.away:
                    self.close_connection = True
                    return
                if served.redirect is not None:
                    self.send_response(302)
                    self.send_header("Location", served.redirect)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                document = served.documents().get(self.path)
                body = json.dumps(document).encode() if served.text is None else served.text
                self.send_response(404 if document is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def identity_server(*names: str) -> Iterator[IdentityServer]:
    """A provider with an EC key of each name, `one` if none is given."""
    server = IdentityServer().start()
    try:
        for name in names or ("one",):
            server.keys[name] = ec.generate_private_key(ec.SECP256R1())
        yield server
    finally:
        server.stop()


def public_pem(key: Any) -> bytes:
    """The public key as a file has it: what an attacker knows."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _algorithm(key: Any) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    return "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey) else "ES256"


def _public(key: Any) -> dict[str, Any]:
    kinds = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    kind: Any = kinds[_algorithm(key)]
    found: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return found
