"""tritonclient's whole surface.  usage: triton.py http|http.aio|grpc|grpc.aio HOST:PORT PICTURE OUTPUT,…

The same questions by four clients; only how tensors are carried differs. The outputs are those of `types`.
"""

from __future__ import annotations

import asyncio
import importlib
import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
from telling import Told, plain

KIND, ADDRESS, PICTURE, TYPES = sys.argv[1:5]
GRPC = KIND.startswith("grpc")
triton = importlib.import_module(f"tritonclient.{KIND}")
AS_DICT = {"as_json": True} if GRPC else {}
GREY = np.full((2, 3, 32, 32), 0.5, np.float32)


def tensor(name: str, array: Any, datatype: str, binary: bool = True) -> Any:
    """An input; over HTTP either binary or in the JSON."""
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, **({} if GRPC else {"binary_data": binary}))
    return given


def output(name: str, binary: bool = True) -> Any:
    """An output that is asked for."""
    return triton.InferRequestedOutput(name, **({} if GRPC else {"binary_data": binary}))


def answer(result: Any) -> dict[str, Any]:
    """An infer result with its arrays as the client reads them."""
    response = result.get_response(**AS_DICT)
    told = {name: plain(response.get(name)) for name in ("model_name", "model_version", "id", "parameters")}
    arrays = {each["name"]: result.as_numpy(each["name"]) for each in response["outputs"]}
    told["outputs"] = {
        name: {"dtype": str(array.dtype), "shape": list(array.shape), "data": plain(array.ravel().tolist())}
        for name, array in arrays.items()
    }
    told["datatypes"] = {each["name"]: each["datatype"] for each in response["outputs"]}
    told["binary"] = {each["name"]: "data" not in each for each in response["outputs"]}
    return told


async def health(client: Any, told: Told) -> None:
    """Live, ready, and models with and without a version."""
    await told.ask("live", client.is_server_live)
    await told.ask("ready", client.is_server_ready)
    await told.ask("model ready", client.is_model_ready, "m")
    await told.ask("version ready", client.is_model_ready, "m", "v2")
    await told.ask("plain version ready", client.is_model_ready, "m", "2")
    await told.ask("old version ready", client.is_model_ready, "m", "v1")
    await told.ask("unknown version ready", client.is_model_ready, "m", "v9")
    await told.ask("unknown model ready", client.is_model_ready, "nobody")


async def metadata(client: Any, told: Told) -> None:
    """The server's and the models' own words."""
    await told.ask("server metadata", client.get_server_metadata, **AS_DICT)
    await told.ask("model metadata", client.get_model_metadata, "m", **AS_DICT)
    await told.ask("version metadata", client.get_model_metadata, "m", "v2", **AS_DICT)
    await told.ask("picture metadata", client.get_model_metadata, "shapes", **AS_DICT)
    await told.ask("unknown metadata", client.get_model_metadata, "nobody", **AS_DICT)
    await told.ask("unknown version metadata", client.get_model_metadata, "m", "v9", **AS_DICT)
    await told.ask("config", client.get_model_config, "m", **AS_DICT)
    await told.ask("picture config", client.get_model_config, "shapes", **AS_DICT)
    await told.ask("version config", client.get_model_config, "m", "2", **AS_DICT)
    await told.ask("unknown config", client.get_model_config, "nobody", **AS_DICT)


