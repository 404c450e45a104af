"""A server of the two routes for devices that does what its script says, on a real socket.

It reads forms as the service does, and remembers what it has kept, under which keys.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from api import hand_in
from api.http import detect_form, multipart

DETECT, BATCH = "/api/v1/detect", "/api/v1/detect/batch"
#: Pictures that begin so are refused for good; are failed by batches only; break the server.
BAD, BAD_IN_BATCH, BREAKING = b"bad", b"odd", b"mad"


@dataclass(frozen=True)
class Delivery:
    """A picture that was kept."""

    content: bytes
    device_id: str
    captured_at: str
    filename: str
    key: str | None
    route: str


@dataclass(frozen=True)
class Status:
    """An answer without any work."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"code": "scripted", "message": "as the script says"}'


@dataclass(frozen=True)
class Late:
    """The work is done, and its answer comes too late."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """The connection is reset: before any work, or after it."""

    is_kept: bool


@dataclass(frozen=True)
class Done:
    """The work is done, then a function is called, then it is answered."""

    then: Callable[[], None]


#: What is done at a request; a function is called before it, and may give the answer. None: as usual.
Act = Status | Late | Reset | Done | Callable[[], Status | None] | None


class ScriptedServer:
    """What the test says will happen, and what has."""

    def __init__(self) -> None:
        self.script: deque[Act] = deque()
        self.kept: list[Delivery] = []
        self.requests: list[tuple[str, dict[str, str], int]] = []
        self.tokens = {"right"}
        self.url = ""

    @property
    def contents(self) -> list[bytes]:
        """What was kept, in a fixed order, each once."""
        return sorted({each.content for each in self.kept})

    def keys_of(self, content: bytes) -> set[str]:
        """The keys under which a picture was handed in; a batch's have theirs from content and time."""
        return {
            each.key or key_of(content, each.captured_at) for each in self.kept if each.content == content
        }


def key_of(content: bytes, captured_at: str) -> str:
    """The Idempotency-Key of a picture."""
    return hashlib.sha256(f"{hashlib.sha256(content).hexdigest()} {captured_at}".encode()).hexdigest()


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Runs on a free port of loopback."""
    state = ScriptedServer()

    class Handler(_Handler):
        server_state = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece
    server_state: ScriptedServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's signature
        """Say nothing."""

    def do_POST(self) -> None:
        """One request."""
        state = self.server_state
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        act = state.script.popleft() if state.script else None
        if callable(act):
            act = act()
        if isinstance(act, Reset) and not act.is_kept:
            return self._reset()
        if isinstance(act, Status):
            answer = act
        elif headers.get("x-api-token") not in state.tokens:
            answer = Status(401)
        elif b"\r\n\r\n" + BREAKING in body:
            answer = Status(500)
        else:
            answer = self._batch(body, headers) if self.path == BATCH else self._single(body, headers)
        state.requests.append((self.path, headers, answer.code))
        if isinstance(act, Done):
            act.then()
        if isinstance(act, Reset):
            return self._reset()
        if isinstance(act, Late):
            time.sleep(act.seconds)
        return self._send(answer)

    def _single(self, body: bytes, headers: dict[str, str]) -> Status:
        found = detect_form.parse(body, headers)
        if found.data.startswith(BAD):
            return Status(400, body=b'{"code": "invalid_image", "message": "this is\\nno picture"}')
        moment = found.captured_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._keep(found.data, found.device_id, moment, found.filename, found.idempotency_key)
        return Status(200, body=json.dumps({"image_id": "i", "detections": [], "model": "m"}).encode())

    def _batch(self, body: bytes, headers: dict[str, str]) -> Status:
        parts = multipart.parse(body, headers["content-type"])
        detect_form.check_names(parts, ("images", "device_id", "timestamps", "metadatas"), several="images")
        texts = {part.name: detect_form.text(part) for part in parts if part.name != "images"}
        pictures = [part for part in parts if part.name == "images"]
        moments, metadatas = json.loads(texts["timestamps"]), json.loads(texts["metadatas"])
        assert len(pictures) == len(moments) == len(metadatas) <= 50
        failed = []
        for part, moment in zip(pictures, moments, strict=True):
            hand_in.moment("timestamps", moment)
            if part.data.startswith((BAD, BAD_IN_BATCH)):
                failed.append(part.filename)
            else:
                self._keep(part.data, texts["device_id"], moment, part.filename, None)
        kept = len(pictures) - len(failed)
        failures = [{"filename": name, "code": "c", "message": "m"} for name in failed]
        document = {"results": [{}] * kept, "total_processed": kept, "total_failed": len(failed)}
        more = {"failed_images": failed, "failures": failures}
        return Status(200, body=json.dumps({**document, **more}).encode())

    def _keep(self, content: bytes, device: str, moment: str, filename: str | None, key: str | None) -> None:
        kept = Delivery(bytes(content), device, moment, filename or "", key, self.path)
        self.server_state.kept.append(kept)

    def _send(self, answer: Status) -> None:
        self.send_response(answer.code)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        with suppress(ConnectionError):  # the client was killed
            self.wfile.flush()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
