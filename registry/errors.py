"""What can go wrong in the model registry, in the family of `hotswap.errors`.

ServingError
├── BadRequest
│   └── InvalidEntry          a field of an entry or of a change is wrong
├── VersionNotFound
│   └── AliasNotFound         the model has no such alias
├── Conflict
│   └── AlreadyRegistered     the version is registered
└── StateUnavailable
    └── RegistryUnavailable   the registry cannot be read or written
        ├── RegistryDamaged   the registry file holds what it must not
        └── BadRegistryUrl    the URL names no database that a registry may be in
"""

from __future__ import annotations

from hotswap.errors import BadRequest, Conflict, StateUnavailable, VersionNotFound


class InvalidEntry(BadRequest):
    """A field of an entry or of a change is wrong; the message names it, the value and what is allowed."""


class AliasNotFound(VersionNotFound):
    """The model is registered and has no such alias."""

    code = "alias_not_found"


class AlreadyRegistered(Conflict):
    """The version is registered already; nothing was changed."""


class RegistryUnavailable(StateUnavailable):
    """The registry cannot be read or written; what serves goes on."""

    code = "registry_unavailable"
    transient = True


class RegistryDamaged(RegistryUnavailable):
    """The registry file was edited and is wrong; the message names line and reason."""


class BadRegistryUrl(RegistryUnavailable):
    """The URL names no database that a registry may be in; the message does not show it."""

    transient = False
