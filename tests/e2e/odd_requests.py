"""Requests for `/predict` as no client should send them, as bytes on the wire. Told by a seed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from tests.e2e.odd_pictures import odd_picture

#: The service under this test takes bodies of so many bytes.
MAX_BODY = 1_000_000

_VALUES = [
    *(
        "",
        "m",
        "v1",
        "1",
        "0",
        "-1",
        "1e999",
        "nan",
        "NaN",
        "Infinity",
        "0.5",
        "1.0000001",
        "null",
        "true",
        '"m"',
    ),
    *('"', "[]", "{}", '{"a": [1, {"b": null}]}', "é\u202e\U0001f34c", "\0", "../../etc/passwd", "x" * 500),
    *("9" * 400, "latest", "%00", "m:v1", "0x10", "1_0", "٣"),
]
_FIELDS = ["model", "version", "threshold", "max_detections", "image", "colour", "", "modèle"]
_TYPES = [
    *("image/jpeg", "image/png", "image/*", "image/", "IMAGE/JPEG; q=1", "application/octet-stream"),
    *("application/json", "application/json; charset=utf-7", "text/plain", "", ";;;", "multipart/form-data"),
    *(
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=" + "b" * 300,
    ),
    *("application/x-www-form-urlencoded", "image/jpeg, image/png", "\xff/\xfe"),
]


@dataclass(frozen=True, slots=True)
class OddRequest:
    """Bytes to send. `whole` False: the body is not what was announced, so no answer need come."""

    data: bytes
    whole: bool = True


def odd_request(seed: int) -> OddRequest:
    """The request of a seed."""
    random = Random(seed)
    query, content_type, body = random.choice([_raw, _raw, _form, _form, _json])(random)
    if random.random() < 0.02:
        body += bytes(MAX_BODY)
    if random.random() < 0.1:
        content_type = random.choice(_TYPES)
    head = _head(random, query, content_type)
    how = random.random()
    if how < 0.05:
        wrong = max(0, len(body) + random.choice([-10, -1, 1, 1000]))
        return OddRequest(head + b"Content-Length: %d\r\n\r\n" % wrong + body, whole=wrong == len(body))
    if how < 0.25:
        return OddRequest(head + b"Transfer-Encoding: chunked\r\n\r\n" + _chunked(random, body))
    return OddRequest(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def _head(random: Random, query: str, content_type: str) -> bytes:
    lines = [f"POST /predict{query} HTTP/1.1", "Host: test"]
    if content_type or random.random() < 0.5:
        lines.append(f"Content-Type: {content_type}")
    if random.random() < 0.1:
        lines.append(f"X-Request-ID: {random.choice(['a' * 300, '{}', 'ok', chr(233)])}")
    if random.random() < 0.05:
        lines.append("Accept-Encoding: gzip, br, x")
    if random.random() < 0.05:
        lines += [f"X-Odd-{number}: {'y' * 100}" for number in range(50)]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1", "replace")


def _chunked(random: Random, body: bytes) -> bytes:
    pieces = []
    left = memoryview(body)
    while left:
        size = min(len(left), random.choice([1, 7, 500, 100_000, 100_000]))
        if len(pieces) > 200:
            size = len(left)
        pieces.append(b"%x\r\n%b\r\n" % (size, left[:size]))
        left = left[size:]
    return b"".join(pieces) + b"0\r\n\r\n"


def _fields(random: Random) -> list[tuple[str, str]]:
    if random.random() < 0.5:
        return []
    return [(random.choice(_FIELDS), random.choice(_VALUES)) for _ in range(random.choice([1, 2, 5]))]


def _raw(random: Random) -> tuple[str, str, bytes]:
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in _fields(random))
    return "?" + query if query else "", random.choice(_TYPES[:6]), odd_picture(random)


def _json(random: Random) -> tuple[str, str, bytes]:
    image: object = base64.b64encode(odd_picture(random)).decode()
    if random.random() < 0.2:
        image = random.choice([None, 5, [], {}, "*", "aGVsbG8", "http://127.0.0.1/x.jpg", "é"])
    document: object = {"image": image, **dict(_fields(random))}
    if random.random() < 0.1:
        document = random.choice([None, [], [document], "x", {"image": {"image": image}}])
    text = json.dumps(document).encode()
    if random.random() < 0.1:
        text = random.choice([text[:-1], b"[" * 100_000, b"\xff" + text, b'{"threshold": NaN}', text * 2])
    return "", "application/json", text


def _form(random: Random) -> tuple[str, str, bytes]:
    boundary = random.choice(["frontier", "-" * 30, "a'()+_,./:=?z"])
    parts = [_part(random, "image", odd_picture(random))] if random.random() < 0.9 else []
    parts += [_part(random, name, value.encode()) for name, value in _fields(random)]
    if random.random() < 0.05:
        parts *= random.choice([2, 50, 3000])
    random.shuffle(parts)
    edge = f"--{boundary}".encode()
    body = b"".join(edge + b"\r\n" + part + b"\r\n" for part in parts) + edge + b"--\r\n"
    if random.random() < 0.1:
        body = random.choice(
            [body[:-6], b"preamble" + body, body + b"epilogue", body.replace(b"\r\n", b"\n"), b""]
        )
    quoted = f'"{boundary}"' if random.random() < 0.5 else boundary
    return "", f"multipart/form-data; boundary={quoted}", body


def _part(random: Random, name: str, data: bytes) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'.encode()
    if random.random() < 0.5:
        head += random.choice(
            [b'; filename="x.jpg"', b'; filename="\xff\0"', b"; filename*=utf-8''x", b"; filename="]
        )
    if random.random() < 0.2:
        head += b"\r\nContent-Type: " + random.choice([b"image/jpg", b"text/plain", b"\xff", b"x" * 5000])
    if random.random() < 0.05:
        head = random.choice([b"", b"X: y", head + b"\r\nX: " + b"z" * 20_000, head.replace(b'"', b"'")])
    return head + b"\r\n\r\n" + data