async def infer(client: Any, told: Told) -> None:
    """Tensors and pictures, in every way the client has of carrying them."""

    async def ask(question: str, model: str, inputs: list[Any], **more: Any) -> None:
        async def call() -> dict[str, Any]:
            found = client.infer(model, inputs, **more)
            return answer(await found if asyncio.iscoroutine(found) else found)

        await told.ask(question, call)

    image = tensor("image", GREY, "FP32")
    await ask("infer", "m", [image], request_id="one")
    await ask("infer version", "m", [image], model_version="v2")
    await ask("infer plain version", "m", [image], model_version="2")
    await ask("infer outputs", "m", [image], outputs=[output("scores")])
    await ask("infer one", "m", [tensor("image", GREY[:1], "FP32")])
    await ask("infer json", "m", [tensor("image", GREY, "FP32", False)], outputs=[output("scores", False)])
    await ask("infer json in", "m", [tensor("image", GREY, "FP32", False)])
    await ask("infer json out", "m", [image], outputs=[output("scores", False)])
    await ask("infer headers", "m", [image], headers={"x-request-id": "from-triton"})
    for packed in ("gzip", "deflate"):
        both = ("compression_algorithm",) if GRPC else tuple(f"{way}_compression_algorithm" for way in WAYS)
        # Many, because short answers are not worth packing.
        many = tensor("image", np.repeat(GREY, 100, axis=0), "FP32")
        await ask(f"infer {packed}", "m", [many], **dict.fromkeys(both, packed))
    await errors(ask)
    await pictures(ask)
    grey = tensor("image", GREY[:1], "FP32")
    for name in TYPES.split(","):
        await ask(f"type {name}", "types", [grey], outputs=[output(name)])
        await ask(f"json {name}", "types", [grey], outputs=[output(name, False)])


WAYS = ("request", "response")


async def errors(ask: Any) -> None:
    """What the service must refuse, each with a reason."""
    image = tensor("image", GREY, "FP32")
    await ask("unknown model", "nobody", [image])
    await ask("unknown version", "m", [image], model_version="v9")
    await ask("old version", "m", [image], model_version="v1")
    await ask("unknown output", "m", [image], outputs=[output("nothing")])
    await ask("unknown input", "m", [tensor("picture", GREY, "FP32")])
    await ask("wrong shape", "m", [tensor("image", GREY[:, :, :16], "FP32")])
    await ask("wrong datatype", "m", [tensor("image", GREY.astype(np.int64), "INT64")])
    await ask("no pictures", "shapes", [tensor("image", np.array([b"no picture"], object), "BYTES")])


async def pictures(ask: Any) -> None:
    """Encoded pictures as BYTES."""
    jpeg = Path(PICTURE).read_bytes()
    two = tensor("image", np.array([jpeg, jpeg], object), "BYTES")
    await ask("pictures", "shapes", [two], request_id="two")
    await ask("pictures named", "shapes", [two], outputs=[output("labels", False), output("boxes")])
    await ask("pictures few", "shapes", [two], parameters={"threshold": 0.6, "max_detections": 1})
    await ask("pictures bad threshold", "shapes", [two], parameters={"threshold": 7.0})
    await ask("batch of pictures", "shapes", [tensor("image", np.array([[jpeg], [jpeg]], object), "BYTES")])
    await ask("picture classes", "m", [tensor("any", np.array([jpeg], object), "BYTES")])


async def streams(client: Any, told: Told) -> None:
    """Requests on one stream, among them one that fails; each client has its own way."""
    jpeg = Path(PICTURE).read_bytes()
    image, one = tensor("image", GREY, "FP32"), tensor("image", np.array([[jpeg]], object), "BYTES")
    asks: list[dict[str, Any]] = [
        {"model_name": "m", "inputs": [image]},
        {"model_name": "nobody", "inputs": [image]},
        {"model_name": "shapes", "inputs": [one]},
        {"model_name": "m", "inputs": [image], "model_version": "2"},
    ]
    asks = [{**each, "request_id": f"{number}"} for number, each in enumerate(asks)]
    if KIND == "grpc":
        told.outcomes["stream"] = _stream(client, asks)
    elif KIND == "grpc.aio":

        async def sent() -> Any:
            for each in asks:
                yield each

        told.outcomes["stream"] = [_streamed(*each) async for each in client.stream_infer(sent())]


