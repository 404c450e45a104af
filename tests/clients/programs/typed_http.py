"""The client generated from the protocol's REST specification.  usage: typed_http.py HOST:PORT

It validates every answer: required fields and their types.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from open_inference.openapi.client import AsyncOpenInferenceClient, OpenInferenceClient
from open_inference.openapi.types import InferenceRequest, RequestInput, RequestOutput
from telling import Told

URL = f"http://{sys.argv[1]}"


def request(**more: Any) -> InferenceRequest:
    """One grey picture as nested numbers."""
    data = [[[[0.5] * 32] * 32] * 3]
    given = RequestInput(name="image", shape=[1, 3, 32, 32], datatype="FP32", data=data)
    return InferenceRequest(inputs=[given], **more)


async def ask_all(told: Told, client: Any, way: str) -> None:
    """Every call that the specification has."""

    async def infer(call: Any, *words: str, **more: Any) -> Any:
        found = call(*words, request=request(**more))
        return (await found if asyncio.iscoroutine(found) else found).dict()

    async def read(call: Any, *words: str) -> Any:
        found = call(*words)
        return (await found if asyncio.iscoroutine(found) else found).dict()

    wanted = [RequestOutput(name="scores")]
    await told.ask(f"{way} live", client.check_server_liveness)
    await told.ask(f"{way} ready", client.check_server_readiness)
    await told.ask(f"{way} model ready", client.check_model_readiness, "m")
    await told.ask(f"{way} version ready", client.check_model_version_readiness, "m", "v2")
    await told.ask(f"{way} server metadata", read, client.read_server_metadata)
    await told.ask(f"{way} model metadata", read, client.read_model_metadata, "m")
    await told.ask(f"{way} version metadata", read, client.read_model_version_metadata, "m", "v2")
    await told.ask(f"{way} picture metadata", read, client.read_model_metadata, "shapes")
    await told.ask(f"{way} infer", infer, client.model_infer, "m", id="eight")
    await told.ask(f"{way} infer version", infer, client.model_version_infer, "m", "v2", outputs=wanted)
    await told.ask(f"{way} unknown model", infer, client.model_infer, "nobody")
    await told.ask(f"{way} bad parameters", infer, client.model_infer, "m", parameters={"a": {"b": 1}})
    await told.ask(f"{way} unknown model ready", client.check_model_readiness, "nobody")


async def main() -> None:
    """Ask everything, twice."""
    told = Told()
    await ask_all(told, OpenInferenceClient(base_url=URL), "sync")
    await ask_all(told, AsyncOpenInferenceClient(base_url=URL), "async")
    told.print()


asyncio.run(main())
