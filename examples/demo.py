"""A demonstration of a swap under load.

usage: python -m examples.demo [--out PICTURE]        (or: make demo)

Starts a service on a free port with a temporary home, sends pictures continuously, imports `shapes:v2`
meanwhile, and writes a picture with the detections of v1 and v2. Your own store is not touched.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parent
PICTURE = HERE / "shapes" / "pictures" / "shapes-1026.jpg"
ARCHIVE = HERE / "shapes-v2.bentomodel"
BIN = Path(sys.executable).parent
COLOURS = {"circle": "#e4572e", "square": "#17bebb", "triangle": "#ffc914", "star": "#9b5de5"}

_NULL = subprocess.DEVNULL

console = Console()


@contextmanager
def service(home: Path) -> Iterator[str]:
    """Run a service; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "BENTOML_HOME": str(home), "OKAWARI_HOME": str(home)}
    environment |= {"BENTOML_DO_NOT_TRACK": "True", "OKAWARI_SERVE": "*", "GRPC_PORT": "0"}
    subprocess.run(
        [BIN / "okawari", "init"], env=environment, check=True, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    command = [BIN / "bentoml", "serve", "service:Okawari", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "demo.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield _ready(f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _ready(url: str) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return url
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the service did not become ready within 60 s")


class Traffic:
    """Sends pictures continuously and counts the answers per version."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._data = PICTURE.read_bytes()
        self._ending = threading.Event()
        self.answers: Counter[str] = Counter()
        self.last: dict[str, dict[str, Any]] = {}
        self._threads = [threading.Thread(target=self._send) for _ in range(4)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, version: str, count: int = 200) -> None:
        """Return when `version` has answered `count` times."""
        until = time.monotonic() + 60
        while self.answers[version] < count and time.monotonic() < until:
            time.sleep(0.05)

    def _send(self) -> None:
        with httpx.Client(base_url=self._url) as client:
            while not self._ending.is_set():
                response = client.post("/predict", content=self._data, headers={"Content-Type": "image/jpeg"})
                body = response.json()
                version = body["model_version"] if response.status_code == 200 else "failed"
                self.answers[version] += 1
                self.last[version] = body


def picture_of(answers: dict[str, dict[str, Any]], out: Path) -> None:
    """Write the detections of each version, side by side."""
    with Image.open(PICTURE) as opened:
        picture = opened.convert("RGB")
    sheet = Image.new("RGB", (picture.width * len(answers), picture.height + 24), "white")
    for index, (version, answer) in enumerate(sorted(answers.items())):
        sheet.paste(_drawn(picture.copy(), answer["detections"]), (index * picture.width, 24))
        text = f"{answer['model']}:{version}: {len(answer['detections'])} detections"
        ImageDraw.Draw(sheet).text((index * picture.width + 8, 6), text, fill="black")
    sheet.save(out)


def _drawn(picture: Image.Image, detections: list[dict[str, Any]]) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    boxes = [_box(item["bbox"], picture) for item in detections]
    for box, item in zip(boxes, detections, strict=True):
        draw.rectangle(box, outline=COLOURS[item["label"]], width=3)
    # After all boxes, so that no box crosses a text.
    for box, item in zip(boxes, detections, strict=True):
        _label(draw, box[:2], f"{item['label']} {item['score']:.2f}", COLOURS[item["label"]])
    return picture


def _box(sides: list[float], picture: Image.Image) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = sides
    return x1 * picture.width, y1 * picture.height, x2 * picture.width, y2 * picture.height


def _label(draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, colour: str) -> None:
    x1, y1, x2, y2 = draw.textbbox((corner[0] + 6, corner[1] + 4), text)
    draw.rectangle((x1 - 5, y1 - 3, x2 + 5, y2 + 4), fill=colour)
    draw.text((corner[0] + 6, corner[1] + 4), text, fill="black")


def show(traffic: Traffic) -> None:
    """Print the number of answers per version."""
    table = Table("answered by", "requests")
    for version, count in sorted(traffic.answers.items()):
        table.add_row(version, str(count))
    table.add_row("failed", str(traffic.answers["failed"]))
    console.print(table)


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="path of the picture")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as home, service(Path(home)) as url, Traffic(url) as traffic:
        console.print("[bold]shapes:v1[/] is serving; sending pictures continuously …")
        traffic.wait_for("v1")
        console.print("importing [bold]shapes:v2[/] with plain `bentoml models import` …")
        environment = {**os.environ, "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}
        command = [BIN / "bentoml", "models", "import", ARCHIVE]
        subprocess.run(command, env=environment, check=True, stdout=_NULL)
        traffic.wait_for("v2")
    show(traffic)
    picture_of({version: body for version, body in traffic.last.items() if version != "failed"}, out)
    console.print(f"detections of both versions: [bold]{out}[/]")
    if traffic.answers["failed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
