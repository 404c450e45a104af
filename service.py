"""BentoML's entry, and the composition root of the service.

`bentoml serve service:Okawari` imports this file in the master and in every worker. The master claims
the home and seeds the desired state; each worker builds a `Worker` at its start.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

from settings import load
from workers import process
from workers.run_folder import HomeInUse, RunFolder

SETTINGS = load(warn=not process.is_worker())
RUN = RunFolder(SETTINGS.home)
# BentoML's default folder is below BENTOML_HOME and is wiped by every service that starts there. The
# variable must be set before prometheus_client is imported.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(RUN.metrics)

import bentoml
from starlette.responses import Response
from starlette.types import ASGIApp

from api import context, errors
from api.budget import ByteBudget
from api.grpc import tls
from api.grpc.server import CannotListen, Listen, check_free
from api.grpc.tls import BadCertificate, TlsFiles
from api.http import management, openapi, schemas
from api.http.cross_origin import CrossOrigin
from api.http.image_response import Annotator
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from api.http.path_prefix import PathPrefix
from api.http.predict import AnnotatedInput, AnnotatedOutput, PredictInput, PredictOutput
from api.predict_fields import PredictFields
from bootstrap import Worker, begin, metrics_port, rpc_listen, version
from detection import route_limits
from hotswap.desired import BadServe
from hotswap.errors import ServingError, StateUnavailable
from hotswap.predictions import Picture, PredictRequest
from manifest.teams import BadTeams
from model_memory import open_model_list
from registry.audit_key import BadKey
from registry.model_list import BadModelList
from runners.drawing import draw
from team_service import message_limits, team_of
from workers import supervisor
from workers.connections import OpenConnections

BODIES = ByteBudget(SETTINGS.max_buffered_bytes)
CONNECTIONS = OpenConnections(SETTINGS.header_timeout)
#: Read by the master; workers inherit its content.
MODEL_LIST = open_model_list(SETTINGS)
ANNOTATOR = Annotator(
    partial(draw.annotated, max_pixels=SETTINGS.max_pixels),
    ByteBudget(SETTINGS.max_buffered_bytes),
    SETTINGS.request_timeout,
)

logger = logging.getLogger("bentoml.okawari.service")

_worker: Worker | None = None


def _without_bentoml_timers() -> None:
    """Disable BentoML's time limit.

    It starts a timer for every request and never cancels it: with a limit of a day, a day's requests
    would stay in memory. No setting disables it.
    """
    try:
        from bentoml._internal.server.http import traffic
    except ImportError:
        return  # a release without that layer

    def no_layer(app: ASGIApp, timeout: float) -> ASGIApp:  # noqa: ARG001 - the middleware's signature
        return app

    vars(traffic)["TimeoutMiddleware"] = no_layer


def _with_our_http() -> None:
    """Make BentoML's uvicorn server use our HTTP protocol; BentoML has no setting for it."""
    try:
        from uvicorn import config

        from api.http.protocol import HttpProtocol

        vars(config)["HTTP_PROTOCOLS"]["auto"] = partial(HttpProtocol, CONNECTIONS)
    except (ImportError, KeyError) as error:
        logger.warning(
            "uvicorn's own HTTP protocol is used: bodies of requests with an Upgrade header are lost, and "
            "silent connections are not closed: %r",
            error,
        )


def worker() -> Worker:
    """The parts of this worker, after its start."""
    if _worker is None:
        raise RuntimeError("the worker has not started")
    return _worker


_without_bentoml_timers()
_with_our_http()


