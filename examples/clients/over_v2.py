"""A client of the Open Inference Protocol (KServe V2): pictures as one binary BYTES tensor.

The body is JSON, followed by each element with its length before it; a header has the length of the JSON.

usage: python examples/clients/over_v2.py MODEL PICTURE… [--url http://127.0.0.1:3000]
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen


def infer(model: str, pictures: list[Path], url: str) -> dict[str, object]:
    """The answer for all pictures, with tensors as JSON."""
    files = [picture.read_bytes() for picture in pictures]
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(files)]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(data)}}]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    request = Request(f"{url}/v2/models/{model}/infer", head + data, headers)  # noqa: S310 - the caller's own
    with urlopen(request, timeout=30) as response:  # noqa: S310
        return dict(json.load(response))


def main() -> None:
    """Print the answer or the error."""
    parser = argparse.ArgumentParser(
        description="Detect objects in pictures, over the Open Inference Protocol."
    )
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="picture")
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    arguments = parser.parse_args()
    try:
        answer = infer(arguments.model, arguments.pictures, arguments.url)
    except HTTPError as error:
        raise SystemExit(f"{error.code}: {json.load(error)['error']}") from None
    except URLError as error:
        raise SystemExit(f"no answer from {arguments.url}: {error.reason}") from None
    except OSError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
