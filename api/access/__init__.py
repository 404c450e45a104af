"""Who may call what: identities, scopes, bearer tokens, quotas; one decision for HTTP and one for gRPC."""
