"""An image whose memory a decoder writes, so that no pixel is copied from one library to the other.

Pillow shows its memory by the Arrow PyCapsule interface
(https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html): an image of 8-bit channels is a
list of fixed size of uint8, four bytes a pixel, where it lies in one block of memory.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class _ArrowArray(ctypes.Structure):
    """`ArrowArray` of the Arrow C data interface, as far as it is read here."""


_ArrowArray._fields_ = (
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
)
# Every image in one block: Pillow shows the memory of no others.
Image.core.set_use_block_allocator(1)  # type: ignore[attr-defined]
_address_in = ctypes.pythonapi.PyCapsule_GetPointer
_address_in.restype = ctypes.c_void_p
_address_in.argtypes = (ctypes.py_object, ctypes.c_char_p)


class Canvas:
    """A place for the pixels of an RGB image of `size` (width, height), which a decoder fills."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._image = Image.new("RGB", size, None)
        _, owner = self._image.__arrow_c_array__()
        self._owner = owner
        self.pixels = _pixels(owner, size)

    def image(self) -> Image.Image:
        """The image, once `pixels` [height, width, 4], red, green, blue and a spare byte, are written."""
        return self._image


def _pixels(owner: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The memory of an image, at the address that `owner` gives, which keeps it."""
    array = _ArrowArray.from_address(_address_in(owner, b"arrow_array"))
    address = array.children[0].contents.buffers[1]
    memory = (ctypes.c_uint8 * (4 * size[0] * size[1])).from_address(address)
    return np.ctypeslib.as_array(memory).reshape(size[1], size[0], 4)