def _stream(client: Any, asks: list[dict[str, Any]]) -> list[Any]:
    came: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: came.put((result, error)))
    for each in asks:
        client.async_stream_infer(**each, enable_empty_final_response=True)
    found = [_streamed(*came.get(timeout=30)) for _ in asks]
    client.stop_stream()
    return [*found, came.qsize()]


def _streamed(result: Any, error: Any) -> Any:
    return {"error": str(error)} if error is not None else answer(result)


async def futures(client: Any, told: Told) -> None:
    """The synchronous clients' own way not to wait."""
    image = tensor("image", GREY, "FP32")
    if KIND == "http":
        await told.ask("async infer", lambda: answer(client.async_infer("m", [image]).get_result()))
    elif KIND == "grpc":
        came: queue.Queue[Any] = queue.Queue()
        client.async_infer("m", [image], callback=lambda result, error: came.put((result, error)))
        result, error = came.get(timeout=30)
        told.outcomes["async infer"] = answer(result) if error is None else str(error)


async def repository(client: Any, told: Told) -> None:
    """Index, unload, load; the model is as before in the end."""
    index = client.get_model_repository_index
    await told.ask("index", index, **AS_DICT)
    await told.ask("unload", client.unload_model, "spare")
    await told.ask("ready after unload", client.is_model_ready, "spare")
    await told.ask("index after unload", index, **AS_DICT)
    await told.ask("infer after unload", lambda: client.infer("spare", [tensor("image", GREY, "FP32")]))
    await told.ask("load", client.load_model, "spare")
    await told.ask("ready after load", client.is_model_ready, "spare")
    await told.ask("load unknown", client.load_model, "nobody")
    await told.ask("unload unknown", client.unload_model, "nobody")
    await told.ask("load config", client.load_model, "spare", config='{"name": "spare"}')
    await told.ask("load files", client.load_model, "spare", config="{}", files={"file:1/../../x": b"x"})


async def beyond(client: Any, told: Told) -> None:
    """Statistics, and extensions that this service does not offer."""
    await told.ask("statistics", client.get_inference_statistics, **AS_DICT)
    await told.ask("statistics of one", client.get_inference_statistics, "m", **AS_DICT)
    await told.ask("statistics of a version", client.get_inference_statistics, "m", "v2", **AS_DICT)
    await told.ask("statistics of nobody", client.get_inference_statistics, "nobody", **AS_DICT)
    await told.ask("shared memory", client.get_system_shared_memory_status, **AS_DICT)
    await told.ask("trace settings", client.get_trace_settings, **AS_DICT)
    await told.ask("trace update", client.update_trace_settings, "m", {"trace_level": ["OFF"]})
    await told.ask("log settings", client.get_log_settings, **AS_DICT)
    await told.ask("log update", client.update_log_settings, {"log_info": True})
    await told.ask("region", client.register_system_shared_memory, "x", "/x", 64)
    await told.ask("no region", client.unregister_system_shared_memory, "x")
    await told.ask("device region", client.register_cuda_shared_memory, "x", b"aGFuZGxl", 0, 64)
    await told.ask("device status", client.get_cuda_shared_memory_status, **AS_DICT)
    await told.ask("no device region", client.unregister_cuda_shared_memory)
    shared = triton.InferInput("image", [1, 3, 32, 32], "FP32")
    shared.set_shared_memory("x", 12_288)
    await told.ask("shared input", client.infer, "m", [shared])
    wanted = output("scores")
    wanted.set_shared_memory("x", 8)
    await told.ask("shared output", client.infer, "m", [tensor("image", GREY, "FP32")], outputs=[wanted])


async def main() -> None:
    """Ask everything."""
    told = Told()
    client = triton.InferenceServerClient(ADDRESS)
    for part in (health, metadata, infer, streams, futures, repository, beyond):
        await part(client, told)
    closed = client.close()
    if closed is not None:
        await closed
    told.print()


asyncio.run(main())
