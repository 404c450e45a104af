"""Raw requests by how their bodies are framed: those with one meaning, and those that nobody may read.

Each has another request in its body, or behind it, with an id that an answer to it would show.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

INNER = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-ID: inner\r\n\r\n"
NEXT = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-ID: next\r\n\r\n"
#: Offers to change to another protocol.
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
WEBSOCKET = (
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
)
CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Raw(NamedTuple):
    """A request as bytes, in two parts that may be sent one after the other.

    `whole`: its framing is good, and what follows it is a request of its own; else the connection is closed.
    """

    name: str
    head: bytes
    body: bytes
    whole: bool

    @property
    def framed(self) -> bool:
        """Whether it says that it has a body at all: what is behind it may otherwise be a request."""
        told = self.head.lower()
        return any(name in told for name in (b"content-length", b"transfer-encoding"))


def head(
    *lines: bytes, method: bytes = b"POST", target: bytes = b"/predict", version: bytes = b"1.1"
) -> bytes:
    """Request line and headers; `lines` have their own ends."""
    return b"%b %b HTTP/%b\r\nHost: x\r\nContent-Type: image/jpeg\r\n%b\r\n" % (
        method,
        target,
        version,
        b"".join(lines),
    )


def length(size: int) -> bytes:
    """A Content-Length."""
    return b"Content-Length: %d\r\n" % size


def chunks(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def good() -> Iterator[Raw]:
    """Requests whose end is certain."""
    sized, chunked = length(len(INNER)), chunks(INNER[:9], INNER[9:])
    for name, offer in (("", b""), (" with h2c", H2C), (" with websocket", WEBSOCKET)):
        yield Raw(f"length{name}", head(offer, sized), INNER, whole=True)
        yield Raw(f"chunks{name}", head(offer, CHUNKED), chunked, whole=True)
        for path in (b"/livez", b"/models", b"/nowhere", b"/predict/annotated", b"/v2/models/m/infer"):
            yield Raw(f"length{name} at {path.decode()}", head(offer, sized, target=path), INNER, whole=True)
            yield Raw(
                f"chunks{name} at {path.decode()}", head(offer, CHUNKED, target=path), chunked, whole=True
            )
        yield Raw(f"no body{name}", head(offer, method=b"GET", target=b"/livez"), b"", whole=True)
        yield Raw(f"empty body{name}", head(offer, length(0)), b"", whole=True)
        yield Raw(f"empty chunks{name}", head(offer, CHUNKED), chunks(), whole=True)
        yield Raw(f"GET with a body{name}", head(offer, sized, method=b"GET"), INNER, whole=True)
    te = b"Transfer-Encoding:"
    yield Raw("tab before chunked", head(te + b"\tchunked\r\n"), chunked, whole=True)
    yield Raw("odd case", head(te + b" cHuNkEd\r\n"), chunked, whole=True)
    yield Raw("space after chunked", head(te + b" chunked \r\n"), chunked, whole=True)
    yield Raw("leading zeros", head(b"Content-Length: 00%d\r\n" % len(INNER)), INNER, whole=True)
    yield Raw("spaces round the length", head(b"Content-Length: \t %d \r\n" % len(INNER)), INNER, whole=True)
    yield Raw(
        "chunk with zeros", head(CHUNKED), b"000%x\r\n%b\r\n000\r\n\r\n" % (len(INNER), INNER), whole=True
    )
    yield Raw(
        "extension", head(CHUNKED), b'%x;a=b;c="d"\r\n%b\r\n0\r\n\r\n' % (len(INNER), INNER), whole=True
    )
    yield Raw("trailers", head(CHUNKED), chunks(INNER, trailers=b"X-Request-ID: inner\r\n"), whole=True)
    yield Raw("absolute target", head(sized, target=b"http://other/predict"), INNER, whole=True)
    yield Raw("empty lines before", b"\r\n\r\n" + head(sized), INNER, whole=True)
    yield Raw("100-continue", head(b"Expect: 100-continue\r\n", sized), INNER, whole=True)


def closing() -> Iterator[Raw]:
    """Requests whose end is certain and after which the connection ends."""
    sized = length(len(INNER))
    yield Raw("HTTP/1.0", head(sized, version=b"1.0"), INNER, whole=False)
    yield Raw("HTTP/1.0 kept", head(b"Connection: keep-alive\r\n", sized, version=b"1.0"), INNER, whole=False)
    yield Raw("HTTP/1.0 with h2c", head(H2C, sized, version=b"1.0"), INNER, whole=False)
    yield Raw("close", head(b"Connection: close\r\n", sized), INNER, whole=False)
    yield Raw("close with h2c", head(H2C.replace(b"Upgrade,", b"Upgrade, close,"), sized), INNER, whole=False)


def refused() -> Iterator[Raw]:
    """Requests that are none, or that could be read as two: answered by one refusal, or by none."""
    sized, chunked = length(len(INNER)), chunks(INNER)
    te, cl = b"Transfer-Encoding:", b"Content-Length:"
    lines = {
        "chunks and length": CHUNKED + sized,
        "length and chunks": sized + CHUNKED,
        "length and other coding": sized + te + b" xchunked\r\n",
        "length twice": sized + sized,
        "two lengths": sized + length(3),
        "list of lengths": b"%b %d, %d\r\n" % (cl, len(INNER), len(INNER)),
        "length with sign": b"%b +%d\r\n" % (cl, len(INNER)),
        "negative length": cl + b" -1\r\n",
        "length with space": cl + b" 5 5\r\n",
        "hexadecimal length": cl + b" 0x10\r\n",
        "length too big": cl + b" 99999999999999999999\r\n",
        "no length": cl + b"\r\n",
        "chunked twice": CHUNKED + CHUNKED,
        "chunked, chunked": te + b" chunked, chunked\r\n",
        "xchunked": te + b" xchunked\r\n",
        "identity": te + b" identity\r\n",
        "gzip, chunked": te + b" gzip, chunked\r\n",
        "chunked, identity": te + b" chunked, identity\r\n",
        "identity, then chunked": te + b" identity\r\n" + CHUNKED,
        "chunked, then identity": CHUNKED + te + b" identity\r\n",
        "empty coding": te + b"\r\n",
        "comma before": te + b" ,chunked\r\n",
        "comma behind": te + b" chunked,\r\n",
        "parameter": te + b" chunked;q=1\r\n",
        "tab behind": te + b" chunked\t\r\n",
        "quoted": te + b' "chunked"\r\n',
        "vertical tab": te + b" \x0bchunked\r\n",
        "space before the colon": b"Transfer-Encoding : chunked\r\n",
        "folded": te + b"\r\n chunked\r\n",
        "folded within": te + b" chun\r\n ked\r\n",
        "folded other": b"X: y\r\n z\r\n" + sized,
        "space before a header": b" X: y\r\n" + sized,
        "bare LF": b"X: y\n" + sized,
        "bare CR": b"X: y\r" + sized,
        "NUL in a value": b"X: a\0b\r\n" + sized,
        "NUL in a name": b"X\0: a\r\n" + sized,
        "no colon": b"X\r\n" + sized,
        "no name": b": a\r\n" + sized,
        "two hosts": b"Host: y\r\n" + sized,
    }
    for name, told in lines.items():
        body = INNER if te not in told or cl in told else chunked
        yield Raw(name, head(told), body, whole=False)
        yield Raw(f"{name}, with h2c", head(H2C, told), body, whole=False)
    yield Raw("HTTP/1.0 in chunks", head(CHUNKED, version=b"1.0"), chunked, whole=False)
    yield from _lines()
    yield from _chunks()


def _lines() -> Iterator[Raw]:
    lines = {
        "space in the target": b"GET /livez x HTTP/1.1\r\n",
        "NUL in the target": b"GET /\0 HTTP/1.1\r\n",
        "no slash": b"GET livez HTTP/1.1\r\n",
        "lower case": b"get /livez HTTP/1.1\r\n",
        "unknown method": b"FETCH /livez HTTP/1.1\r\n",
        "HTTP/0.9": b"GET /livez\r\n",
        "HTTP/0.9 said": b"GET /livez HTTP/0.9\r\n",
        "HTTP/1.2": b"GET /livez HTTP/1.2\r\n",
        "HTTP/2.0": b"GET /livez HTTP/2.0\r\n",
        "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
        "CONNECT": b"CONNECT x:80 HTTP/1.1\r\n",
        "absolute without path": b"GET http://x HTTP/1.1\r\n",
        "a space behind": b"GET /livez HTTP/1.1 \r\n",
        "bare LF behind": b"GET /livez HTTP/1.1\n",
        "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    }
    for name, line in lines.items():
        yield Raw(name, line + b"Host: x\r\n\r\n", INNER, whole=False)


def _chunks() -> Iterator[Raw]:
    size = b"%x" % len(INNER)
    bodies = {
        "negative chunk": b"-1\r\n" + INNER,
        "chunk with 0x": b"0x" + size + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
        "chunk with sign": b"+" + size + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
        "huge chunk": b"fffffffffffffffff\r\n" + INNER,
        "space before a size": b" " + size + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
        "space behind a size": size + b" \r\n" + INNER + b"\r\n0\r\n\r\n",
        "bare LF behind a size": size + b"\n" + INNER + b"\r\n0\r\n\r\n",
        "bare CR behind a size": size + b"\r" + INNER + b"\r\n0\r\n\r\n",
        "bare LF behind a chunk": size + b"\r\n" + INNER + b"\n0\r\n\r\n",
        "nothing behind a chunk": size + b"\r\n" + INNER + b"0\r\n\r\n",
        "other bytes behind a chunk": size + b"\r\n" + INNER + b"XX0\r\n\r\n",
        "LF in an extension": size + b";a\nb\r\n" + INNER + b"\r\n0\r\n\r\n",
        "no size": b"\r\n" + INNER + b"\r\n0\r\n\r\n",
        "words": b"chunk\r\n" + INNER,
        "length in trailers": size + b"\r\n" + INNER + b"\r\n0\r\nContent-Length: 3\r\n\r\n",
    }
    for name, body in bodies.items():
        yield Raw(name, head(CHUNKED), body, whole=False)
        yield Raw(f"{name}, with h2c", head(H2C, CHUNKED), body, whole=False)
