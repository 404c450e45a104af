"""What each route and each method needs of its caller: two tables, complete by a test over all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from api.access.identity import Scope
from api.kserve_v1 import not_supported as v1_not_supported
from api.open_inference import not_supported
from telemetry.routes import route_of

#: Paths up to this length are remembered with what they need.
_LONGEST_KNOWN = 256


class Need(Enum):
    """What a call needs. `scopes`: one of them; `always`: also where models are open."""

    OPEN = ((), False)
    PREDICT = ((Scope.PREDICT,), False)
    DETECT = ((Scope.DETECT,), False)
    #: What clients of the inference protocols ask before they send a picture.
    METADATA = ((Scope.PREDICT, Scope.MODELS_READ), False)
    READ = ((Scope.MODELS_READ,), False)
    WRITE = ((Scope.MODELS_WRITE,), True)
    AUDIT = ((Scope.ADMIN,), True)

    def __init__(self, scopes: tuple[Scope, ...], always: bool) -> None:
        self.scopes = scopes
        self.always = always


_GET_OPEN, _POST_PREDICT = {"GET": Need.OPEN}, {"POST": Need.PREDICT}
_REGISTRY = "/api/v1/registry/models"
#: Template of a route, as `telemetry.routes` has it → method → what it needs. HEAD is as GET.
HTTP: Mapping[str, Mapping[str, Need]] = {
    **dict.fromkeys(("/livez", "/readyz", "/health", "/healthz", "/metrics"), _GET_OPEN),
    **dict.fromkeys(("/", "/redoc", "/docs.json", "/schema.json"), _GET_OPEN),
    **dict.fromkeys(("/static_content", "/documentation"), _GET_OPEN),
    **dict.fromkeys(("/predict", "/predict/annotated", "/infer_json"), _POST_PREDICT),
    "/models": {"GET": Need.READ},
    "/models/{name}": {"GET": Need.READ, "DELETE": Need.WRITE},
    "/models/{name}/target": {"PUT": Need.WRITE},
    "/models/{name}/canary": {"PUT": Need.WRITE, "DELETE": Need.WRITE},
    "/models/{name}/load": {"POST": Need.WRITE},
    "/models/{name}/warmup": {"POST": Need.WRITE},
    "/models/{name}/versions/{version}/gate": {"GET": Need.READ, "POST": Need.WRITE},
    "/models/{name}/versions/{version}/comparison": {"GET": Need.READ},
    "/api/v1/reload": {"POST": Need.WRITE},
    "/api/v1/audit": {"GET": Need.AUDIT},
    "/api/v1/detect": {"POST": Need.DETECT},
    "/api/v1/detect/batch": {"POST": Need.DETECT},
    "/api/v1/health": _GET_OPEN,
    "/api/v1/metrics": _GET_OPEN,
    _REGISTRY: {"GET": Need.READ, "POST": Need.WRITE},
    f"{_REGISTRY}/{{name}}/history": {"GET": Need.READ},
    f"{_REGISTRY}/{{name}}/rollback": {"POST": Need.WRITE},
    f"{_REGISTRY}/{{name}}/aliases/{{alias}}": {"PUT": Need.WRITE, "DELETE": Need.WRITE},
    f"{_REGISTRY}/{{name}}/{{version}}": {"GET": Need.READ, "PATCH": Need.WRITE},
    f"{_REGISTRY}/{{name}}/{{version}}/activate": {"PUT": Need.WRITE},
    f"{_REGISTRY}/{{name}}/{{version}}/archive": {"PUT": Need.WRITE},
    **dict.fromkeys(("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"), _GET_OPEN),
    "/v2/models": {"GET": Need.METADATA},
    "/v2/models/stats": {"GET": Need.METADATA},
    "/v2/models/{name}": {"GET": Need.METADATA},
    "/v2/models/{name}/versions/{version}": {"GET": Need.METADATA},
    "/v2/models/{name}/config": {"GET": Need.METADATA},
    "/v2/models/{name}/stats": {"GET": Need.METADATA},
    "/v2/models/{name}/infer": {"POST": Need.PREDICT},
    "/v2/repository/index": {"POST": Need.READ},
    "/v2/repository/models/{name}/load": {"POST": Need.WRITE},
    "/v2/repository/models/{name}/unload": {"POST": Need.WRITE},
    "/v1/models": {"GET": Need.METADATA},
    "/v1/models/{name}": {"GET": Need.METADATA},
    "/v1/models/{name}:predict": {"POST": Need.PREDICT},
}

#: Routes that refuse every call and say why.
_REFUSING = tuple(
    re.compile(pattern)
    for pattern in (*not_supported.PATHS, *v1_not_supported.PATHS, *v1_not_supported.LABELS)
)
_ANY_OPEN = dict.fromkeys(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"), Need.OPEN)

_OIP, _HEALTH = "/inference.GRPCInferenceService", "/grpc.health.v1.Health"
_PREDICTOR = "/okawari.v1.Predictor"
#: Full name of a method → what it needs.
GRPC: Mapping[str, Need] = {
    f"{_HEALTH}/Check": Need.OPEN,
    f"{_HEALTH}/Watch": Need.OPEN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Need.OPEN,
    **{f"{_OIP}/{name}": Need.OPEN for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata")},
    # They refuse every call.
    **{f"{_OIP}/{name}": Need.OPEN for name in not_supported.METHODS},
    **{f"{_OIP}/{name}": Need.METADATA for name in ("ModelMetadata", "ModelConfig", "ModelStatistics")},
    f"{_OIP}/RepositoryIndex": Need.READ,
    f"{_OIP}/RepositoryModelLoad": Need.WRITE,
    f"{_OIP}/RepositoryModelUnload": Need.WRITE,
    f"{_OIP}/ModelInfer": Need.PREDICT,
    f"{_OIP}/ModelStreamInfer": Need.PREDICT,
    f"{_PREDICTOR}/Predict": Need.PREDICT,
    f"{_PREDICTOR}/PredictStream": Need.PREDICT,
    f"{_PREDICTOR}/ListModels": Need.READ,
    **{
        f"/{service}/{name}": Need.PREDICT
        for service in ("modelmora.v1.ModelInference", "ModelInference")
        for name in ("GenerateEmbedding", "GenerateBatch", "GenerateEmbeddingStream")
    },
}


def methods_of(path: str) -> Mapping[str, Need]:
    """What a path needs, by method; nothing for a path that no route has.

    A path that only resembles one of a route, such as one with a line feed at its end, is none of them,
    whatever a framework takes it for.
    """
    return _known_methods(path) if len(path) <= _LONGEST_KNOWN else _methods(path)


def http_need(method: str, path: str) -> Need | None:
    """What a request needs; None where no route takes it."""
    return methods_of(path).get("GET" if method == "HEAD" else method)


def grpc_need(method: str) -> Need:
    """What a call needs. A method without an entry needs what the audit log does."""
    return GRPC.get(method, Need.AUDIT)


def _methods(path: str) -> Mapping[str, Need]:
    if any(pattern.fullmatch(path) for pattern in _REFUSING):
        return _ANY_OPEN
    return HTTP.get(route_of("/v2" if path == "/v2/" else path), {})


#: A lookup of a path in a table of patterns takes longer than all else that is decided without a token.
_known_methods = lru_cache(maxsize=1024)(_methods)
