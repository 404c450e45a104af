"""Signatures of versions: bundles of OpenSSF model-signing by elliptic-curve keys, checked without a network.

A bundle names each file of a version with its sha256 and is signed as a whole
(https://github.com/sigstore/model-transparency, `model_signing`, extra `okawari[signing]`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap.errors import BadRequest, StateUnavailable
from hotswap.gate import Result, Verdict
from hotswap.repository import Artifact

if TYPE_CHECKING:
    from model_signing import hashing

#: The bundle that a version brings in its folder. Not signed itself, nor is what BentoML writes beside it.
BUNDLE = "model.sig"
_UNSIGNED = (BUNDLE, "model.yaml")
_MISSING = "model-signing is not installed: install okawari[signing]"


#: What the library says of files, in our words.
_MISMATCHES = (
    ("changed", r"Hash mismatch for '([^']+)'"),
    ("not signed", r"Extra files found in model '[^']*': ([^\"]+)"),
    ("missing", r"Missing files in model '[^']*': ([^\"]+)"),
)


class SignatureFiles:
    """`<home>/state/signatures`: bundles that were made for versions of the store, by digest."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "state" / "signatures"

    def path(self, digest: str) -> Path:
        """Where the bundle of these files lies, or is to lie."""
        return self._folder / f"{digest.rpartition(':')[2]}.sig"

    def bundles(self, artifact: Artifact) -> Iterator[Path]:
        """The bundles of a version: its own, and the one that was made for it here."""
        yield from filter(Path.exists, (artifact.path / BUNDLE, self.path(artifact.digest)))


def sign(folder: Path, key: Path, bundle: Path) -> None:
    """Sign the files of a version and write the bundle. The key is in PEM, without a password.

    Raises `BadRequest` for a key that cannot be used, `StateUnavailable` without the library, `OSError`.
    """
    try:
        from model_signing import signing
    except ImportError:
        raise StateUnavailable(_MISSING) from None
    config = signing.Config().set_hashing_config(_hashed())  # type: ignore[no-untyped-call]
    try:
        config.use_elliptic_key_signer(private_key=key)
    except (ValueError, TypeError) as error:
        raise BadRequest(f"{key}: no private key of NIST P-256, P-384 or P-521 in PEM: {error}") from None
    bundle.parent.mkdir(parents=True, exist_ok=True)
    draft = bundle.with_name(f".{bundle.name}.draft")
    config.sign(folder, draft)
    draft.replace(bundle)


def _hashed() -> hashing.Config:
    from model_signing import hashing

    config = hashing.Config()  # type: ignore[no-untyped-call]
    return config.set_ignored_paths(paths=_UNSIGNED, ignore_git_paths=True)


class SignatureRequirement:
    """Whether one of the required keys has signed a version. Implements `hotswap.gate.Requirement`."""

    name = "signature"

    def __init__(self, keys: Sequence[Path], files: SignatureFiles) -> None:
        """`keys` are files of public keys in PEM."""
        self._keys = keys
        self._files = files
        self._passed: dict[str, Verdict] = {}

    def judge(self, artifact: Artifact) -> Verdict:
        """See `Requirement.judge`. What has passed is not hashed again in this process."""
        verdict = self._passed.get(artifact.digest) or self._judge(artifact)
        if verdict.result is Result.PASS:
            self._passed[artifact.digest] = verdict
        return verdict

    def _judge(self, artifact: Artifact) -> Verdict:
        bundles = list(self._files.bundles(artifact))
        if not bundles:
            return Verdict(
                Result.FAIL,
                f"it is not signed: there is no {BUNDLE} in it; okawari sign {artifact.tag.name} …",
            )
        reasons: list[str] = []
        for bundle in bundles:
            for key in self._keys:
                reason = _refusal(artifact.path, bundle, key)
                if reason is None:
                    return Verdict(Result.PASS, f"signed with the key of {key.name}")
                reasons.append(reason)
        # That the files are others says more than that a key is another one.
        reason = min(reasons, key=lambda each: each.startswith("it is signed with another key"))
        return Verdict(Result.FAIL, reason)


def _refusal(folder: Path, bundle: Path, key: Path) -> str | None:
    """Why a bundle does not say that the key has signed these files; None if it does."""
    try:
        from model_signing import verifying
    except ImportError:
        return _MISSING
    try:
        config = verifying.Config()  # type: ignore[no-untyped-call]
        config.use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError, TypeError) as error:
        return f"the key {key} cannot be used: {error}"
    config.set_hashing_config(_hashed())
    try:
        config.verify(folder, bundle)
    except Exception as error:  # noqa: BLE001 - whatever a foreign bundle raises, it proves nothing
        return _explained(error, key)
    return None


def _explained(error: Exception, key: Path) -> str:
    text = str(error).strip()
    if text.startswith("Signature mismatch"):
        said = [
            f"{names} {what}"
            for what, pattern in _MISMATCHES
            if (names := ", ".join(re.findall(pattern, text)))
        ]
        return f"its files are not those that were signed: {'; '.join(said)[:300]}"
    if text.startswith("Key mismatch"):
        return f"it is signed with another key than {key.name}"
    return f"its signature is wrong: {type(error).__name__} {text[:200]}".rstrip()
