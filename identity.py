"""Who calls, in one worker: bearer tokens of the identity provider, and the counts of quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.identity_provider import IdentityProvider
from api.access.quotas import Quotas
from settings import Settings
from workers.request_counts import RequestCounts
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    from api.access.bearer_tokens import BearerTokens


def bearer_tokens(settings: Settings) -> BearerTokens | None:
    """What checks bearer tokens; None where no issuer is set."""
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        return None
    from api.access.bearer_tokens import ALGORITHMS, BearerTokens, TokenRules
    from api.access.signing_keys import KeyTimes, SigningKeys

    provider = IdentityProvider(settings.oidc_issuer, settings.oidc_jwks_url)
    lifetime = settings.oidc_keys_lifetime
    times = KeyTimes(lifetime=lifetime, outage=max(lifetime, settings.oidc_keys_outage))
    rules = TokenRules(
        settings.oidc_issuer,
        settings.oidc_audience,
        settings.oidc_algorithms or ALGORITHMS,
        settings.oidc_leeway,
        settings.oidc_organisation_claim,
    )
    return BearerTokens(rules, SigningKeys(provider.keys, times))


def open_quotas(settings: Settings, run: RunFolder) -> Quotas | None:
    """The quotas, counted for all workers; None where there are none. Raises OSError."""
    chosen = (settings.quota_subject, settings.quota_organisation, settings.quota_device)
    if all(quota is None for quota in chosen):
        return None
    return Quotas(RequestCounts(run.path / "request-counts"), *chosen)
