"""The Ed25519 key that signs the checkpoints of the audit log."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from common.files import sync, write_atomically
from registry.audit import Record, canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class BadKey(ValueError):
    """A file is no Ed25519 key in PEM; the message names it."""


class AuditKey:
    """`audit.key` (mode 0600) and `audit.pub` in a folder, made at first use; any process may be the first.

    `audit-checkpoint.json` beside them is the last checkpoint that was stored; `log` in its name tells apart
    the logs that the key has signed.
    """

    def __init__(self, folder: Path, log: str = "") -> None:
        self._folder = folder
        self.public_path = folder / "audit.pub"
        self.checkpoint_path = folder / f"audit-checkpoint{log}.json"

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        path = self._folder / "audit.key"
        if not path.exists():
            _make(path)
        key = _read_private(path)
        if not self.public_path.exists():
            write_atomically(self.public_path, _public_pem(key))
        return key

    def prepare(self) -> None:
        """Make the key where there is none. Raises `BadKey`, `OSError`."""
        _ = self._private

    def sign(self, record: Record) -> Record:
        """The record with key and signature. Raises `BadKey`, `OSError`."""
        named = record.model_copy(update={"key": fingerprint(self._private.public_key())})
        signature = self._private.sign(named.signed_content()).hex()
        return named.model_copy(update={"signature": signature})

    def keep(self, checkpoint: Record) -> None:
        """Keep a stored checkpoint; the one kept before is replaced. Raises `OSError`."""
        write_atomically(self.checkpoint_path, canonical(checkpoint.model_dump()) + b"\n")

    def kept(self) -> Record | None:
        """The checkpoint that was kept last; None where there is none, or none that can be read."""
        try:
            return Record.model_validate_json(self.checkpoint_path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None


def _make(path: Path) -> None:
    """Make a key, unless another process is quicker: a file that was made is never replaced."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(handle)
        path.hardlink_to(draft)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def _read_private(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise BadKey(f"{path} is no private key in PEM: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path} holds a key of another kind than Ed25519")
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """A public key in PEM. Raises `BadKey`, `OSError`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{path} is no public key in PEM: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadKey(f"{path} holds a key of another kind than Ed25519")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """The first 32 hex digits of SHA-256 over the 32 bytes of a public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def is_signed(checkpoint: Record, keys: Mapping[str, Ed25519PublicKey]) -> bool:
    """Whether the signature of a checkpoint is that of the key that it names, one of `keys`."""
    from cryptography.exceptions import InvalidSignature

    key = keys.get(checkpoint.key or "")
    if key is None or checkpoint.signature is None:
        return False
    try:
        key.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed_content())
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
