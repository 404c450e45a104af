"""Ask by the Open Inference Protocol (KServe V2): pictures as one BYTES tensor, by the binary extension.

The body is JSON, then every element with its length before it; a header tells how long the JSON is.

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
    """The answer for all pictures, its tensors as JSON."""
    files = [picture.read_bytes() for picture in pictures]
    data = b"".join(struct.pack("<I", len(each)) + each for each in files)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(files)]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(data)}}]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    request = Request(f"{url}/v2/models/{model}/infer", head + data, headers)  # noqa: S310 - the caller's own
    with urlopen(request, timeout=30) as response:  # noqa: S310
        return dict(json.load(response))


def main() -> None:
    """Print the answer, or why there is none."""
    parser = argparse.ArgumentParser(description="What is in pictures, by the Open Inference Protocol.")
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="picture")
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    words = parser.parse_args()
    try:
        answer = infer(words.model, words.pictures, words.url)
    except HTTPError as error:
        raise SystemExit(f"{error.code}: {json.load(error)['error']}") from None
    except URLError as error:
        raise SystemExit(f"no answer from {words.url}: {error.reason}") from None
    except OSError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
