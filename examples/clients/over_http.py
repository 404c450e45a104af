"""Ask over HTTP, with the standard library alone.

usage: python examples/clients/over_http.py PICTURE [http://127.0.0.1:3000] [MODEL]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen


def predict(picture: Path, url: str, model: str | None = None) -> dict[str, object]:
    """What the model finds in a picture, and which version found it."""
    query = urlencode({"model": model} if model else {})
    headers = {"Content-Type": "image/jpeg"}
    request = Request(f"{url}/predict?{query}", picture.read_bytes(), headers)  # noqa: S310 - the caller's own
    with urlopen(request, timeout=30) as response:  # noqa: S310
        return dict(json.load(response))


def main(picture: str, url: str = "http://127.0.0.1:3000", *model: str) -> None:
    """Print the answer, or why there is none."""
    try:
        answer = predict(Path(picture), url, *model)
    except HTTPError as error:
        raise SystemExit(f"{error.code}: {json.load(error)['error']['message']}") from None
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
