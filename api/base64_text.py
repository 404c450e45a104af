"""Decodes pictures sent as text: base64 and data URLs.

Both base64 alphabets are accepted, also mixed, with or without padding, with white space anywhere.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from hotswap.errors import BadRequest

#: Characters decoded at once, a multiple of four; other threads may run between two pieces.
_PIECE = 65_536
_PADDING, _MOST_PADDING = b"=", 2
_WHITE = b" \t\r\n\v\f"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_STRANGE = re.compile(rb"[^A-Za-z0-9+/_\-\s]")
_SHOWN = 40
_HINT = "allowed are A-Z a-z 0-9 + / (or - _), = at the end, white space, and 'data:…;base64,' before it"


def decoded(text: str | bytes, field: str) -> bytes:
    """The bytes of a base64 text. Raises `BadRequest`, naming `field`, the problem and its position, counted
    from 0.
    """
    encoded = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    begin = _payload(encoded, field)
    if begin and encoded.find(b"%", begin) >= 0:
        encoded = encoded[:begin] + unquote_to_bytes(encoded[begin:])
    tail = encoded[max(begin, len(encoded) - _PIECE) :]
    end = len(encoded) - len(tail) + len(tail.rstrip(_PADDING + _WHITE))
    try:
        if encoded.count(_PADDING, end) <= _MOST_PADDING:
            return b"".join(_pieces(encoded, begin, end))
    except binascii.Error:
        pass
    raise BadRequest(f"{field}: not base64: {_problem(encoded, begin, end)}")


def _pieces(text: bytes, begin: int, end: int) -> Iterator[bytes]:
    """Decode the text between `begin` and `end`, which has no padding. Raises `binascii.Error`."""
    if text.find(_PADDING, begin, end) >= 0:
        raise binascii.Error  # at the end of a piece the library would accept it
    rest = b""
    for at in range(begin, end, _PIECE):
        piece = rest + text[at : min(at + _PIECE, end)].translate(_URL_SAFE, _WHITE)
        whole = len(piece) - len(piece) % 4
        yield binascii.a2b_base64(piece[:whole], strict_mode=True)
        rest = piece[whole:]
    yield binascii.a2b_base64(rest + _PADDING * (-len(rest) % 4), strict_mode=True)


def _payload(text: bytes, field: str) -> int:
    """The index of the base64: 0, or the end of a data URL's head."""
    if text[:64].lstrip(_WHITE)[:5].lower() != b"data:":
        return 0
    comma = text.find(b",")
    head = text[: max(comma, 0)]
    if comma < 0:
        raise BadRequest(f"{field}: a data URL without a comma: {_shown(text)}; {_HINT}")
    if b";" not in head or head.rpartition(b";")[2].strip(_WHITE).lower() != b"base64":
        raise BadRequest(
            f"{field}: a data URL that is not base64: its head is {_shown(head)}, but must end with "
            "';base64' as in 'data:image/jpeg;base64,…'"
        )
    return comma + 1


def _problem(text: bytes, begin: int, end: int) -> str:
    """The problem of a base64 text; after `end` it has only white space and padding."""
    if (at := _strange(text, begin, end)) >= 0:
        before, character = text[:at].decode("utf-8", "replace"), text[at : at + 4].decode("utf-8", "replace")
        return f"character {len(before)} is {character[:1]!r}; {_HINT}"
    count = len(text[begin:end].translate(None, _WHITE))
    if count % 4 == 1:
        return f"{count} characters are 1 more than a multiple of 4; is the text truncated?"
    return f"too much padding; at most {_MOST_PADDING} '=' are allowed at the end"


def _strange(text: bytes, begin: int, end: int) -> int:
    """The index of the first invalid character; -1 for none."""
    for at in range(begin, end, _PIECE):
        if match := _STRANGE.search(text, at, min(at + _PIECE, end)):
            return match.start()
    return -1


def _shown(head: bytes) -> str:
    text = head[: _SHOWN + 1].decode("utf-8", "replace")
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
