"""Templates of routes: bounded labels, whatever paths clients ask for."""

from __future__ import annotations

import re

OTHER = "other"
_HEALTH = ("/livez", "/readyz", "/health", "/healthz", "/metrics")
_PAGES = ("/", "/redoc", "/docs.json", "/schema.json")
_PROTOCOL = (
    "/v1/models",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models",
    "/v2/models/stats",
    "/v2/repository/index",
)
_FIXED = frozenset(
    {
        "/predict",
        "/predict/annotated",
        "/infer_json",
        "/models",
        "/api/v1/reload",
        "/api/v1/audit",
        "/api/v1/detect",
        "/api/v1/detect/batch",
        "/api/v1/health",
        "/api/v1/metrics",
        *_HEALTH,
        *_PAGES,
        *_PROTOCOL,
    }
)
_REGISTRY = (
    ("", ""),
    ("/[^/]+/history", "/{name}/history"),
    ("/[^/]+/rollback", "/{name}/rollback"),
    ("/[^/]+/aliases/[^/]+", "/{name}/aliases/{alias}"),
    ("/[^/]+/[^/]+", "/{name}/{version}"),
    ("/[^/]+/[^/]+/activate", "/{name}/{version}/activate"),
    ("/[^/]+/[^/]+/archive", "/{name}/{version}/archive"),
)
_ROUTES = (
    (re.compile(r"/v2/models/[^/]+"), "/v2/models/{name}"),
    (re.compile(r"/v2/models/[^/]+/versions/[^/]+"), "/v2/models/{name}/versions/{version}"),
    *(
        (re.compile(rf"/v2/models/[^/]+(/versions/[^/]+)?/{what}"), f"/v2/models/{{name}}/{what}")
        for what in ("infer", "ready", "config", "stats")
    ),
    (re.compile(r"/v1/models/[^/]+(/versions/[^/]+)?:predict"), "/v1/models/{name}:predict"),
    (re.compile(r"/v1/models/[^/]+(/versions/[^/]+)?"), "/v1/models/{name}"),
    (re.compile(r"/v2/repository/models/[^/]+/load"), "/v2/repository/models/{name}/load"),
    (re.compile(r"/v2/repository/models/[^/]+/unload"), "/v2/repository/models/{name}/unload"),
    (re.compile(r"/models/[^/]+"), "/models/{name}"),
    *(
        (re.compile(rf"/models/[^/]+/versions/[^/]+/{what}"), f"/models/{{name}}/versions/{{version}}/{what}")
        for what in ("gate", "comparison")
    ),
    *(
        (re.compile(rf"/models/[^/]+/{what}"), f"/models/{{name}}/{what}")
        for what in ("target", "canary", "load", "warmup")
    ),
    *(
        (re.compile(f"/api/v1/registry/models{path}"), f"/api/v1/registry/models{name}")
        for path, name in _REGISTRY
    ),
    (re.compile(r"/static_content/.*"), "/static_content"),
    (re.compile(r"/documentation/.*"), "/documentation"),
)


def route_of(path: str) -> str:
    """The route's template; with a version or without, an action of the protocol is one route."""
    if path in _FIXED:
        return path
    return next((name for pattern, name in _ROUTES if pattern.fullmatch(path)), OTHER)
