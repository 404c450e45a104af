"""`/models/{name}/versions/{version}/comparison`: the page that `okawari compare --publish` has written."""

from __future__ import annotations

import anyio.to_thread
from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from api.errors import ComparisonNotFound
from api.http.gate_routes import version_status
from api.http.schemas import ErrorBody
from api.http.small_bodies import SmallBodyRoute
from api.parts import GetParts
from manifest.tags import ModelTag

PATH = "/models/{name}/versions/{version}/comparison"


def router(parts: GetParts) -> APIRouter:
    """The route; each request calls `parts`."""
    routes = APIRouter(tags=["models"], route_class=SmallBodyRoute)

    @routes.get(
        PATH,
        operation_id="comparison",
        response_class=Response,
        responses={
            200: {"content": {"text/html": {"schema": {"type": "string"}}}},
            **{status: {"model": ErrorBody} for status in (404, 503)},
        },
    )
    async def comparison(name: str, version: str) -> HTMLResponse:
        """The page on which a version is held against another one, with a button that promotes it."""
        await parts().control.fresh()
        status = version_status(parts(), name, version)
        tag, page = ModelTag(name, status.version), None
        if status.digest is not None:
            page = await anyio.to_thread.run_sync(parts().comparisons.read, tag, status.digest)
        if page is None:
            raise ComparisonNotFound(
                f"{tag} was not compared: okawari compare {name}:OTHER {tag} --images DIR --publish"
            )
        return HTMLResponse(page)

    return routes
