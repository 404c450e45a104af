"""Who calls, and what they may do: the scopes, and how the claims of a token name them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from common.text import plain

#: Characters of a name and of a subject in the audit log, whose actors have at most 200.
_NAME, _SUBJECT = 60, 130
#: Organisations of one caller that are counted.
_MOST_ORGANISATIONS = 8
#: The claims that name the organisation where no other is configured.
_ORGANISATION = ("org", "organization")


class Scope(StrEnum):
    """What a caller may be allowed to do."""

    PREDICT = "predict"
    DETECT = "detect"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    ADMIN = "admin"


#: What a scope includes beside itself.
_INCLUDED: Mapping[Scope, frozenset[Scope]] = {
    Scope.ADMIN: frozenset(Scope),
    Scope.MODELS_WRITE: frozenset({Scope.MODELS_READ}),
}
EVERYTHING = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. `actor` is what the audit log calls them, `subject` what their requests are counted by."""

    subject: str
    actor: str
    scopes: frozenset[Scope] = frozenset()
    organisations: tuple[str, ...] = ()

    def may(self, scopes: Collection[Scope]) -> bool:
        """Whether one of the scopes is the caller's; no caller needs one where there are none."""
        return not scopes or not self.scopes.isdisjoint(scopes)


#: All who send no token; their requests are counted together.
ANONYMOUS = Identity("anonymous", "anonymous")
#: Who sends the static admin token.
ADMINISTRATOR = Identity("admin", "admin", EVERYTHING)


def identity_of(claims: Mapping[str, Any], audience: str, organisation_claim: str | None = None) -> Identity:
    """The caller whom verified claims describe. Claims of another type than expected count as absent."""
    # An issuer may name a subject as it likes, also "admin": it must differ from the static token.
    subject, name = str(claims["sub"]), claims.get("preferred_username")
    shown = plain(subject, _SUBJECT)
    actor = f"{plain(name, _NAME)} ({shown})" if isinstance(name, str) and name else f"subject {shown}"
    return Identity(
        f"sub:{subject}", actor, scopes_of(claims, audience), _organisations(claims, organisation_claim)
    )


def scopes_of(claims: Mapping[str, Any], audience: str) -> frozenset[Scope]:
    """The scopes in `scope`, `scp`, and Keycloak's roles of the realm and of the client `audience`."""
    resources = _mapping(claims.get("resource_access"))
    roles = (_mapping(claims.get("realm_access")), _mapping(resources.get(audience)))
    named = {
        *_words(claims.get("scope")),
        *_words(claims.get("scp")),
        *(word for each in roles for word in _words(each.get("roles"))),
    }
    return with_included(scope for scope in Scope if scope in named)


def with_included(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """The scopes, and those that they include."""
    own = frozenset(scopes)
    return own.union(*(_INCLUDED.get(scope, frozenset()) for scope in own))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: object) -> Iterable[str]:
    """The words of a text, or of a list of texts."""
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _organisations(claims: Mapping[str, Any], claim: str | None) -> tuple[str, ...]:
    """The organisations in a claim: a text, a list, or, as Keycloak writes them, the keys of an object."""
    names = (claim,) if claim else _ORGANISATION
    value = next((claims[name] for name in names if claims.get(name)), None)
    if isinstance(value, str):
        return (value,)
    listed = [each for each in value if isinstance(each, str)] if isinstance(value, list | dict) else []
    return tuple(dict.fromkeys(listed))[:_MOST_ORGANISATIONS]
