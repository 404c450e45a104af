"""KServe's own clients.  usage: kserve_client.py http|grpc ADDRESS PICTURE"""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from telling import Told, plain

KIND, ADDRESS, PICTURE = sys.argv[1:4]
GREY = np.full((2, 3, 32, 32), 0.5, np.float32)


def request(model: str, array: Any, datatype: str, binary: bool, **more: Any) -> InferRequest:
    """A request of one input."""
    given = InferInput("image", list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model, [given], request_id="seven", **more)


def answer(response: Any) -> dict[str, Any]:
    """An answer with its arrays as the client reads them."""
    return {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "parameters": sorted(response.parameters or {}),
        "outputs": {
            each.name: {"shape": list(each.shape), "data": plain(each.as_numpy().ravel().tolist())}
            for each in response.outputs
        },
    }


async def ask_all(told: Told, client: Any) -> None:
    """Health and infer; the REST client is told the address with every call, the other once."""
    base = (f"http://{ADDRESS}",) if KIND == "http" else ()

    async def infer(wanted: InferRequest) -> dict[str, Any]:
        more = {"model_name": wanted.model_name} if KIND == "http" else {}
        return answer(await client.infer(*base, wanted, **more))

    jpeg = np.array([Path(PICTURE).read_bytes()], object)
    scores = [RequestedOutput("scores", {"binary_data": True})]
    await told.ask("live", client.is_server_live, *base)
    await told.ask("ready", client.is_server_ready, *base)
    await told.ask("model ready", client.is_model_ready, *base, "m")
    await told.ask("unknown model ready", client.is_model_ready, *base, "nobody")
    await told.ask("infer", infer, request("m", GREY, "FP32", True))
    await told.ask("infer json", infer, request("m", GREY, "FP32", KIND == "grpc"))
    await told.ask("infer outputs", infer, request("m", GREY, "FP32", True, request_outputs=scores))
    await told.ask("pictures", infer, request("shapes", jpeg, "BYTES", True))
    await told.ask("unknown model", infer, request("nobody", GREY, "FP32", True))
    await told.ask("wrong shape", infer, request("m", GREY[:, :, :16], "FP32", True))


async def ask_v1(told: Told) -> None:
    """The REST client's older protocol, which answers with plain objects."""
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    base = f"http://{ADDRESS}"
    row = {"image": {"b64": base64.b64encode(Path(PICTURE).read_bytes()).decode()}}
    many = {"instances": [row, row], "signature_name": "serving_default"}
    few = {"instances": [row], "parameters": {"max_detections": 1}}
    broken = {"instances": [row, {"image": {"b64": "aaaa"}}]}
    for name in ("m", "shapes", "nobody"):
        await told.ask(f"v1 ready {name}", client.is_model_ready, base, name)
    await told.ask("v1 predict", client.infer, base, many, model_name="shapes")
    await told.ask("v1 few", client.infer, base, few, model_name="shapes")
    await told.ask("v1 broken", client.infer, base, broken, model_name="shapes")
    await told.ask("v1 nobody", client.infer, base, many, model_name="nobody")
    await told.ask("v1 explain", client.explain, base, "shapes", many)
    await client.close()


async def main() -> None:
    """Ask everything."""
    logging.disable(logging.CRITICAL)
    told = Told()
    if KIND == "http":
        client: Any = InferenceRESTClient(RESTConfig(protocol="v2"))
    else:
        client = InferenceGRPCClient(ADDRESS)
    await ask_all(told, client)
    await client.close()
    if KIND == "http":
        await ask_v1(told)
    told.print()


asyncio.run(main())
