"""An HTTP client with the standard library only.

usage: python examples/clients/over_http.py PICTURE [http://127.0.0.1:3000] [MODEL]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen


def predict(picture: Path, url: str, model: str | None = None) -> dict[str, object]:
    """The detections in a picture, and the version that made them."""
    query = urlencode({"model": model} if model else {})
    headers = {"Content-Type": "image/jpeg"}
    request = Request(f"{url}/predict?{query}", picture.read_bytes(), headers)  # noqa: S310 - the caller's own
    with urlopen(request, timeout=30) as response:  # noqa: S310
        return dict(json.load(response))


def main() -> None:
    """Print the answer or the error."""
    parser = argparse.ArgumentParser(description="Detect objects in a picture, over HTTP.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:3000")
    parser.add_argument("model", nargs="?", help="default: the service's default model")
    arguments = parser.parse_args()
    try:
        answer = predict(arguments.picture, arguments.url, arguments.model)
    except HTTPError as error:
        raise SystemExit(f"{error.code}: {json.load(error)['error']['message']}") from None
    except URLError as error:
        raise SystemExit(f"no answer from {arguments.url}: {error.reason}") from None
    except OSError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
