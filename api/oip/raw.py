"""Tensors as bytes: little-endian, row-major, no padding; the binary form of both wires.

Source: https://github.com/kserve/open-inference-protocol and the binary tensor data extension of Triton.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from api.oip.messages import BF16, BYTES, DTYPES, MOST_BYTES, Data, Tensor, count
from hotswap.errors import BadRequest

_LENGTH = struct.Struct("<I")
_BF16 = np.dtype("<u2")


def tensor(name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview) -> Tensor:
    """The tensor that lies in `raw`; raise `BadRequest` unless it holds exactly that.

    Arrays may look into `raw` itself; BYTES elements are copies.
    """
    wanted = count(name, shape)
    if datatype == BYTES:
        return Tensor(name, datatype, tuple(shape), elements(name, wanted, raw))
    dtype = _BF16 if datatype == BF16 else DTYPES[datatype]
    if len(raw) != wanted * dtype.itemsize:
        raise BadRequest(
            f"{name}: {datatype} {list(shape)} takes {wanted * dtype.itemsize} bytes, found {len(raw)}"
        )
    if datatype == "BOOL" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
        raise BadRequest(f"{name}: BOOL is one byte each, 0 or 1")
    array = np.frombuffer(raw, dtype).reshape(tuple(shape))
    # The graph reads from where the bytes lie: an address that is no multiple of their size is not for it.
    return Tensor(name, datatype, tuple(shape), array if array.flags.aligned else array.copy())


def elements(name: str, wanted: int, raw: bytes | memoryview) -> list[bytes]:
    """The BYTES elements in `raw`, each with its length before it; raise `BadRequest` unless it is so.

    There are few, so that whoever answers other requests may call it.
    """
    if wanted > MOST_BYTES:
        raise BadRequest(f"{name}: {BYTES} in binary form has at most {MOST_BYTES} elements, found {wanted}")
    view, at = memoryview(raw), 0
    found: list[bytes] = []
    while at + _LENGTH.size <= len(view) and len(found) < wanted:
        (size,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if size > len(view) - at:
            raise BadRequest(f"{name}: element {len(found)} says {size} bytes, {len(view) - at} are left")
        found.append(bytes(view[at : at + size]))
        at += size
    if at != len(view) or len(found) != wanted:
        raise BadRequest(
            f"{name}: the shape says {wanted} elements; the first {at} of {len(view)} bytes hold {len(found)}"
        )
    return found


def packed(data: Data) -> bytes:
    """A tensor's bytes."""
    if isinstance(data, np.ndarray):
        return data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join(part for each in data for part in (_LENGTH.pack(len(each)), each))
