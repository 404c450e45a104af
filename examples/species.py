"""Species of birds: a classifier on what a detector finds.

The weights are `mobilenet_v2_1.0_224_inat_bird_quant.tflite` of github.com/google-coral/test_data
(Apache-2.0), converted to ONNX: uint8 [N,224,224,3] in, `probabilities` [N,965] out, with its labels, one a
line.

    okawari get fastestdet                                            # the detector
    python examples/species.py prepare mobilenet_v2_inat_bird.onnx labels.txt models/species/v1
    okawari import models/species/v1                                  # while the service runs
    python examples/species.py ask examples/photograph.jpg

Both models are exchanged as any other; every answer names the version of each.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

DETECTOR = "fastestdet"


def config(labels: Sequence[str], detector: str = DETECTOR) -> dict[str, Any]:
    """The config of the classifier: it is asked about each bird that the detector finds."""
    return {
        "task": "image-classification",
        "family": "classifier",
        "description": "species of birds, on the boxes of a detector",
        "licence": "Apache-2.0",
        "source": "https://github.com/google-coral/test_data/tree/104342d2d3480b3e66203073dac24f4e2dbb4c41",
        "input": {"width": 224, "height": 224, "layout": "NHWC", "dtype": "uint8"},
        "output": {"names": ["probabilities"]},
        "labels": list(labels),
        "thresholds": {"score": 0.2},
        "crop_with": {"model": detector, "labels": ["bird"], "margin": 0.1},
    }


def prepare(weights: Path, labels: Path, folder: Path) -> None:
    """Write the version's folder, ready for `okawari import`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, folder / "weights.onnx")
    document = config(labels.read_text().splitlines())
    (folder / "config.json").write_text(json.dumps(document, indent=1) + "\n")


def ask(picture: Path, url: str) -> dict[str, Any]:
    """The birds of a picture."""
    headers = {"Content-Type": "image/jpeg"}
    request = Request(f"{url}/predict?model=species", picture.read_bytes(), headers)  # noqa: S310 - the caller's
    with urlopen(request, timeout=30) as response:  # noqa: S310
        return dict(json.load(response))


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """What was found, and by whom."""
    detector = answer["detector"]
    yield (
        f"{answer['model']}:{answer['model_version']} on boxes of "
        f"{detector['model']}:{detector['model_version']}"
    )
    for found in answer["detections"]:
        box = ", ".join(f"{side:.2f}" for side in found["bbox"])
        yield f"{found['score']:.2f}  {found['label']}  [{box}]"


def main() -> None:
    """Prepare the version, or ask about a picture."""
    parser = argparse.ArgumentParser(description="Species of birds on the boxes of a detector.")
    commands = parser.add_subparsers(dest="command", required=True)
    prepared = commands.add_parser("prepare", help="write the version's folder")
    for name in ("weights", "labels", "folder"):
        prepared.add_argument(name, type=Path)
    asked = commands.add_parser("ask", help="ask the running service")
    asked.add_argument("picture", type=Path)
    asked.add_argument("url", nargs="?", default="http://127.0.0.1:3000")
    arguments = parser.parse_args()
    try:
        if arguments.command == "prepare":
            prepare(arguments.weights, arguments.labels, arguments.folder)
        else:
            print("\n".join(lines(ask(arguments.picture, arguments.url))))
    except HTTPError as error:
        raise SystemExit(f"{error.code}: {json.load(error)['error']['message']}") from None
    except URLError as error:
        raise SystemExit(f"no answer: {error.reason}") from None
    except OSError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
