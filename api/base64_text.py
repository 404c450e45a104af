"""Pictures as text: base64 in the forms that programs write, and data URLs.

Both alphabets are read, mixed too, with padding or without, with white space and line breaks anywhere.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from hotswap.errors import BadRequest

#: Characters that are worked on at once, a multiple of four: between two pieces other threads go on.
_PIECE = 65_536
_PADDING, _MOST_PADDING = b"=", 2
_WHITE = b" \t\r\n\v\f"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_STRANGE = re.compile(rb"[^A-Za-z0-9+/_\-\s]")
_SHOWN = 40
_HINT = "allowed are A-Z a-z 0-9 + / (or - _), = at the end, white space, and 'data:…;base64,' before it"


def decoded(text: str | bytes, what: str) -> bytes:
    """The bytes that a text stands for. Raises `BadRequest` saying what is wrong, and at which character,
    counted from 0; `what` is the text in words, such as `image: it`.
    """
    found = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    begin = _payload(found, what)
    if begin and found.find(b"%", begin) >= 0:
        found = found[:begin] + unquote_to_bytes(found[begin:])
    tail = found[max(begin, len(found) - _PIECE) :]
    end = len(found) - len(tail) + len(tail.rstrip(_PADDING + _WHITE))
    try:
        if found.count(_PADDING, end) <= _MOST_PADDING:
            return b"".join(_pieces(found, begin, end))
    except binascii.Error:
        pass
    raise BadRequest(f"{what} is not base64: {_wrong(found, begin, end)}")


def _pieces(text: bytes, begin: int, end: int) -> Iterator[bytes]:
    """Decode what stands between, which has no padding; raise `binascii.Error` for what is no base64."""
    if text.find(_PADDING, begin, end) >= 0:
        raise binascii.Error  # where a piece ends, the library would take it
    rest = b""
    for at in range(begin, end, _PIECE):
        piece = rest + text[at : min(at + _PIECE, end)].translate(_URL_SAFE, _WHITE)
        whole = len(piece) - len(piece) % 4
        yield binascii.a2b_base64(piece[:whole], strict_mode=True)
        rest = piece[whole:]
    yield binascii.a2b_base64(rest + _PADDING * (-len(rest) % 4), strict_mode=True)


def _payload(text: bytes, what: str) -> int:
    """Where base64 begins: at the front, or behind the head of a data URL."""
    if text[:64].lstrip(_WHITE)[:5].lower() != b"data:":
        return 0
    comma = text.find(b",")
    head = text[: max(comma, 0)]
    if comma < 0:
        raise BadRequest(f"{what} is a data URL without a comma: {_shown(text)}; {_HINT}")
    if b";" not in head or head.rpartition(b";")[2].strip(_WHITE).lower() != b"base64":
        raise BadRequest(
            f"{what} is a data URL that is not base64: its head is {_shown(head)}, and must end with "
            "';base64' as in 'data:image/jpeg;base64,…'"
        )
    return comma + 1


def _wrong(text: bytes, begin: int, end: int) -> str:
    """What is wrong with the base64 that begins there, and has white space and padding alone behind `end`."""
    if (at := _strange(text, begin, end)) >= 0:
        before, character = text[:at].decode("utf-8", "replace"), text[at : at + 4].decode("utf-8", "replace")
        return f"character {len(before)} is {character[:1]!r}; {_HINT}"
    count = len(text[begin:end].translate(None, _WHITE))
    if count % 4 == 1:
        return f"one character is left over at its end, of {count}; is it cut off?"
    return f"its padding is too long; at most {_MOST_PADDING} '=' stand at the end"


def _strange(text: bytes, begin: int, end: int) -> int:
    """Where the first character stands that cannot stand there; -1 for none."""
    for at in range(begin, end, _PIECE):
        if found := _STRANGE.search(text, at, min(at + _PIECE, end)):
            return found.start()
    return -1


def _shown(head: bytes) -> str:
    text = head[: _SHOWN + 1].decode("utf-8", "replace")
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
