"""Bearer tokens of an identity provider: signed JSON Web Tokens (RFC 7519, RFC 9068), checked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from api.access.identity import Identity, identity_of
from api.access.signing_keys import SigningKeys
from api.errors import InvalidToken

#: Accepted where nothing else is set. Only those of public keys: who may check a token may not make one.
ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")
#: Bytes of the longest token; those of providers have some thousand.
LONGEST = 16_384
_REQUIRED = ("exp", "iat", "iss", "aud", "sub")
#: The most special first. No message repeats anything of the token.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired; get a new one"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAudienceError, "the token is meant for another audience"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
    (jwt.MissingRequiredClaimError, "the token lacks one of the claims exp, iat, iss, aud and sub"),
    (jwt.InvalidSignatureError, "the signature of the token is wrong"),
)
#: What the library raises for a token that is none; the last two for JSON that is too deep, or too large.
_BAD = (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError)
_MALFORMED = "the token is not a signed JSON Web Token that is accepted here"


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens are accepted. `leeway` is the tolerance for clocks, in seconds."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway: float = 30.0
    organisation_claim: str | None = None


class BearerTokens:
    """Says whose a token is. Nothing that a token says is looked up anywhere but in our own keys."""

    def __init__(self, rules: TokenRules, keys: SigningKeys) -> None:
        self._rules = rules
        self._keys = keys

    async def identity(self, token: str) -> Identity:
        """The caller. Raises `InvalidToken`, and `IdentityProviderUnavailable` where no key is at hand."""
        name, algorithm = self._header(token)
        key = await self._keys.find(name, algorithm)
        claims = self._claims(token, key, algorithm)
        return identity_of(claims, self._rules.audience, self._rules.organisation_claim)

    def _header(self, token: str) -> tuple[str | None, str]:
        """The name of the key, and the algorithm, which is one of the accepted ones."""
        if len(token) > LONGEST:
            raise InvalidToken(f"the token has more than {LONGEST} bytes")
        try:
            header = jwt.get_unverified_header(token)
        except _BAD:
            raise InvalidToken(_MALFORMED) from None
        if header.get("alg") not in self._rules.algorithms:
            raise InvalidToken(f"the token must be signed with {_either(self._rules.algorithms)}")
        name = header.get("kid")
        return name if isinstance(name, str) else None, header["alg"]

    def _claims(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
        rules = self._rules
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.leeway,
                options={"require": list(_REQUIRED)},
            )
        except _BAD as error:
            raise InvalidToken(_reason(error)) from None
        return claims


def _reason(error: Exception) -> str:
    return next((text for kind, text in _REASONS if isinstance(error, kind)), _MALFORMED)


def _either(words: tuple[str, ...]) -> str:
    return " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