# BentoML's time limit (default 60 s) answers in its own error shape, outside our middleware; ours is
# `request_timeout`. BentoML's metrics are labelled by raw path, and its traces are not collected.
@bentoml.service(
    name="okawari",
    workers=SETTINGS.workers,
    http=SETTINGS.listen,  # the options --host and --port come before it
    traffic={"timeout": 24 * 3600},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class Okawari:
    """An image-inference service with models that are exchanged without downtime."""

    @bentoml.on_deployment
    @staticmethod
    def claim() -> None:
        """In the master, before any worker: claim the home, apply the settings of models to serve."""
        # Before the pid file names this process: the default action of SIGHUP would end it.
        supervisor.take_over_hangup(RUN)
        process.share_heaps()  # of the workers, which are its forks
        supervisor.replace_lost_workers(RUN)
        supervisor.fork_workers()
        try:
            RUN.claim()
            _check_http()
            _check_grpc()
            _check_metrics()
            MODEL_LIST.read()
            team_of(SETTINGS)
            begin(SETTINGS)
        except (
            HomeInUse,
            BadServe,
            StateUnavailable,
            CannotListen,
            BadCertificate,
            BadKey,
            BadModelList,
            BadTeams,
            OSError,
        ) as error:
            raise SystemExit(f"okawari: {error}") from None

    @bentoml.on_startup
    async def start(self) -> None:
        """In each worker: build the parts and wait until the required models serve, or `start_timeout`."""
        global _worker  # noqa: PLW0603 - one worker, one process
        # A worker's environment is the process manager's, with BentoML's folder in it.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(RUN.metrics)
        _worker = Worker(SETTINGS, RUN, BODIES, CONNECTIONS, MODEL_LIST)
        PredictInput.parts = _worker.parts
        # Cached, since BentoML would inspect and wrap the methods for every request.
        vars(self).update(predict=self.predict, predict_annotated=self.predict_annotated)
        await _worker.start()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """After the last answer: stop the threads."""
        if _worker is not None:
            await _worker.stop()

    @bentoml.api(route="/predict", input_spec=PredictInput, output_spec=PredictOutput)
    async def predict(self, fields: PredictFields) -> Response:
        """Detections and scores of one picture, and the version that made them."""
        return await _answer(fields)

    @bentoml.api(route="/predict/annotated", input_spec=AnnotatedInput, output_spec=AnnotatedOutput)
    async def predict_annotated(self, fields: PredictFields) -> Response:
        """The upright picture with what was found drawn on it; headers name the model and version."""
        return await _answer(fields, drawn=True)


async def _answer(fields: PredictFields, *, drawn: bool = False) -> Response:
    """Run the request on the data plane; the response is JSON, or the annotated picture."""
    state = context.current.get()
    try:
        with worker().parts.recorder.inference(state.request_id, fields.model, state.received) as outcome:
            if state.problem is not None:
                raise state.problem
            picture = Picture(encoded=fields.image)
            drawing = ANNOTATOR.drawing(picture, fields.options) if drawn else None
            request = PredictRequest(
                request_id=state.request_id,
                key=state.route_key,
                pictures=(picture,),
                deadline=state.deadline,
                model=fields.model,
                version=fields.version,
                options=fields.options,
                received=state.received,
                then=drawing,
            )
            outcome.answer = answer = await worker().parts.data_plane.predict(request)
            if drawing is not None:
                return drawing.response(answer)
            return schemas.predicted(answer, fields.mask_format)
    except ServingError as error:
        return errors.response(error)


def _check_grpc() -> None:
    """Check gRPC's port and certificate before any worker starts. Raises `CannotListen`, `BadCertificate`."""
    listen = rpc_listen(SETTINGS, _host())
    if listen is not None:
        check_free(listen)
        if listen.tls is not None:
            tls.check(listen.tls)


def _check_http() -> None:
    """Check HTTP's port and certificate before any worker starts, since BentoML would print a traceback.

    Raises `CannotListen`, `BadCertificate`.
    """
    if files := supervisor.https_files():
        tls.check(TlsFiles(*files))
    if port := supervisor.port(int(SETTINGS.listen.get("port", 0))):
        check_free(Listen(_host(), port), _unable)


def _host() -> str:
    return supervisor.host(str(SETTINGS.listen.get("host", supervisor.EVERYWHERE)))


def _unable(listen: Listen, reason: str) -> str:
    return f"HTTP cannot listen on {listen.address}: {reason}; set PORT to another port"


def _check_metrics() -> None:
    """Check the port of the metrics, where they have one, before any worker starts. Raises `CannotListen`."""
    if port := metrics_port(SETTINGS):
        check_free(Listen(_host(), port), _no_metrics)


def _no_metrics(listen: Listen, reason: str) -> str:
    return (
        f"metrics cannot listen on {listen.address}: {reason}; set OKAWARI_METRICS_PORT (or "
        "observability.metrics.port) to another port, or 0"
    )


def _document(routes: dict[str, Any]) -> dict[str, Any]:
    return openapi.document(SERVICE.openapi_spec.asdict(), routes, version())


def _not_ready() -> str | None:
    return "the worker is starting" if _worker is None else _worker.not_ready()


def _degraded() -> str | None:
    return None if _worker is None else _worker.degraded()


def _draining() -> bool:
    return _worker is not None and _worker.draining


class _Observer:
    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Record one answered request; requests before the worker's start are not counted."""
        if _worker is not None:
            _worker.metrics.request(method, path, status, seconds)


# The decorator has replaced the class by a service, which the type checker cannot see.
SERVICE: Any = Okawari
SERVICE.add_asgi_middleware(
    RequestMiddleware,
    parts=MiddlewareOptions(
        max_body_bytes=SETTINGS.max_body_bytes,
        bodies=BODIES,
        request_timeout=SETTINGS.request_timeout,
        not_ready=_not_ready,
        draining=_draining,
        observer=_Observer(),
        degraded=_degraded,
        prefix=PathPrefix(SETTINGS.root_path or "", SETTINGS.trusted_proxies or ()),
        routes={**route_limits(SETTINGS.detection), **message_limits(SETTINGS)},
        team=SETTINGS.team.strip().lower() if SETTINGS.team else None,
        cross_origin=CrossOrigin(SETTINGS.cors_origins) if SETTINGS.cors_origins else None,
        guard=lambda: None if _worker is None else _worker.parts.auth,
    ),
)
SERVICE.mount_asgi_app(management.build(lambda: worker().parts, _document), path="/", name="okawari")
